"""Paired bootstrap over prompts: the prompt, not the cycle, is what varies independently.

Every resample draws prompts with replacement and takes *all* policies on the same ones (common
random numbers), then forms ratios of sums, never means of ratios. Percentile intervals (Efron and
Tibshirani 1993, ch. 13).
"""

import numpy as np

from adaptive_spec._arrays import FloatArray

_ENTRIES_AT_ONCE = 1 << 22


def resampled_sums(
    values: FloatArray, resamples: int, generator: np.random.Generator
) -> FloatArray:
    """Sums over resampled prompts, ``[N, C] -> [resamples, C]``; the same draw for all columns."""
    prompts = values.shape[0]
    at_once = max(1, _ENTRIES_AT_ONCE // prompts)
    parts = []
    for begin in range(0, resamples, at_once):
        size = min(at_once, resamples - begin)
        counts = generator.multinomial(prompts, np.full(prompts, 1.0 / prompts), size=size)
        parts.append(counts @ values)
    return np.concatenate(parts)


def percentile_interval(samples: FloatArray, confidence: float = 0.95) -> tuple[float, float]:
    """Central interval that holds ``confidence`` of the samples; samples ``[resamples]``."""
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(samples, [tail, 100.0 - tail])
    return float(low), float(high)
