"""Logistic regression that learns online, with what it does not know yet kept beside what it knows.

The weights ``w`` of ``P(y = 1 | x) = 1 / (1 + exp(-w x))`` have a normal distribution, of which the
mean and the precision (inverse covariance) are kept. Samples move it by one Newton step on the
log posterior (Laplace's approximation, as in Spiegelhalter and Lauritzen, Networks 20, 1990)::

    precision <- precision + sum of p (1 - p) x x^T
    mean      <- mean + precision^-1 sum of (y - p) x

Evidence ages: it is worth ``1 / e`` after ``memory`` samples, while the prior keeps its worth, so
that the weights can always move on and never lose their footing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dposv

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

    def copy(self) -> "Weights":
        """Ones that may be changed in place."""
        return Weights(self.mean.copy(), self.precision.copy())

    @staticmethod
    def merged(parts: "Sequence[Weights]", weights: FloatArray, prior: "Weights") -> "Weights":
        """Of several replicas; their evidence, beyond the prior that all have, counts by weight.

        The product of what samples say, a normal distribution each (Laplace's approximation)::

            precision = prior + sum of w_i (precision_i - prior)
            mean      = prior mean + precision^-1 sum of w_i precision_i (mean_i - prior mean)
        """
        precision = (1.0 - weights.sum()) * prior.precision
        slope = np.zeros_like(prior.mean)
        for part, weight in zip(parts, weights.tolist(), strict=True):
            precision += weight * part.precision
            moved = part.mean - prior.mean
            slope += weight * (part.precision @ moved[:, :, None])[:, :, 0]
        mean = prior.mean + np.linalg.solve(precision, slope[:, :, None])[:, :, 0]
        return Weights(mean, precision)

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
          happened: ``[n]`` 1 or 0, or the chance of it.
          weight: ``[n]`` what a sample counts, > 0.
          prior: before any sample.
          memory: samples that are remembered, >= 1.
        """
        learned = self
        for i in np.unique(regression).tolist():
            own = regression == i
            x, count = features[own], weight[own]
            expected = probability(x @ self.mean[i])
            curvature = (x.T * (count * expected * (1.0 - expected))) @ x
            slope = (count * (happened[own] - expected)) @ x
            learned = learned.step(i, curvature, slope, count.sum(), prior=prior, memory=memory)
        return learned

    def step(
        self,
        regression: int,
        curvature: FloatArray,
        slope: FloatArray,
        weight: float,
        *,
        prior: "Weights",
        memory: float,
    ) -> "Weights":
        """After samples of one regression, by their sums.

        Args:
          regression: whose samples they are.
          curvature: ``[F, F]`` sum of ``weight p (1 - p) x x^T``.
          slope: ``[F]`` sum of ``weight (y - p) x``.
          weight: what they count together.
          prior: as in ``learn``.
          memory: as in ``learn``.
        """
        means, precisions = learned = self.copy()
        first, mean = prior.precision[regression], means[regression]
        aged = np.exp(-weight / memory)
        precision = first + aged * (precisions[regression] - first) + curvature
        slope = slope + (1.0 - aged) * (first @ (prior.mean[regression] - mean))
        _, moved, _ = dposv(precision, slope)  # positive definite, as the prior is in it
        means[regression] = mean + moved
        precisions[regression] = precision
        return learned


def probability(log_odds: FloatArray) -> FloatArray:
    """``1 / (1 + exp(-log_odds))``, cut off short of 0 and 1."""
    bounded: FloatArray = np.minimum(np.maximum(log_odds, -_STEEPEST), _STEEPEST)
    return 1.0 / (1.0 + np.exp(-bounded))


def log_odds(share: FloatArray) -> FloatArray:
    """``log(p / (1 - p))`` of shares strictly between 0 and 1."""
    result: FloatArray = np.log(share / (1.0 - share))
    return result
