"""The inner loops of ``marginal`` and its company, compiled by numba; ``_compiled`` loads them.

They compute what ``_history``, ``_confidence``, ``marginal`` and ``_shadows`` write with numpy,
sums in another order: figures agree to rounding (tests hold them to that), so that decisions agree
but for exact ties. As all types are written out, numba compiles when this module is first imported
(some ten seconds), and keeps the result beside this file, or in the user's cache, for next time.
"""

from typing import Any

import numpy as np
from numba import float64, njit

from adaptive_spec.policies._kernels_choice import accepted, choose
from adaptive_spec.policies._kernels_shadows import advance_static, fared
from adaptive_spec.policies._kernels_types import (
    B2,
    CHANGED_F1,
    CHANGED_F2,
    CHANGED_F3,
    CHANGED_I2,
    F1,
    F2,
    F3,
    RUNS,
)

__all__ = ["absorb", "accepted", "advance_static", "choose", "fared", "sure", "weigh"]

_STEEPEST = 12.0


@njit(cache=True)
def _log_odds(share: float, least: float) -> Any:
    bounded = min(max(share, least), 1.0 - least)
    return np.log(bounded / (1.0 - bounded))


@njit(cache=True)
def _probability(odds: float) -> Any:
    return 1.0 / (1.0 + np.exp(-min(max(odds, -_STEEPEST), _STEEPEST)))


@njit(cache=True)
def _solved(matrix: Any, right: Any) -> Any:
    """``matrix^-1 right`` of a positive definite matrix, by its Cholesky root, column by column."""
    size = right.size
    root, x = matrix.copy(), right.copy()
    for k in range(size):
        root[k, k] = np.sqrt(root[k, k])
        x[k] /= root[k, k]
        for i in range(k + 1, size):
            root[i, k] /= root[k, k]
            x[i] -= root[i, k] * x[k]
        for i in range(k + 1, size):
            for j in range(k + 1, i + 1):
                root[i, j] -= root[i, k] * root[j, k]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            x[i] -= root[k, i] * x[k]
        x[i] /= root[i, i]
    return x


@njit(cache=True)
def _learn(
    mean: Any,
    precision: Any,
    prior: Any,
    first: Any,
    curvature: Any,
    slope: Any,
    weight: float,
    memory: float,
) -> None:
    """``Weights.step`` of one regression, in place; ``curvature`` has its upper triangle only.

    ``prior``, ``first``: mean and precision before any sample.
    """
    aged = np.exp(-weight / memory)
    for f in range(mean.size):
        for k in range(mean.size):
            slope[f] += (1.0 - aged) * first[f, k] * (prior[k] - mean[k])
            added = curvature[min(f, k), max(f, k)]
            precision[f, k] = first[f, k] + aged * (precision[f, k] - first[f, k]) + added
    mean += _solved(precision, slope)


