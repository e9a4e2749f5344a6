"""Sums over requests, and over resamples of them: the same draws for all figures."""

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.simulations.bootstrap import Interval, resampled_counts

_RESAMPLES = 400
_MOST_GROUPS = 1000
"""More requests are drawn in groups of several, dealt at random: sums vary as much."""


class Resamples:
    """A bootstrap over requests, drawn once (``simulations.bootstrap``)."""

    def __init__(self, requests: int, generator: np.random.Generator) -> None:
        """Draws resamples of so many requests, at least one."""
        groups = min(requests, _MOST_GROUPS)
        self._group: IntArray = generator.permutation(np.arange(requests) % groups)
        drawn = np.concatenate(list(resampled_counts(groups, _RESAMPLES, generator)))
        self._weights = np.concatenate([np.ones((1, groups)), drawn])

    def sums(self, values: FloatArray | IntArray) -> FloatArray:
        """Sums over all requests, then over those of each resample.

        Args:
          values: ``[N]`` or ``[N, C]``, of each request.

        Returns:
          ``[1 + R]`` or ``[1 + R, C]``.
        """
        grouped = np.zeros((self._weights.shape[1], *values.shape[1:]))
        np.add.at(grouped, self._group, values)
        totals: FloatArray = self._weights @ grouped
        return totals


def ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Sums over sums; NaN in resamples that have nothing to divide by."""
    nothing = np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan)
    quotient: FloatArray = np.divide(top, bottom, out=nothing, where=bottom > 0)
    return quotient


def interval_of(samples: FloatArray) -> Interval:
    """The point estimate with the interval of the resamples that tell something, ``[1 + R]``."""
    told = ~np.isnan(samples)
    told[0] = True
    return Interval.of(samples[told])
