"""Logistic regression that learns online, with what it does not know yet kept beside what it knows.

The weights ``w`` of ``P(y = 1 | x) = 1 / (1 + exp(-w x))`` have a normal distribution, of which the
mean and the precision (inverse covariance) are kept. Samples move it by one Newton step on the
log posterior (Laplace's approximation, as in Spiegelhalter and Lauritzen, Networks 20, 1990)::

    precision <- precision + sum of p (1 - p) x x^T
    mean      <- mean + precision^-1 sum of (y - p) x

Evidence ages: it is worth ``1 / e`` after ``memory`` samples, while the prior keeps its worth, so
that the weights can always move on and never lose their footing.
"""

from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray

_STEEPEST = 12.0
"""Log-odds are cut off here: no sample is worth more than some 160,000 others."""


class Weights(NamedTuple):
    """What is known of ``F`` weights, for each of ``M`` regressions of their own.

    Attributes:
      mean: ``[M, F]``.
      precision: ``[M, F, F]``.
    """

    mean: FloatArray
    precision: FloatArray

    @classmethod
    def prior(cls, mean: FloatArray, variance: float, regressions: int) -> "Weights":
        """Before any sample; ``mean`` is ``[F]``, ``variance`` that of each weight."""
        precision = np.eye(mean.size) / variance
        return cls(np.tile(mean, (regressions, 1)), np.tile(precision, (regressions, 1, 1)))

    def learn(
        self,
        regression: IntArray,
        features: FloatArray,
        happened: FloatArray,
        weight: FloatArray,
        *,
        prior: "Weights",
        memory: float,
    ) -> "Weights":
        """After ``n`` samples.

        Args:
          regression: ``[n]`` whose sample it is, in ``0..M-1``.
          features: ``[n, F]``.
          happened: ``[n]`` 1 or 0.
          weight: ``[n]`` what a sample counts, > 0.
          prior: before any sample.
          memory: samples that are remembered, >= 1.
        """
        means, precisions = self.mean.copy(), self.precision.copy()
        for i in np.unique(regression):
            own = regression == i
            x, y, count = features[own], happened[own], weight[own]
            mean, first = means[i], prior.precision[i]
            expected = probability(x @ mean)
            aged = np.exp(-count.sum() / memory)
            curvature = (count * expected * (1.0 - expected))[:, None] * x
            precisions[i] = first + aged * (precisions[i] - first) + curvature.T @ x
            slope = (count * (y - expected)) @ x + (1.0 - aged) * (first @ (prior.mean[i] - mean))
            means[i] = mean + np.linalg.solve(precisions[i], slope)
        return Weights(means, precisions)


def probability(log_odds: FloatArray) -> FloatArray:
    """``1 / (1 + exp(-log_odds))``, cut off short of 0 and 1."""
    bounded: FloatArray = np.minimum(np.maximum(log_odds, -_STEEPEST), _STEEPEST)
    return 1.0 / (1.0 + np.exp(-bounded))


def log_odds(share: FloatArray) -> FloatArray:
    """``log(p / (1 - p))`` of shares strictly between 0 and 1."""
    result: FloatArray = np.log(share / (1.0 - share))
    return result
