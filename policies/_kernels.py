"""The inner loops of ``marginal`` and its company, compiled by numba; ``_compiled`` loads them.

They compute what ``_history``, ``_confidence``, ``marginal`` and ``_shadows`` write with numpy,
sums in another order: figures agree to rounding (tests hold them to that), so that decisions agree
but for exact ties. As all types are written out, numba compiles when this module is first imported
(some ten seconds), and keeps the result beside this file, or in the user's cache, for next time.
"""

from typing import Any

import numpy as np
from numba import boolean, float64, int64, njit, types


def _shown(kind: Any, dimensions: int) -> Any:
    """An array that is read: of any layout, writeable or not."""
    return types.Array(kind, dimensions, "A", readonly=True)


_F1, _F2 = _shown(float64, 1), _shown(float64, 2)
_I1, _I2, _I3 = _shown(int64, 1), _shown(int64, 2), _shown(int64, 3)
_B2, _B3 = _shown(boolean, 2), _shown(boolean, 3)
# agreed, judged, streak, fleet, mean, of_streak, of_depth, leaning, least: of one drafter.
_DRAFTER = (_F2, _F2, _I1, _F1, _F1, _F2, _F2, float64, float64)

_STEEPEST = 12.0
_FARTHEST = 15.0


@njit(cache=True)
def _log_odds(share: float, least: float) -> Any:
    bounded = min(max(share, least), 1.0 - least)
    return np.log(bounded / (1.0 - bounded))


@njit(cache=True)
def _probability(odds: float) -> Any:
    return 1.0 / (1.0 + np.exp(-min(max(odds, -_STEEPEST), _STEEPEST)))


@njit(cache=True)
def _against(odds: float) -> Any:
    return np.exp(-min(max(odds, -_FARTHEST), _FARTHEST))


@njit(cache=True)
def _level_of(agreed: Any, judged: Any, fleet: Any, mean: Any, leaning: float, least: float) -> Any:
    """Odds against acceptance by level alone, of one row and drafter."""
    odds = mean[0]
    common = leaning * (fleet[0] / fleet[1])
    for i in range(2):
        odds += mean[9 + i] * _log_odds((agreed[i] + common) / (judged[i] + leaning), least)
    return _against(odds)


@njit(cache=True)
def _of_token(mean: Any, of_streak: Any, of_depth: Any, streak: int, depth: int) -> Any:
    """Odds against acceptance by streak and depth alone, of one drafter."""
    odds = 0.0
    for f in range(3):
        odds += mean[6 + f] * of_streak[min(streak + depth, of_streak.shape[0] - 1), f]
    for f in range(5):
        odds += mean[1 + f] * of_depth[depth, f]
    return _against(odds)


