"""The inner loops of ``marginal``, compiled by numba where it is installed; numpy does without.

They compute what ``_history`` and ``marginal`` write with numpy, sums in another order: figures
agree to rounding (tests hold them to that), so that decisions agree but for exact ties. Numba
compiles at the first call, and keeps the result beside this file where it can.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np


@functools.cache
def compiled() -> bool:
    """Whether numba is there."""
    return importlib.util.find_spec("numba") is not None


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, compiled when it is first called."""

    @functools.cache
    def build() -> Callable[..., Any]:
        import numba

        built: Callable[..., Any] = numba.njit(cache=True)(function)
        return built

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return build()(*arguments)

    return call


@kernel
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

    Args:
      end: ``[B]``, this and the next three as in ``Runs``.
      runs_known: ``[B, D]``.
      length: ``[B, D, W]``.
      proposes: ``[B, D, W]``.
      known: ``[B, M]``, this and the next three as in ``Past``.
      streak: ``[B, M]``.
      agreed: ``[B, M, 2]``.
      judged: ``[B, M, 2]``.
      fleet: ``[M, 2]`` as in ``Learned``.
      mean: ``[M, F]`` of the weights.
      of_streak: ``[S, 3]`` what the streak gives to the features.
      of_depth: ``[J, 5]`` what the depth gives.
      decay: ``[2]`` of the levels.
      leaning: tokens that a level leans on that of all sequences as on.
      least: share below which no level falls.

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
                    share = min(max(share, least), 1.0 - least)
                    x[9 + level] = np.log(share / (1.0 - share))
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
                    odds = min(max(odds, -12.0), 12.0)
                    p = 1.0 / (1.0 + np.exp(-odds))
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


@kernel
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
    streaks: int,
) -> Any:
    """The best tau of every row and what it brings, ``[B]`` each.

    Args:
      agreed: ``[B, 2]``, this and the next four as in ``absorb``, of one drafter.
      judged: ``[B, 2]``.
      streak: ``[B]``.
      fleet: ``[2]``.
      mean: ``[F]``.
      of_streak: ``[S, 3]`` what the streak gives to the features.
      of_depth: ``[K + 1, 5]`` what the depth gives.
      leaning: as in ``absorb``.
      least: as in ``absorb``.
      rate: ``[B]`` tokens that a millisecond is worth.
      priced_ms: ``[B or 1, K + 1]`` priced time of each tau.
      longest: ``[B]`` largest tau allowed.
      streaks: streaks told apart in what lies ahead.
    """
    rows, depths, tallest = rate.size, priced_ms.shape[1], of_streak.shape[0] - 1
    table = np.empty((tallest + 1, depths))
    for s in range(tallest + 1):
        for k in range(depths):
            odds = 0.0
            for f in range(3):
                odds += mean[6 + f] * of_streak[min(s + k, tallest), f]
            for f in range(5):
                odds += mean[1 + f] * of_depth[k, f]
            table[s, k] = np.exp(-min(max(odds, -15.0), 15.0))
    best, worth = np.zeros(rows, np.int64), np.full(rows, -np.inf)
    value = np.zeros(streaks)
    common = leaning * (fleet[0] / fleet[1])
    for b in range(rows):
        row = b if priced_ms.shape[0] > 1 else 0
        odds = mean[0]
        for i in range(2):
            share = (agreed[b, i] + common) / (judged[b, i] + leaning)
            share = min(max(share, least), 1.0 - least)
            odds += mean[9 + i] * np.log(share / (1.0 - share))
        level = np.exp(-min(max(odds, -15.0), 15.0))
        for s in range(streaks):
            survival, gain = 1.0, 0.0
            value[s] = -rate[b] * priced_ms[row, 0]
            for k in range(depths - 1):
                survival *= 1.0 / (1.0 + level * table[s, k])
                gain += survival
                value[s] = max(value[s], gain - rate[b] * priced_ms[row, k + 1])
        survival, gain, own = 1.0, 0.0, min(streak[b], tallest)
        for k in range(min(depths - 1, longest[b]) + 1):
            survival *= 1.0 / (1.0 + level * table[own, k])
            ahead = value[min(own + k + 1, streaks - 1)] - value[0]
            brought = gain - rate[b] * priced_ms[row, k] + survival * ahead
            if brought > worth[b]:
                worth[b], best[b] = brought, k
            gain += survival
    return best, worth


@kernel
def advance_static(
    end: Any, known: Any, length: Any, proposes: Any, position: Any, rate: Any, priced_ms: Any
) -> Any:
    """Static tau = 0, 1 ... go on along the text as far as it is settled; see ``_shadows``.

    Args:
      end: ``[B]``, this and the next three as in ``Runs``.
      known: ``[B, D]``.
      length: ``[B, D, W]``.
      proposes: ``[B, D, W]``.
      position: ``[B, E]`` where each had got to, changed in place.
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
