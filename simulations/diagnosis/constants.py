"""What every constant tau would have taken, over all requests, some of them, and resamples.

Of a trace it is replayed. Of a log it is the least that its cycles show: where ``d`` tokens were
drafted and ``a`` accepted, a constant ``s`` would have had ``min(a, s)`` accepted from there, and
maybe more if ``a = d < s``. A cycle that was not asked to draft counts as one that had nothing
accepted. So constants are no slower than they are said to be here, as far as cycles begun elsewhere
in the text fare alike, and what is lost against them is no less.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.costs import CostModel
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.simulations.diagnosis.resamples import Resamples, ratio
from adaptive_spec.simulations.diagnosis.served import ServedCycles
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces.flat import FlatTrace

_CYCLES_AT_ONCE = 1 << 17


class Constants(Protocol):
    """Times of every constant tau from 0."""

    def times(self, resamples: Resamples, some: BoolArray | None = None) -> FloatArray:
        """Sums over requests (``some``, ``[N]``, or all of them) and resamples, ``[1 + R, K + 1]``.

        NaN in resamples where none of these requests was drawn.
        """
        ...


@dataclass(frozen=True)
class ReplayedConstants:
    """Of a trace: ``time_ms``, ``[N, K + 1]``."""

    time_ms: FloatArray

    @staticmethod
    def of(
        flat: FlatTrace, tokens: IntArray, costs: CostModel, max_draft_tokens: int
    ) -> "ReplayedConstants":
        """Replays every tau up to ``max_draft_tokens`` on the first ``tokens`` of each, ``[N]``."""
        begun = np.flatnonzero(tokens)
        some = flat.take(begun)._replace(num_tokens=tokens[begun])
        time_ms = np.zeros((tokens.size, max_draft_tokens + 1))
        for tau in range(max_draft_tokens + 1):
            run = replay(Fixed(tau), some, costs=costs, max_draft_tokens=max_draft_tokens)
            time_ms[begun, tau] = run.time_ms
        return ReplayedConstants(time_ms)

    def times(self, resamples: Resamples, some: BoolArray | None = None) -> FloatArray:
        return resamples.sums(_of(self.time_ms, some))


@dataclass(frozen=True)
class LoggedConstants:
    """Of a log: sums by request of what its cycles would have been.

    Attributes:
      tokens: ``[N]`` emitted.
      cost_ms: ``[N, K + 1]`` what its cycles would have cost; ``emitted``: ``[N, K + 1]`` what they
        would have emitted at least.
    """

    tokens: IntArray
    cost_ms: FloatArray
    emitted: FloatArray

    @staticmethod
    def of(
        cycles: ServedCycles,
        tokens: IntArray,
        costs: CostModel,
        drafters: tuple[str, ...],
        *,
        only_drafting: bool = False,
        hopeful_up_to: int | None = None,
    ) -> "LoggedConstants":
        """From cycles and the tokens of each request, ``[N]``.

        Args:
          cycles: what was served.
          tokens: ``[N]`` emitted.
          costs: what cycles cost.
          drafters: names.
          only_drafting: leaves out cycles that were not asked to draft, and takes the others to
            stand for them.
          hopeful_up_to: the longest tau to tell of, with drafts that were accepted whole taken to
            go on as far as need be; None for what is certain, of drafts that were made.
        """
        hopeful = hopeful_up_to is not None
        taus = np.arange(1 + (hopeful_up_to or int(cycles.drafted.max(initial=0))))
        cost_ms, emitted = np.zeros((2, tokens.size, taus.size))
        chosen = np.flatnonzero(cycles.tau > 0) if only_drafting else np.arange(cycles.tau.size)
        for begin in range(0, chosen.size, _CYCLES_AT_ONCE):
            some = cycles.some(chosen[begin : begin + _CYCLES_AT_ONCE])
            whole = hopeful & (some.drafted > 0) & (some.accepted == some.drafted)
            accepted = np.minimum(np.where(whole, taus.size, some.accepted)[:, None], taus)
            np.add.at(emitted, some.request, accepted + 1.0)
            np.add.at(cost_ms, some.request, _cost_of_each(some, costs, drafters, taus.size - 1))
        return LoggedConstants(tokens, cost_ms, emitted)

    def times(self, resamples: Resamples, some: BoolArray | None = None) -> FloatArray:
        tokens = resamples.sums(_of(self.tokens, some))[:, None]
        cost_ms = resamples.sums(_of(self.cost_ms, some))
        emitted = resamples.sums(_of(self.emitted, some))
        return ratio(tokens * cost_ms, emitted)


def _cost_of_each(
    cycles: ServedCycles, costs: CostModel, drafters: tuple[str, ...], longest: int
) -> FloatArray:
    """What each cycle would have cost at every tau, ``[C, K + 1]``."""
    table = np.zeros((cycles.tau.size, longest + 1))
    for size in np.unique(cycles.batch_size).tolist():
        for i, name in enumerate(drafters):
            own = (cycles.batch_size == size) & (cycles.drafting == i)
            if own.any():
                model = costs.of_drafter(name)
                table[own] = model.table(longest, size, cycles.context_tokens[own])
    # Alone, a drafter with nothing to propose costs no time at any tau.
    nothing = (cycles.tau > 0) & (cycles.drafted == 0) & (cycles.batch_size == 1)
    table[nothing] = table[nothing, :1]
    return table


def _of(values: FloatArray | IntArray, some: BoolArray | None) -> FloatArray:
    """Values of some requests, zero for others."""
    kept = np.ones(values.shape[0]) if some is None else some.astype(np.float64)
    chosen: FloatArray = values * kept.reshape(-1, *[1] * (values.ndim - 1))
    return chosen
