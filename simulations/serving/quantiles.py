"""Quantiles with intervals from order statistics: no shape of the distribution is assumed.

Of ``n`` independent samples the number below the true q-quantile is binomial(n, q), so two order
statistics enclose it with a known chance (David and Nagaraja, Order Statistics, 2003, ch. 7.1).
Latencies of one queue are not independent: who comes in a busy minute waits with everybody else. So
``n`` is divided by the design effect of the indicator "above the quantile", estimated from means of
consecutive blocks (Heidelberger and Lewis, Quantile Estimation in Dependent Sequences, Operations
Research 32, 1984).
"""

import math

import numpy as np
from scipy import stats

from adaptive_spec._arrays import BoolArray, FloatArray
from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.bootstrap import Interval


def quantile_interval(samples: FloatArray, quantile: float, confidence: float = 0.95) -> Interval:
    """A quantile of samples ``[n]``, in the order in which they came, with its interval.

    The value is the ceil(n q)-th smallest. Where so few samples cannot bound it on one side, the
    interval ends at an infinity there. Samples that are not a number do not count; NaN of none.

    Raises:
      ConfigError: a quantile or a confidence that is not between 0 and 1.
    """
    for name, value in (("quantile", quantile), ("confidence", confidence)):
        if not 0 < value < 1:
            raise ConfigError(f"{name} = {value}; it must be between 0 and 1")
    known = samples[~np.isnan(samples)]
    if known.size == 0:
        return Interval(math.nan, math.nan, math.nan)
    count = known.size
    ordered = np.sort(known)
    value = float(ordered[math.ceil(count * quantile) - 1])
    independent = max(1, int(count / design_effect(known > value, quantile)))
    tail = (1 - confidence) / 2
    below = int(stats.binom.ppf(tail, independent, quantile))
    above = int(stats.binom.ppf(1 - tail, independent, quantile)) + 1
    low, high = -math.inf, math.inf
    if below >= 1:
        low = float(ordered[below * count // independent - 1])
    if above <= independent:
        high = float(ordered[-(-above * count // independent) - 1])
    return Interval(value, min(low, value), max(high, value))


def design_effect(above: BoolArray, quantile: float) -> float:
    """By how much the variance of a mean of these ``[n]`` exceeds that of independent ones, >= 1.

    Blocks are as many as the square root of ``n``.
    """
    blocks = math.isqrt(above.size)
    if blocks < 4:
        return 1.0
    length = above.size // blocks
    means = above[: blocks * length].reshape(blocks, length).mean(axis=1)
    return max(1.0, length * float(means.var(ddof=1)) / (quantile * (1 - quantile)))
