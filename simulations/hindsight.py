"""The ceiling: the least time in which a trace can be decoded, tau chosen with foresight.

    D[n] = 0,   D[p] = min over tau of  time_p(tau) + price + D[p + min(L_p, tau) + 1]

(over the drafters too, where there are several: each has its own L and its own time)

solved backwards from the end (Bellman, Dynamic Programming, 1957), many sequences at once. Also the
least number of passes, which decides whether a pass budget is feasible: the same with free drafts.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.costs import ConstantCosts, CostModel, cycle_costs
from adaptive_spec.simulations.simulator import AnyTrace, DrafterShares, flat_of
from adaptive_spec.traces.flat import FlatTrace

_ENTRIES_AT_ONCE = 1 << 22  # bounds the memory of the tables


class Optimum(NamedTuple):
    """The optimal plan, per sequence ``[N]``; counts and shares as in ``Replay``."""

    tokens: IntArray
    cycles: IntArray
    num_draft_tokens: IntArray
    num_accepted_tokens: IntArray
    time_ms: FloatArray
    shares: DrafterShares


def optimum(
    traces: AnyTrace,
    *,
    costs: CostModel,
    max_draft_tokens: int = 10,
    pass_price_ms: float = 0.0,
) -> Optimum:
    """The clairvoyant optimum of decoding each sequence alone.

    Args:
      traces: the trace.
      costs: what cycles cost.
      max_draft_tokens: tau is free in 0..K, within what live decoding would allow, and so is the
        choice between the drafters that propose something.
      pass_price_ms: price of a pass on top of its time; not part of ``time_ms``.
    """
    flat = flat_of(traces, max_draft_tokens)
    totals = np.zeros((4, flat.start.size), np.int64)
    time_ms = np.zeros(flat.start.size)
    shares = DrafterShares.none(flat.drafters, flat.start.size)
    by_drafter = [costs.of_drafter(name) for name in flat.drafters]
    for index in _of_like_length(flat.num_tokens):
        some = flat.take(index)
        plan = _best_plan(some, by_drafter, max_draft_tokens, pass_price_ms)
        totals[:, index], time_ms[index], parts = _follow(some, plan, by_drafter)
        for whole, part in zip(shares[1:], parts[1:], strict=True):
            whole[index] = part
    return Optimum(totals[0], totals[1], totals[2], totals[3], time_ms, shares)


def _of_like_length(num_tokens: IntArray) -> Iterator[IntArray]:
    """All sequences, a few of about the same length at a time, so that the tables stay small."""
    order = np.argsort(num_tokens, kind="stable")
    end = order.size
    while end > 0:
        count = max(1, _ENTRIES_AT_ONCE // int(num_tokens[order[end - 1]]))
        yield order[max(end - count, 0) : end]
        end -= count


class _Plan(NamedTuple):
    """The best tau at every position of every sequence, and who drafts, ``[N, longest]``."""

    tau: npt.NDArray[np.int16]
    drafter: npt.NDArray[np.int8]


def _best_plan(
    flat: FlatTrace, by_drafter: list[CostModel], max_draft_tokens: int, pass_price_ms: float
) -> _Plan:
    n, longest = flat.num_tokens, int(flat.num_tokens.max())
    sequences = np.arange(n.size)
    best = np.zeros((n.size, longest + max_draft_tokens + 2))  # D, 0 from the end on
    plan = _Plan(np.zeros((n.size, longest), np.int16), np.zeros((n.size, longest), np.int8))
    for position in range(longest - 1, -1, -1):
        alive = sequences[n > position]
        token = flat.start[alive] + position
        context = flat.prompt_tokens[alive] + position
        left = n[alive] - position
        tau = np.arange(max_draft_tokens + 1)
        cap = _cap(flat, alive, position)
        least = np.full(alive.size, np.inf)
        for drafter, costs in enumerate(by_drafter):
            priced = costs.table(max_draft_tokens, 1, context) + pass_price_ms
            landing = np.minimum(flat.run_lengths[token, drafter][:, None], tau) + 1
            landing = np.minimum(landing, left[:, None]) + position
            total = priced + best[alive[:, None], landing]
            total[tau > cap[:, drafter, None]] = np.inf
            cost = total.min(axis=1)
            better = cost < least
            least[better] = cost[better]
            plan.tau[alive[better], position] = np.argmin(total[better], axis=1)
            plan.drafter[alive[better], position] = drafter
        best[alive, position] = least
    return plan


def least_passes(traces: AnyTrace, *, max_draft_tokens: int = 10) -> IntArray:
    """Fewest verifier passes with which each sequence can be decoded, ``[N]``."""
    free = ConstantCosts(draft=0.0, verify=0.0)
    return optimum(traces, costs=free, max_draft_tokens=max_draft_tokens).cycles


def _cap(flat: FlatTrace, sequence: IntArray, position: int) -> IntArray:
    """Most tokens that each drafter can usefully propose at a position, ``[B, D]``."""
    room = flat.room(sequence, np.full(sequence.size, position))
    left = np.maximum(flat.limit_tokens[sequence] - 1 - position, 0)
    cap: IntArray = np.minimum(room, left[:, None])
    return cap


def _follow(
    flat: FlatTrace, plan: _Plan, by_drafter: list[CostModel]
) -> tuple[IntArray, FloatArray, DrafterShares]:
    """Totals ``[4, N]``, times ``[N]`` and shares of the plan, by walking it from the start."""
    shares = DrafterShares.none(flat.drafters, flat.start.size)
    totals = np.zeros((4, flat.start.size), np.int64)
    time_ms = np.zeros(flat.start.size)
    position = np.zeros(flat.start.size, np.int64)
    alive = np.arange(flat.start.size)
    while alive.size:
        at = position[alive]
        tau = plan.tau[alive, at].astype(np.int64)
        drafter = plan.drafter[alive, at].astype(np.int64)
        left = flat.num_tokens[alive] - at
        accepted = np.minimum(flat.run_lengths[flat.start[alive] + at, drafter], tau)
        accepted = np.minimum(accepted, left)
        emitted = np.minimum(accepted + 1, left)
        totals[:, alive] += (emitted, np.ones_like(emitted), tau, accepted)
        shares.add(alive, drafter, tau, accepted)
        context = flat.prompt_tokens[alive] + at
        for i, costs in enumerate(by_drafter):
            own = drafter == i
            time_ms[alive[own]] += cycle_costs(costs, tau[own], 1, context[own])
        position[alive] += emitted
        alive = alive[position[alive] < flat.num_tokens[alive]]
    return totals, time_ms, shares
