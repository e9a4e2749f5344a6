"""What can be had: passes per request, latency and speed of every tau, and what they rule out.

With ``S`` from ``survival``, the passes that ``n`` tokens take at a constant tau follow from a
renewal equation, ``m(n) = 1 + sum over a of P(A = a) m(n - a - 1)``: the first cycle, and what is
left after it. The longest draft has the fewest passes: no policy can have fewer, but for what the
estimate of S is off. The time at tau is that many cycles of its cost.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import FloatArray, IntArray

LONGEST = 256
"""Tokens up to which passes are counted one by one; beyond, they grow in proportion."""


class Recent(NamedTuple):
    """Finished requests, ``[R]``, and what a cycle of theirs costs.

    Attributes:
      tokens: emitted; ``passes``: taken.
      waited_ms: from arrival until decoding began; ``decode_ms``: from then on.
      cycle_ms: ``[K + 1]`` time of a cycle, by tau.
    """

    tokens: IntArray
    passes: IntArray
    waited_ms: FloatArray
    decode_ms: FloatArray
    cycle_ms: FloatArray


class Frontier(NamedTuple):
    """What every constant tau would have come to on the same requests, ``[K + 1]``.

    Attributes:
      passes_per_request, passes_per_token: verifier passes.
      latency_ms: the quantile asked for of the time from arrival to the last token.
      late: share of requests beyond the target; NaN without one.
      tokens_per_s: tokens by time spent decoding them.
    """

    passes_per_request: FloatArray
    passes_per_token: FloatArray
    latency_ms: FloatArray
    late: FloatArray
    tokens_per_s: FloatArray


def expected_passes(survival: FloatArray, tokens: IntArray) -> FloatArray:
    """Mean passes that requests of so many tokens take at every tau, ``[K + 1, R]``.

    Args:
      survival: ``[K + 1]`` from ``Survival.chances``.
      tokens: ``[R]`` lengths, >= 0.
    """
    depths = survival.size
    ends = np.append(survival[:-1] - survival[1:], 0.0)
    tau, accepted = np.arange(depths)[:, None], np.arange(depths)
    chance = np.where(accepted < tau, ends, np.where(accepted == tau, survival, 0.0))
    longest = int(min(tokens.max(initial=1), LONGEST))
    passes = np.zeros((depths, depths + longest))  # zero passes for zero tokens and fewer
    for n in range(depths, depths + longest):
        passes[:, n] = 1.0 + (chance * passes[:, n - depths : n][:, ::-1]).sum(axis=1)
    by_length = passes[:, depths - 1 :]
    counted = by_length[:, np.minimum(tokens, longest)]
    scaled: FloatArray = counted * np.maximum(tokens / longest, 1.0)
    return scaled


def frontier(
    survival: FloatArray, recent: Recent, quantile: float, target_ms: float | None
) -> Frontier:
    """What every constant tau would have come to.

    Times keep the shape that was seen: each request's decoding is stretched or shrunk by the ratio
    of all requests' expected time at that tau to the time they took.
    """
    passes = expected_passes(survival, recent.tokens)
    tokens = max(int(recent.tokens.sum()), 1)
    total_ms = passes.sum(axis=1) * recent.cycle_ms
    stretch = total_ms / max(float(recent.decode_ms.sum()), 1e-9)
    latency = recent.waited_ms + stretch[:, None] * recent.decode_ms
    late = np.full(stretch.size, np.nan) if target_ms is None else (latency > target_ms).mean(1)
    return Frontier(
        passes.mean(axis=1),
        passes.sum(axis=1) / tokens,
        np.quantile(latency, quantile, axis=1, method="higher"),
        late,
        1e3 * tokens / total_ms,
    )


def least_mixture(cost: FloatArray, spent: FloatArray, allowed: float) -> float:
    """Least mean cost of a mixture whose mean ``spent`` is within what is allowed.

    A mixture serves shares of the requests with different tau; of a linear programme with one
    constraint, the best needs two of them.

    Args:
      cost: ``[n]`` of each tau.
      spent: ``[n]`` of each tau.
      allowed: of the mixture.

    Returns:
      infinity where no mixture is within what is allowed.
    """
    within = spent <= allowed
    if not within.any():
        return float("inf")
    best = cost[within].min()
    low, high = np.flatnonzero(within), np.flatnonzero(~within)
    if high.size:
        share = (allowed - spent[low])[:, None] / (spent[high] - spent[low][:, None])
        mixed: npt.NDArray[np.float64] = cost[low][:, None] * (1 - share) + cost[high] * share
        best = min(best, mixed.min())
    return float(best)
