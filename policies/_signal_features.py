"""The draft's signals as numbers that a small model of acceptance can take.

Probability and margin are taken where acceptance is about linear in them: log-odds, and the
logarithm of the margin. Extremes are cut off, so that no single token outweighs all others.
"""

import numpy as np

from adaptive_spec._arrays import FloatArray
from adaptive_spec.policy import DraftSignals

SIGNALS = ("top1_probability", "entropy", "margin")
FEATURES = ("log_odds", "entropy", "log_margin", "log_depth")

MOST_LOG_ODDS = 8.0
MOST_ENTROPY = 12.0
"""In nats: about that of a uniform draw from any vocabulary in use."""


def signal_features(signals: DraftSignals, first_depth: int = 1) -> FloatArray:
    """``FEATURES`` of drafted tokens, ``[B, n, 4]``; NaN where the drafter lacks a signal.

    Args:
      signals: of ``n`` tokens in a row, ``[B, n]``.
      first_depth: the place in its draft of the first of them, from 1.
    """
    columns = signals.top1_probability, signals.entropy, signals.margin
    known = np.isfinite(np.stack(columns)).all(axis=0)
    probability, entropy, margin = (np.where(known, column, 0.5) for column in columns)
    floor = 1.0 / (1.0 + np.exp(MOST_LOG_ODDS))
    probability = np.clip(probability, floor, 1.0 - floor)
    depth = np.arange(first_depth, first_depth + known.shape[1])
    features = np.empty((*known.shape, len(FEATURES)))
    features[..., 0] = np.log(probability / (1.0 - probability))
    features[..., 1] = np.clip(entropy, 0.0, MOST_ENTROPY)
    features[..., 2] = np.log1p(np.maximum(margin, 0.0))
    features[..., 3] = np.log(depth)
    features[~known] = np.nan
    return features
