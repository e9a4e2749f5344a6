"""Fits the head of ``disco`` to one half of a trace, and tries it on the other.

An example is a drafted token that verification would have judged: of the draft begun at each output
position, the tokens that would have been accepted and the first that would not. Signals and run
lengths do not depend on tau (docs/exactness.md), so a trace with signals holds them all.

The head is fitted by penalised maximum likelihood, with refusals and acceptances weighing the same,
so that what it says are probabilities. How well it keeps to that is reported on the held-out half:
its log-loss, beside those of the base rate and of the draft's own probability, and its expected
calibration error in ten bins (Guo et al. 2017, arXiv 1706.04599).
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, xlogy

from adaptive_spec._arrays import BoolArray, FloatArray
from adaptive_spec._files import atomic_write
from adaptive_spec.errors import ConfigError, TraceError
from adaptive_spec.policies._head import MOST_HIDDEN_UNITS, Head
from adaptive_spec.policies._signal_features import FEATURES, SIGNALS, signal_features
from adaptive_spec.simulations.halves import halves
from adaptive_spec.simulations.signals import DrafterSignals, SignalSource
from adaptive_spec.traces.records import TraceSet
from adaptive_spec.traces.sequences import DrafterTrace

MOST_STARTS = 50_000
"""Drafts taken from a half: from every position, or every second, third... of a longer trace."""

_BINS = 10
_PENALTY = 3.0
"""Precision of the Gaussian prior on each weight of the standardised network."""


class Examples(NamedTuple):
    """Drafted tokens that were judged, ``n`` of them.

    Attributes:
      features: ``[n, F]``; ``probability``: ``[n]`` the draft's own; ``accepted``: ``[n]``.
    """

    features: FloatArray
    probability: FloatArray
    accepted: BoolArray


class Bin(NamedTuple):
    """Held-out tokens to which the head gives about the same chance.

    Attributes:
      tokens: how many; ``predicted``: their mean chance; ``accepted``: the share accepted.
    """

    tokens: int
    predicted: float
    accepted: float


class HeadReport(NamedTuple):
    """How a head does on the held-out half; losses in nats per drafted token.

    Attributes:
      sequences, tokens: of the half it was fitted on; ``held_out_...``: of the other.
      log_loss: of the head.
      base_rate_log_loss: of the share accepted in the fitting half; ``draft_log_loss``: of the
        draft's own probability.
      calibration_error: mean distance of ``predicted`` from ``accepted`` over the bins, by size.
      bins: by predicted chance, ascending; those without tokens are left out.
    """

    sequences: int
    tokens: int
    held_out_sequences: int
    held_out_tokens: int
    log_loss: float
    base_rate_log_loss: float
    draft_log_loss: float
    calibration_error: float
    bins: tuple[Bin, ...]

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {**self._asdict(), "bins": [one._asdict() for one in self.bins]}


def fit_head(traces: TraceSet, *, hidden_units: int = 8, seed: int = 0) -> tuple[Head, HeadReport]:
    """Fits a head on the first of a trace's ``halves``.

    Args:
      traces: recorded with signals; of a composition, the drafters that have the signals needed.
      hidden_units: width of the hidden layer, 1 to 256.
      seed: of the weights to begin with.

    Raises:
      ConfigError: ``hidden_units`` out of range; the trace holds no signals.
      TraceError: fewer than two sequences; no drafter with ``top1_probability``, ``entropy`` and
        ``margin``; a half in which all drafted tokens were accepted, or none.
    """
    if not 1 <= hidden_units <= MOST_HIDDEN_UNITS:
        raise ConfigError(f"hidden_units = {hidden_units}; it must be in 1..{MOST_HIDDEN_UNITS}")
    chosen, held_out = halves(traces)
    ours, theirs = _examples(chosen), _examples(held_out)
    head = _fit(ours, hidden_units, seed)
    rate = np.full(theirs.accepted.size, ours.accepted.mean())
    chance = head.acceptance(theirs.features)
    bins = _bins(chance, theirs.accepted)
    error = sum(b.tokens * abs(b.predicted - b.accepted) for b in bins) / chance.size
    report = HeadReport(
        len(chosen),
        ours.accepted.size,
        len(held_out),
        theirs.accepted.size,
        _log_loss(chance, theirs.accepted),
        _log_loss(rate, theirs.accepted),
        _log_loss(theirs.probability, theirs.accepted),
        error,
        bins,
    )
    info = traces.info
    fitted_on = {
        "verifier": info.verifier,
        "drafter": info.drafter,
        "sequences": report.sequences,
        "tokens": report.tokens,
        "held_out_log_loss": round(report.log_loss, 4),
        "held_out_calibration_error": round(report.calibration_error, 4),
    }
    return dataclasses.replace(head, fitted_on=fitted_on), report


def save_head(head: Head, path: str | Path) -> None:
    """Writes a head as JSON."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(head.as_dict(), indent=1) + "\n", encoding="utf-8")