@njit(
    (
        _I1,
        _I2,
        _I3,
        _B3,
        int64[:, ::1],
        int64[:, ::1],
        float64[:, :, ::1],
        float64[:, :, ::1],
        _F2,
        _F2,
        _F2,
        _F2,
        _F1,
        float64,
        float64,
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
    of_streak: Any,
    of_depth: Any,
    decay: Any,
    leaning: float,
    least: float,
) -> Any:
    """Goes over the newly known tokens of every row and drafter; the past is changed in place.

    Takes:
      end, runs_known, length, proposes: as in ``Runs``.
      known, streak, agreed, judged: as in ``Past``, ``[B, M]`` and ``[B, M, 2]``.
      fleet: ``[M, 2]``; ``mean``: ``[M, F]`` of the weights.
      of_streak: ``[S, 3]``; ``of_depth``: ``[J, 5]`` what streak and depth give to the features.
      decay: ``[2]`` of the levels; ``leaning``, ``least``: as in ``_history``.

    Returns:
      Of each drafter, the samples' curvature ``[D, F, F]``, slope ``[D, F]`` and weight ``[D]``,
      and tokens that agreed and were judged ``[D, 2]``.
    """
    rows, drafters, window = length.shape
    depths, features = of_depth.shape[0], mean.shape[1]
    longest = of_streak.shape[0] - 1
    curvature = np.zeros((drafters, features, features))
    slope = np.zeros((drafters, features))
    weight = np.zeros(drafters)
    seen = np.zeros((drafters, 2), np.int64)
    x = np.zeros(features)
    x[0] = 1.0
    passed_at = np.zeros(depths)
    for b in range(rows):
        oldest = end[b] - window
        for d in range(drafters):
            begin = max(known[b, d], oldest + depths - 1)
            common = leaning * (fleet[d, 0] / fleet[d, 1])
            for t in range(begin, runs_known[b, d]):
                s = min(streak[b, d], longest)
                x[6:9] = of_streak[s]
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
                            slope[d, f] += g * x[f]
                            for k in range(features):
                                curvature[d, f, k] += r * x[f] * x[k]
                weight[d] += 1.0 if tested else 0.0
                first = passed_at[0] >= 0.0
                right = passed_at[0] > 0.0
                for level in range(2):
                    agreed[b, d, level] = agreed[b, d, level] * decay[level] + right
                    judged[b, d, level] = judged[b, d, level] * decay[level] + first
                streak[b, d] = streak[b, d] + 1 if right else 0
                seen[d, 0] += right
                seen[d, 1] += first
            known[b, d] = max(known[b, d], runs_known[b, d])
    return curvature, slope, weight, seen


@njit(cache=True)
def _table(mean: Any, of_streak: Any, of_depth: Any) -> Any:
    """``_of_token`` for every streak and depth, ``[S, n]``."""
    table = np.empty((of_streak.shape[0], of_depth.shape[0]))
    for s in range(table.shape[0]):
        for k in range(table.shape[1]):
            table[s, k] = _of_token(mean, of_streak, of_depth, s, k)
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


@njit((*_DRAFTER, _F1, _F2, _I1, _F1, int64, int64), cache=True)
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
    """The best tau from ``depth`` on of every row and what it brings, ``[B]`` each.

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
    table = _table(mean, of_streak, of_depth)
    best, worth = np.full(rows, depth), np.full(rows, -np.inf)
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
            if brought > worth[b]:
                worth[b], best[b] = brought, k
            gain += survival
    return best, worth


@njit((_I1, _I2, _I3, _B3, int64[:, ::1], _F1, _F2), cache=True)
def advance_static(
    end: Any, known: Any, length: Any, proposes: Any, position: Any, rate: Any, priced_ms: Any
) -> Any:
    """Static tau = 0, 1 ... go on along the text as far as it is settled; see ``_shadows``.

    Takes:
      end, known, length, proposes: as in ``Runs``.
      position: ``[B, E]``, changed in place.
      rate: ``[B]`` tokens that a millisecond is worth.
      priced_ms: ``[B or 1, K + 1]`` priced time of each tau.

    Returns:
      What each gained in tokens, ``[B, E]``.
    """
    rows, drafters, window = length.shape
    gain = np.zeros(position.shape)
    for b in range(rows):
        row = b if priced_ms.shape[0] > 1 else 0
        first, settled = end[b] - window, known[b, 0]
        for d in range(1, drafters):
            settled = min(settled, known[b, d])
        for e in range(position.shape[1]):
            tau = min(e, priced_ms.shape[1] - 1)
            while position[b, e] < settled:
                column = max(position[b, e] - first, 0)
                drafted, run, ended = 0, 0, True
                for d in range(drafters):
                    if proposes[b, d, column]:
                        drafted, run = tau, length[b, d, column]
                        ended = position[b, e] + run < known[b, d]
                        break
                accepted = min(run, tau)
                whole = ended or run >= tau
                if not whole or position[b, e] + accepted >= settled:
                    break
                gain[b, e] += accepted + 1 - rate[b] * priced_ms[row, drafted]
                position[b, e] += accepted + 1
    return gain


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
    chance = np.empty((rows, depths))
    for b in range(rows):
        level = _level_of(agreed[b], judged[b], fleet, mean, leaning, least)
        for k in range(depths):
            against = _of_token(mean, of_streak, of_depth, min(streak[b], tallest), k)
            chance[b, k] = 1.0 / (1.0 + level * against)
    return chance


@njit((_F2, _F2, _F1, float64), cache=True)
def sure(word: Any, by_history: Any, mean: Any, least: float) -> Any:
    """Chance of drafted tokens by the drafter's word, or else by history, ``[B, n]``."""
    chance = by_history.copy()
    for b in range(chance.shape[0]):
        for k in range(chance.shape[1]):
            if not np.isnan(word[b, k]):
                odds = mean[0] + mean[1] * _log_odds(by_history[b, k], least)
                chance[b, k] = _probability(odds + mean[2] * word[b, k])
    return chance


@njit((_F2, _F2, _B2, _B2, _F1, float64), cache=True)
def weigh(word: Any, by_history: Any, tested: Any, passed: Any, mean: Any, least: float) -> Any:
    """Curvature ``[3, 3]``, slope ``[3]`` and number of samples of the drafter's word."""
    curvature, slope, x = np.zeros((3, 3)), np.zeros(3), np.ones(3)
    samples = 0
    for b in range(tested.shape[0]):
        for k in range(tested.shape[1]):
            if not tested[b, k] or np.isnan(word[b, k]):
                continue
            samples += 1
            x[1] = _log_odds(by_history[b, k], least)
            x[2] = word[b, k]
            p = _probability(mean[0] + mean[1] * x[1] + mean[2] * x[2])
            for f in range(3):
                slope[f] += (passed[b, k] - p) * x[f]
                for g in range(3):
                    curvature[f, g] += p * (1.0 - p) * x[f] * x[g]
    return curvature, slope, samples
