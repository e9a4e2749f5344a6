"""The ceiling: the least time in which a trace can be decoded, tau chosen with foresight.

    D[n] = 0,   D[p] = min over tau of  time_p(tau) + price + D[p + min(L_p, tau) + 1]

solved backwards from the end (Bellman, Dynamic Programming, 1957), many sequences at once. Also the
least number of passes, which decides whether a pass budget is feasible: the same with free drafts.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.costs import ConstantCosts, CostModel, cycle_costs
from adaptive_spec.traces.records import FlatTrace, TraceSet

_ENTRIES_AT_ONCE = 1 << 22  # bounds the memory of the tables


class Optimum(NamedTuple):
    """The optimal plan, per sequence ``[N]``; counts as in ``Replay``."""

    tokens: IntArray
    cycles: IntArray
    num_draft_tokens: IntArray
    num_accepted_tokens: IntArray
    time_ms: FloatArray


def optimum(
    traces: TraceSet | FlatTrace,
    *,
    costs: CostModel,
    max_draft_tokens: int = 10,
    pass_price_ms: float = 0.0,
) -> Optimum:
    """The clairvoyant optimum of decoding each sequence alone.

    Args:
      traces: the trace.
      costs: what cycles cost.
      max_draft_tokens: tau is free in 0..K, within what live decoding would allow.
      pass_price_ms: price of a pass on top of its time; not part of ``time_ms``.
    """
    flat = traces.flat() if isinstance(traces, TraceSet) else traces
    totals = np.zeros((4, flat.start.size), np.int64)
    time_ms = np.zeros(flat.start.size)
    for index in _of_like_length(flat.num_tokens):
        some = flat.take(index)
        choice = _best_taus(some, costs, max_draft_tokens, pass_price_ms)
        totals[:, index], time_ms[index] = _follow(some, choice, costs)
    return Optimum(totals[0], totals[1], totals[2], totals[3], time_ms)


def _of_like_length(num_tokens: IntArray) -> Iterator[IntArray]:
    """All sequences, a few of about the same length at a time, so that the tables stay small."""
    order = np.argsort(num_tokens, kind="stable")
    end = order.size
    while end > 0:
        count = max(1, _ENTRIES_AT_ONCE // int(num_tokens[order[end - 1]]))
        yield order[max(end - count, 0) : end]
        end -= count


def _best_taus(
    flat: FlatTrace, costs: CostModel, max_draft_tokens: int, pass_price_ms: float
) -> npt.NDArray[np.int16]:
    """The best tau at every position of every sequence, ``[N, longest]``."""
    n, longest = flat.num_tokens, int(flat.num_tokens.max())
    sequences = np.arange(n.size)
    best = np.zeros((n.size, longest + max_draft_tokens + 2))  # D, 0 from the end on
    choice = np.zeros((n.size, longest), np.int16)
    for position in range(longest - 1, -1, -1):
        alive = sequences[n > position]
        token = flat.start[alive] + position
        context = flat.prompt_tokens[alive] + position
        priced = costs.table(max_draft_tokens, 1, context) + pass_price_ms
        left = n[alive] - position
        tau = np.arange(max_draft_tokens + 1)
        landing = np.minimum(flat.run_lengths[token][:, None], tau) + 1
        landing = np.minimum(landing, left[:, None]) + position
        total = priced + best[alive[:, None], landing]
        total[tau > _cap(flat, alive, position)[:, None]] = np.inf
        total[(tau > 0) & ~flat.proposes[token][:, None]] = np.inf
        choice[alive, position] = np.argmin(total, axis=1)
        best[alive, position] = total.min(axis=1)
    return choice


def least_passes(traces: TraceSet | FlatTrace, *, max_draft_tokens: int = 10) -> IntArray:
    """Fewest verifier passes with which each sequence can be decoded, ``[N]``."""
    free = ConstantCosts(draft=0.0, verify=0.0)
    return optimum(traces, costs=free, max_draft_tokens=max_draft_tokens).cycles


def _cap(flat: FlatTrace, sequence: IntArray, position: int) -> IntArray:
    room = np.minimum(flat.limit_tokens[sequence] - 1, flat.draftable_tokens[sequence]) - position
    cap: IntArray = np.maximum(room, 0)
    return cap


def _follow(
    flat: FlatTrace, choice: npt.NDArray[np.int16], costs: CostModel
) -> tuple[IntArray, FloatArray]:
    """Totals ``[4, N]`` and times ``[N]`` of the plan, by walking it from the start."""
    totals = np.zeros((4, flat.start.size), np.int64)
    time_ms = np.zeros(flat.start.size)
    position = np.zeros(flat.start.size, np.int64)
    alive = np.arange(flat.start.size)
    while alive.size:
        at = position[alive]
        tau = choice[alive, at].astype(np.int64)
        accepted = np.minimum(flat.run_lengths[flat.start[alive] + at], tau)
        emitted = np.minimum(accepted + 1, flat.num_tokens[alive] - at)
        totals[:, alive] += (emitted, np.ones_like(emitted), tau, accepted)
        context = flat.prompt_tokens[alive] + at
        time_ms[alive] += cycle_costs(costs, tau, 1, context)
        position[alive] += emitted
        alive = alive[position[alive] < flat.num_tokens[alive]]
    return totals, time_ms
