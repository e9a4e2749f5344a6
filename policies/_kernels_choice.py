"""How long to draft, compiled by numba; part of ``_kernels``, where more is said."""

from typing import Any

import numpy as np
from numba import float64, int64, njit

from adaptive_spec.policies._kernels_types import F1, F2, I1

_FARTHEST = 15.0

# agreed, judged, streak, fleet, mean, of_streak, of_depth, leaning, least: of one drafter.
_DRAFTER = (F2, F2, I1, F1, F1, F2, F2, float64, float64)


@njit(cache=True)
def _against(odds: float) -> Any:
    return np.exp(-min(max(odds, -_FARTHEST), _FARTHEST))


@njit(cache=True)
def _level_of(agreed: Any, judged: Any, fleet: Any, mean: Any, leaning: float, least: float) -> Any:
    """Odds against acceptance by level alone, of one row and drafter."""
    odds = mean[0]
    common = leaning * (fleet[0] / fleet[1])
    for i in range(2):
        share = min(max((agreed[i] + common) / (judged[i] + leaning), least), 1.0 - least)
        odds += mean[9 + i] * np.log(share / (1.0 - share))
    return _against(odds)


@njit(cache=True)
def _sums(features: Any, mean: Any) -> Any:
    """Log-odds that features give, ``[n, F] -> [n]``."""
    sums = np.zeros(features.shape[0])
    for i in range(features.shape[0]):
        for f in range(features.shape[1]):
            sums[i] += mean[f] * features[i, f]
    return sums


@njit(cache=True)
def _table(mean: Any, of_streak: Any, of_depth: Any, streak: Any, streaks: int) -> Any:
    """Odds against acceptance by streak before the draft and depth in it, of one drafter.

    ``[S, n]``, of which rows are filled for each ``streak``, and for the first so many.
    """
    table = np.empty((of_streak.shape[0], of_depth.shape[0]))
    by_streak, by_depth = _sums(of_streak, mean[6:9]), _sums(of_depth, mean[1:6])
    longest = table.shape[0] - 1
    wanted = np.arange(table.shape[0]) < streaks
    for own in streak:
        wanted[min(own, longest)] = True
    for s in range(longest, -1, -1):
        if not wanted[s]:
            continue
        for k in range(table.shape[1]):
            # One token further into a run; deep in a draft the depth says nothing more.
            if k > 0 and s < longest and wanted[s + 1] and by_depth[k] == by_depth[k - 1]:
                table[s, k] = table[s + 1, k - 1]
            else:
                table[s, k] = _against(by_streak[min(s + k, longest)] + by_depth[k])
    return table


@njit(cache=True)
def _value_after(streak: int, level: float, table: Any, rate: float, priced_ms: Any) -> Any:
    """What the best tau brings after a streak, in tokens."""
    survival, gain = 1.0, 0.0
    value = -rate * priced_ms[0]
    for k in range(priced_ms.size - 1):
        survival *= 1.0 / (1.0 + level * table[streak, k])
        gain += survival
        value = max(value, gain - rate * priced_ms[k + 1])
    return value


@njit((*_DRAFTER, F1, F2, I1, F1, int64, int64), cache=True)
def choose(
    agreed: Any,
    judged: Any,
    streak: Any,
    fleet: Any,
    mean: Any,
    of_streak: Any,
    of_depth: Any,
    leaning: float,
    least: float,
    rate: Any,
    priced_ms: Any,
    longest: Any,
    sure: Any,
    depth: int,
    streaks: int,
) -> Any:
    """The best tau from ``depth`` on, what it brings, and what ``depth`` itself does, ``[B]`` each.

    Takes:
      agreed, judged: ``[B, 2]``, streak: ``[B]``; fleet: ``[2]``; mean: ``[F]``: of one drafter.
      of_streak: ``[S, 3]``, ``of_depth``: ``[K + 1, 5]`` what streak and depth give to features.
      leaning, least: as in ``_history``.
      rate: ``[B]`` tokens that a millisecond is worth.
      priced_ms: ``[B or 1, K + 1]`` priced time of each tau.
      longest: ``[B]`` largest tau allowed.
      sure: ``[B]`` chance that the first ``depth`` tokens, drafted already, are all accepted.
      streaks: streaks told apart in what lies ahead.
    """
    rows, depths, tallest = rate.size, priced_ms.shape[1], of_streak.shape[0] - 1
    table = _table(mean, of_streak, of_depth, streak, streaks)
    best, worth, idly = np.full(rows, depth), np.full(rows, -np.inf), np.full(rows, -np.inf)
    value = np.zeros(streaks)
    for b in range(rows):
        row = b if priced_ms.shape[0] > 1 else 0
        level = _level_of(agreed[b], judged[b], fleet, mean, leaning, least)
        for s in range(streaks):
            value[s] = _value_after(s, level, table, rate[b], priced_ms[row])
        survival, gain, own = sure[b], 0.0, min(streak[b], tallest)
        for k in range(depth, min(depths - 1, longest[b]) + 1):
            survival *= 1.0 / (1.0 + level * table[own, k])
            ahead = value[min(own + k + 1, streaks - 1)] - value[0]
            brought = gain - rate[b] * priced_ms[row, k] + survival * ahead
            if k == depth:
                idly[b] = brought
            if brought > worth[b]:
                worth[b], best[b] = brought, k
            gain += survival
    return best, worth, idly


@njit(_DRAFTER, cache=True)
def accepted(
    agreed: Any,
    judged: Any,
    streak: Any,
    fleet: Any,
    mean: Any,
    of_streak: Any,
    of_depth: Any,
    leaning: float,
    least: float,
) -> Any:
    """Chance of each token of the next draft, if those before it are accepted, ``[B, n]``.

    Arguments as in ``choose``, with ``of_depth`` ``[n, 5]``.
    """
    rows, depths, tallest = streak.size, of_depth.shape[0], of_streak.shape[0] - 1
    table = _table(mean, of_streak, of_depth, streak, 0)
    chance = np.empty((rows, depths))
    for b in range(rows):
        level = _level_of(agreed[b], judged[b], fleet, mean, leaning, least)
        for k in range(depths):
            chance[b, k] = 1.0 / (1.0 + level * table[min(streak[b], tallest), k])
    return chance
