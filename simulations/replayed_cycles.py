"""One cycle of sequences whose text is known: what the live engine would have done in it.

Replay and serving differ in who runs when; what a cycle does to its sequences is the same, and
stands here alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.controller import Controller
from adaptive_spec.foreseen import draft_on
from adaptive_spec.policy import NO_DRAFTER, DraftSignals
from adaptive_spec.runs import KnownPositions, Runs
from adaptive_spec.simulations.hints import ReplayedHints
from adaptive_spec.simulations.looking_back import runs_of
from adaptive_spec.simulations.measured_times import CycleTimes
from adaptive_spec.simulations.signals import SignalSource
from adaptive_spec.traces.flat import FlatTrace


class ReplayedCycle(NamedTuple):
    """What happened in a cycle of ``B`` rows.

    Attributes:
      rows: ``[B]`` controller rows, ascending.
      sequence: ``[B]`` index in the trace; ``position``: ``[B]`` output position at the beginning.
      tau, num_draft_tokens, num_accepted_tokens, num_emitted_tokens: ``[B]``.
      cycle_ms: ``[B]`` time by the cost model.
      drafter: ``[B]`` who drafted, as index into the trace's drafters; ``NO_DRAFTER`` for nobody.
      batch_size: ``[B]`` sequences that shared the pass.
      at_end: ``[B]`` whether the text is complete.
    """

    rows: IntArray
    sequence: IntArray
    position: IntArray
    tau: IntArray
    num_draft_tokens: IntArray
    num_accepted_tokens: IntArray
    num_emitted_tokens: IntArray
    cycle_ms: FloatArray
    drafter: IntArray
    batch_size: IntArray
    at_end: BoolArray


class ReplayedCycles:
    """Runs cycles of a trace's sequences through a controller, which holds the rows.

    A sequence may be run more than once, at the same time too: rows are what is told apart.
    """

    def __init__(
        self, controller: Controller, flat: FlatTrace, signals: SignalSource | None
    ) -> None:
        """Sets up without rows; ``signals`` as ``signals_for`` gives them for the policy."""
        self.controller = controller
        self._flat = flat
        self._signals = signals
        self._sequence = np.zeros(0, np.int64)  # by row, as is what follows
        self._position = np.zeros(0, np.int64)
        self._back: KnownPositions | None = None
        if controller.policy.looks_back:
            self._back = KnownPositions(flat.token_by_token)
        self._hints: ReplayedHints | None = None
        if controller.policy.takes_hints:
            self._hints = ReplayedHints(flat)

    def admit(
        self,
        sequence: IntArray,
        *,
        request_class: IntArray | None = None,
        waited_ms: FloatArray | None = None,
        request_ids: Sequence[str] | None = None,
    ) -> IntArray:
        """Begins sequences, ``[n]`` by their index in the trace; returns their rows, ``[n]``.

        ``request_class``, ``waited_ms`` and ``request_ids`` are as ``Controller.admit`` has them.
        """
        flat = self._flat
        rows = self.controller.admit(
            flat.prompt_tokens[sequence],
            flat.limit_tokens[sequence],
            flat.draftable_tokens[sequence].max(axis=1),
            request_class=request_class,
            waited_ms=waited_ms,
            request_ids=request_ids,
        )
        more = self.controller.capacity - self._sequence.size
        if more > 0:
            self._sequence = np.pad(self._sequence, (0, more))
            self._position = np.pad(self._position, (0, more))
        self._sequence[rows], self._position[rows] = sequence, 0
        if self._back is not None:
            self._back.begin(rows)
        if self._hints is not None:
            self._hints.begin(rows)
        return rows

    def sequence_of(self, rows: IntArray) -> IntArray:
        """Index in the trace of what these rows run, ``[B]``."""
        return self._sequence[rows]

    def run(self, rows: IntArray, measured: CycleTimes | None = None) -> ReplayedCycle:
        """Runs one cycle of rows in use, ``[B]``, ascending: plans, looks up, reports.

        ``measured``: how long it took; None for as long as the cost model has it.
        """
        flat, controller = self._flat, self.controller
        sequence, position = self._sequence[rows], self._position[rows]
        room = flat.room(sequence, position)
        reach = flat.draftable_tokens[sequence]
        behind = None if self._back is None else self._back.behind_tokens(rows, position, reach)
        known = None if self._hints is None else self._hints.now(rows, sequence, position)
        plan = controller.decide(rows, room > 0, behind, known)
        source = np.maximum(plan.drafter, 0)
        drafted = np.minimum(plan.tau, room[np.arange(rows.size), source])
        shown: DraftSignals | None = None
        if self._signals is not None:
            recorded = self._signals.at(sequence, position, controller.max_draft_tokens, source)
            drafted, shown = draft_on(controller, plan, drafted, recorded)
        left = flat.num_tokens[sequence] - position
        run_length = flat.run_lengths[flat.start[sequence] + position, source]
        accepted = np.minimum(np.minimum(run_length, drafted), left)
        emitted = np.minimum(accepted + 1, left)
        runs: Runs | None = None
        if self._back is not None:
            known_positions = self._back.after_cycle(
                rows,
                position,
                reach,
                drafter=source,
                catches_up=plan.catch_up,
                drafted=drafted,
                accepted=accepted,
                emitted=emitted,
            )
            runs = runs_of(
                flat, sequence, position + emitted, known_positions, controller.max_draft_tokens
            )
        if self._hints is not None:
            self._hints.after_cycle(
                rows, sequence, position, drafter=source, drafted=drafted, emitted=emitted
            )
        elapsed = controller.observe(
            plan,
            drafted,
            accepted,
            emitted,
            draft_ms=None if measured is None else measured.draft_ms,
            verify_ms=None if measured is None else measured.verify_ms,
            signals=shown,
            runs=runs,
        )
        self._position[rows] = position + emitted
        return ReplayedCycle(
            rows,
            sequence,
            position,
            plan.tau,
            drafted,
            accepted,
            emitted,
            elapsed,
            np.where(drafted > 0, source, NO_DRAFTER),
            np.full_like(rows, plan.cycle.batch_size),
            emitted == left,
        )