@njit(
    (
        *RUNS,
        *(CHANGED_I2, CHANGED_I2, CHANGED_F3, CHANGED_F3),
        *(CHANGED_F2, CHANGED_F2, CHANGED_F3, F2, F3),
        *(F2, F2, F1, float64, float64, float64, float64),
    ),
    cache=True,
)
def absorb(
    end: Any,
    runs_known: Any,
    length: Any,
    proposes: Any,
    known: Any,
    streak: Any,
    agreed: Any,
    judged: Any,
    fleet: Any,
    mean: Any,
    precision: Any,
    prior: Any,
    first: Any,
    of_streak: Any,
    of_depth: Any,
    decay: Any,
    fleet_decay: float,
    leaning: float,
    least: float,
    memory: float,
) -> None:
    """Goes over the newly known tokens of every row and drafter, and learns from them.

    Takes:
      end, runs_known, length, proposes: as in ``Runs``.
      known, streak, agreed, judged: as in ``Past``, changed in place.
      fleet, mean, precision: as in ``Learned`` and its weights, changed in place.
      prior, first: mean and precision before any sample.
      of_streak: ``[S, 3]``; ``of_depth``: ``[J, 5]`` what streak and depth give to the features.
      decay: ``[2]`` of the levels; the others as in ``_history``.
    """
    rows, drafters, window = length.shape
    depths, features = of_depth.shape[0], mean.shape[1]
    longest = of_streak.shape[0] - 1
    x = np.zeros(features)
    x[0] = 1.0
    passed_at = np.zeros(depths)
    for d in range(drafters):
        curvature, slope = np.zeros((features, features)), np.zeros(features)
        weight, were_right, were_judged = 0, 0, 0
        common = leaning * (fleet[d, 0] / fleet[d, 1])
        for b in range(rows):
            oldest = end[b] - window
            for t in range(max(known[b, d], oldest + depths - 1), runs_known[b, d]):
                x[6:9] = of_streak[min(streak[b, d], longest)]
                for level in range(2):
                    share = (agreed[b, d, level] + common) / (judged[b, d, level] + leaning)
                    x[9 + level] = _log_odds(share, least)
                base = mean[d, 0]
                for f in range(6, features):
                    base += mean[d, f] * x[f]
                tested = 0
                for j in range(depths):
                    column = t - oldest - j
                    passed_at[j] = -1.0
                    if t - j >= 0 and proposes[b, d, column] and length[b, d, column] >= j:
                        passed_at[j] = 1.0 if length[b, d, column] > j else 0.0
                        tested += 1
                for j in range(depths):
                    if passed_at[j] < 0.0:
                        continue
                    odds = base
                    for f in range(5):
                        x[1 + f] = of_depth[j, f]
                        odds += mean[d, 1 + f] * x[1 + f]
                    p = _probability(odds)
                    r = p * (1.0 - p) / tested
                    g = (passed_at[j] - p) / tested
                    for f in range(features):
                        if x[f] != 0.0:
                            slope[f] += g * x[f]
                            for k in range(f, features):
                                curvature[f, k] += r * x[f] * x[k]
                first_passed = passed_at[0] > 0.0
                first_tested = passed_at[0] >= 0.0
                for level in range(2):
                    agreed[b, d, level] = agreed[b, d, level] * decay[level] + first_passed
                    judged[b, d, level] = judged[b, d, level] * decay[level] + first_tested
                streak[b, d] = streak[b, d] + 1 if first_passed else 0
                weight += tested > 0
                were_right += first_passed
                were_judged += first_tested
            known[b, d] = max(known[b, d], runs_known[b, d])
        fade = fleet_decay ** float(were_judged)
        fleet[d, 0] = fleet[d, 0] * fade + were_right
        fleet[d, 1] = fleet[d, 1] * fade + were_judged
        if weight > 0:
            _learn(mean[d], precision[d], prior[d], first[d], curvature, slope, weight, memory)


@njit((F2, F2, F1, float64), cache=True)
def sure(word: Any, by_history: Any, mean: Any, least: float) -> Any:
    """Chance of drafted tokens by the drafter's word, or else by history, ``[B, n]``."""
    chance = by_history.copy()
    for b in range(chance.shape[0]):
        for k in range(chance.shape[1]):
            if not np.isnan(word[b, k]):
                odds = mean[0] + mean[1] * _log_odds(by_history[b, k], least)
                chance[b, k] = _probability(odds + mean[2] * word[b, k])
    return chance


@njit(
    (F2, F2, B2, B2, CHANGED_F1, CHANGED_F2, F1, F2, float64, float64),
    cache=True,
)
def weigh(
    word: Any,
    by_history: Any,
    tested: Any,
    passed: Any,
    mean: Any,
    precision: Any,
    prior: Any,
    first: Any,
    least: float,
    memory: float,
) -> None:
    """Learns from the drafter's word of the tokens that were ``tested``, ``[B, n]``.

    Takes:
      mean, precision: of the drafter's weights, changed in place; ``prior``, ``first``: before any
        sample.
    """
    curvature, slope, x = np.zeros((3, 3)), np.zeros(3), np.ones(3)
    samples = 0
    for b in range(tested.shape[0]):
        for k in range(tested.shape[1]):
            if not tested[b, k]:
                continue
            samples += 1
            x[1] = _log_odds(by_history[b, k], least)
            x[2] = word[b, k]
            p = _probability(mean[0] + mean[1] * x[1] + mean[2] * x[2])
            for f in range(3):
                slope[f] += (passed[b, k] - p) * x[f]
                for g in range(f, 3):
                    curvature[f, g] += p * (1.0 - p) * x[f] * x[g]
    _learn(mean, precision, prior, first, curvature, slope, samples, memory)
