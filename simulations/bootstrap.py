"""Paired bootstrap over prompts: the prompt, not the cycle, is what varies independently.

Every resample draws prompts with replacement and takes *all* policies on the same ones (common
random numbers), then forms ratios of sums, never means of ratios. Percentile intervals (Efron and
Tibshirani 1993, ch. 13).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray

_ENTRIES_AT_ONCE = 1 << 22


class Interval(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(samples: FloatArray) -> "Interval":
        """The point estimate (the first sample) with the interval of the resamples (the rest)."""
        value = float(samples[0])
        if samples.size == 1:
            return Interval(value, value, value)
        return Interval(value, *percentile_interval(samples[1:]))


def resampled_counts(
    prompts: int, resamples: int, generator: np.random.Generator
) -> Iterator[IntArray]:
    """How often each prompt is drawn, ``[some, prompts]`` at a time, ``resamples`` in all."""
    at_once = max(1, _ENTRIES_AT_ONCE // prompts)
    for begin in range(0, resamples, at_once):
        size = min(at_once, resamples - begin)
        yield generator.multinomial(prompts, np.full(prompts, 1.0 / prompts), size=size)


def resampled_sums(
    values: FloatArray, resamples: int, generator: np.random.Generator
) -> FloatArray:
    """Sums over resampled prompts, ``[N, C] -> [resamples, C]``; the same draw for all columns."""
    draws = resampled_counts(values.shape[0], resamples, generator)
    return np.concatenate([counts @ values for counts in draws])


def percentile_interval(samples: FloatArray, confidence: float = 0.95) -> tuple[float, float]:
    """Central interval that holds ``confidence`` of the samples; samples ``[resamples]``."""
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(samples, [tail, 100.0 - tail])
    return float(low), float(high)
