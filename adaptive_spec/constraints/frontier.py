"""What can be had: passes per request, latency and speed of every tau, and what they rule out.

With ``S`` from ``survival``, the passes that ``n`` tokens take at a constant tau follow from a
renewal equation, ``m(n) = 1 + sum over a of P(A = a) m(n - a - 1)``: the first cycle, and what is
left after it. The longest draft has the fewest passes: no policy can have fewer, but for what the
estimate of S is off.

Requests differ, in how well they are drafted and in what their cycles cost. A request's luck at tau
compares the draft tokens up to that depth that were accepted, ``a``, with those to be expected of
drafts as long as its own, ``e``, the sum of ``S_1, S_2, ...`` up to tau or to the length of the
draft, over its cycles: ``luck = (a + 1) / (e + 1)``, near 1 where little was drafted. Its pace is
the time that it took, over the cost of its cycles. At a constant tau its passes are taken to be in
proportion to ``m(n) / (1 + luck * (S_1 + ... + S_tau))``, with the sum over all requests as
expected, and its time is its pace times that many cycles of the cost of tau. So what spread there
is comes from the requests, and not from a policy that chose one tau for this and another for that.
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
      cycles_by_tau: ``[R, K + 1]`` cycles by draft tokens asked for; ``cycles_by_accepted``: by
        those that were accepted.
      cycle_ms: ``[K + 1]`` time of a cycle, by tau.
    """

    tokens: IntArray
    passes: IntArray
    waited_ms: FloatArray
    decode_ms: FloatArray
    cycles_by_tau: IntArray
    cycles_by_accepted: IntArray
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

    Args:
      survival: ``[K + 1]`` from ``Survival.chances``.
      recent: finished requests, at least one.
      quantile: of the latency.
      target_ms: of the latency; None where there is none.
    """
    passes = _own_passes(survival, recent)
    tokens = max(int(recent.tokens.sum()), 1)
    pace = recent.decode_ms / np.maximum(recent.cycles_by_tau @ recent.cycle_ms, 1e-9)
    decode_ms = pace * passes * recent.cycle_ms[:, None]
    latency = recent.waited_ms + decode_ms
    late = np.full(survival.size, np.nan) if target_ms is None else (latency > target_ms).mean(1)
    return Frontier(
        passes.mean(axis=1),
        passes.sum(axis=1) / tokens,
        np.quantile(latency, quantile, axis=1, method="higher"),
        late,
        1e3 * tokens / np.maximum(decode_ms.sum(axis=1), 1e-9),
    )


def _own_passes(survival: FloatArray, recent: Recent) -> FloatArray:
    """Passes that each request would have taken at every tau, by its own luck, ``[K + 1, R]``."""
    asked, reached = (
        cycles[:, :0:-1].cumsum(axis=1)[:, ::-1]  # depths 1 to K: cycles with so many or more
        for cycles in (recent.cycles_by_tau, recent.cycles_by_accepted)
    )
    luck = np.ones(recent.cycles_by_tau.shape)
    luck[:, 1:] = reached.cumsum(axis=1) + 1.0
    luck[:, 1:] /= (asked * survival[1:]).cumsum(axis=1) + 1.0
    expected = expected_passes(survival, recent.tokens)
    own = expected / (1.0 + luck * (survival.cumsum() - 1.0)).T
    unbiased = expected.sum(axis=1) / np.maximum(own.sum(axis=1), 1e-9)
    passes: FloatArray = own * unbiased[:, None]
    return passes


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