def _examples(traces: TraceSet) -> Examples:
    source = SignalSource.of(traces)
    parts = [
        _examples_of(signals, [sequence.drafters[i] for sequence in traces])
        for i, signals in enumerate(source.drafters)
        if set(SIGNALS) <= set(signals.first)
    ]
    if not parts:
        raise TraceError(
            f"trace: its drafter ({traces.info.drafter}) says nothing of {', '.join(SIGNALS)}; a "
            "head needs the trace of a draft model"
        )
    examples = Examples(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    accepted = int(examples.accepted.sum())
    if accepted in (0, examples.accepted.size):
        raise TraceError(
            f"trace: of the {examples.accepted.size} drafted tokens in one half, {accepted} were "
            "accepted; a head needs both kinds in both halves, so record more prompts"
        )
    return examples


def _examples_of(signals: DrafterSignals, drafters: list[DrafterTrace]) -> Examples:
    """Of one drafter along all sequences."""
    sizes = [drafter.run_lengths.size for drafter in drafters]
    sequence = np.repeat(np.arange(len(sizes)), sizes)
    position = np.concatenate([np.arange(size) for size in sizes])
    left = np.repeat(sizes, sizes) - position
    runs = np.concatenate([drafter.run_lengths for drafter in drafters])
    starts = np.flatnonzero(np.concatenate([drafter.available for drafter in drafters]))
    starts = starts[:: -(-starts.size // MOST_STARTS) or 1]
    said = signals.at(sequence[starts], position[starts], signals.depth)
    depth = np.arange(signals.depth)
    accepted = depth < runs[starts, None]
    refused = (depth == runs[starts, None]) & (runs < left)[starts, None]
    features = signal_features(said)
    known = (accepted | refused) & ~np.isnan(features[..., 0])
    return Examples(features[known], said.top1_probability[known], accepted[known])


def _fit(examples: Examples, hidden_units: int, seed: int) -> Head:
    mean = examples.features.mean(axis=0)
    scale = np.maximum(examples.features.std(axis=0), 1e-6)
    inputs = (examples.features - mean) / scale
    shapes = ((len(FEATURES), hidden_units), (hidden_units,), (hidden_units,), (1,))
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    def unpack(flat: FloatArray) -> list[FloatArray]:
        parts = np.split(flat, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        weights, bias, out, out_bias = unpack(flat)
        hidden = np.tanh(inputs @ weights + bias)
        logit = hidden @ out + out_bias
        total = np.logaddexp(0.0, logit).sum() - logit[examples.accepted].sum()
        total += 0.5 * _PENALTY * ((weights**2).sum() + (out**2).sum())
        slope = expit(logit) - examples.accepted
        back = slope[:, None] * out * (1.0 - hidden**2)
        gradient = (
            inputs.T @ back + _PENALTY * weights,
            back.sum(axis=0),
            hidden.T @ slope + _PENALTY * out,
            slope.sum(keepdims=True),
        )
        return float(total), np.concatenate([part.ravel() for part in gradient])

    random = np.random.default_rng(seed)
    start = random.normal(scale=0.5, size=int(ends[-1]))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    weights, bias, out, out_bias = (_shortened(part) for part in unpack(found.x))
    return Head(_shortened(mean), _shortened(scale), weights, bias, out, out_bias[0], {})


def _shortened(values: FloatArray) -> FloatArray:
    """To the digits that are written, so that the head reported on is the head that is read."""
    written = [float(f"{value:.6g}") for value in values.ravel()]
    return np.array(written).reshape(values.shape)


def _log_loss(chance: FloatArray, accepted: BoolArray) -> float:
    chance = np.clip(chance, 1e-6, 1.0 - 1e-6)  # a wrong certainty costs 14 nats, not infinity
    return -float(np.mean(xlogy(accepted, chance) + xlogy(~accepted, 1.0 - chance)))


def _bins(chance: FloatArray, accepted: BoolArray) -> tuple[Bin, ...]:
    index = np.minimum((chance * _BINS).astype(np.int64), _BINS - 1)
    return tuple(
        Bin(int(own.sum()), float(chance[own].mean()), float(accepted[own].mean()))
        for own in (index == i for i in range(_BINS))
        if own.any()
    )
