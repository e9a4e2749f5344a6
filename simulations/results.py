"""What a replay gives: totals per sequence, who drafted, and every cycle where asked for."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.constraints import EndReason, Feasibility, Ledger
from adaptive_spec.simulations.replayed_cycles import ReplayedCycle


class CycleLog(NamedTuple):
    """Every cycle of a replay, in the order it happened; ``C`` cycles.

    Sequences that ran in parallel come one after the other.

    Attributes:
      sequence: ``[C]`` index of the sequence in the trace.
      position: ``[C]`` output position where the cycle began.
      tau, num_draft_tokens, num_accepted_tokens, num_emitted_tokens: ``[C]``.
      cycle_ms: ``[C]`` time by the cost model.
      drafter: ``[C]`` who drafted, as index into the trace's drafters; ``NO_DRAFTER`` for nobody.
      batch_size: ``[C]`` sequences that shared the pass.
    """

    sequence: IntArray
    position: IntArray
    tau: IntArray
    num_draft_tokens: IntArray
    num_accepted_tokens: IntArray
    num_emitted_tokens: IntArray
    cycle_ms: FloatArray
    drafter: IntArray
    batch_size: IntArray

    @staticmethod
    def of(cycles: Sequence[ReplayedCycle]) -> "CycleLog":
        """The log of cycles in the order in which they ran, at least one."""
        return CycleLog(
            *(np.concatenate([getattr(c, name) for c in cycles]) for name in CycleLog._fields)
        )

    def by_sequence(self, order: IntArray) -> "CycleLog":
        """Each sequence's cycles together, sequences in the order given."""
        place = np.zeros(int(order.max()) + 1, np.int64)
        place[order] = np.arange(order.size)
        index = np.argsort(place[self.sequence], kind="stable")
        columns: Iterator[Any] = (column[index] for column in self)
        return CycleLog(*columns)


class DrafterShares(NamedTuple):
    """What each drafter contributed, per sequence; ``D`` drafters in default order.

    Attributes:
      names: of the drafters.
      cycles: ``[N, D]`` in which it drafted.
      num_draft_tokens, num_accepted_tokens: ``[N, D]``.
    """

    names: tuple[str, ...]
    cycles: IntArray
    num_draft_tokens: IntArray
    num_accepted_tokens: IntArray

    @staticmethod
    def none(names: tuple[str, ...], num_sequences: int) -> "DrafterShares":
        """Nothing drafted yet."""
        return DrafterShares(names, *np.zeros((3, num_sequences, len(names)), np.int64))

    def add(
        self, sequence: IntArray, drafter: IntArray, drafted: IntArray, accepted: IntArray
    ) -> None:
        """Counts a cycle of distinct sequences, in place; arrays ``[B]``."""
        source = np.maximum(drafter, 0)
        self.cycles[sequence, source] += drafted > 0
        self.num_draft_tokens[sequence, source] += drafted
        self.num_accepted_tokens[sequence, source] += accepted


class Replay(NamedTuple):
    """Totals per sequence, in the trace's order; ``N`` sequences.

    Attributes:
      tokens: ``[N]`` emitted; ``cycles``: ``[N]``, one verifier pass each.
      num_draft_tokens, num_accepted_tokens: ``[N]``.
      time_ms: ``[N]`` time of its cycles by the cost model; a cycle shared by a batch counts in
        full for each of its sequences (it is how long each waited).
      engine_ms: time the engine was busy: every cycle counts once, whatever its batch.
      end_reason: ``[N]`` ``EndReason``: whether a budget or a deadline cut it short.
      ledgers: what finished requests took, by class; ``feasibility``: what the controller had found
        of each class's promises at the end.
      shares: who drafted.
      log: every cycle, where asked for.
    """

    tokens: IntArray
    cycles: IntArray
    num_draft_tokens: IntArray
    num_accepted_tokens: IntArray
    time_ms: FloatArray
    engine_ms: float
    end_reason: IntArray
    ledgers: dict[str, Ledger]
    feasibility: dict[str, Feasibility]
    shares: DrafterShares
    log: CycleLog | None = None

    @property
    def ended_by_deadline(self) -> BoolArray:
        """``[N]`` whether a deadline cut it short."""
        by_deadline: BoolArray = self.end_reason == EndReason.DEADLINE
        return by_deadline

    @property
    def ended_by_budget(self) -> BoolArray:
        """``[N]`` whether a pass budget cut it short."""
        by_budget: BoolArray = self.end_reason == EndReason.BUDGET
        return by_budget
