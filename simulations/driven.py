"""Replay by the controller that drives live decoding: all that there is, at numpy's pace."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec.constraints import EndReason
from adaptive_spec.controller import Controller
from adaptive_spec.simulations.measured_times import Clock
from adaptive_spec.simulations.replayed_cycles import ReplayedCycle, ReplayedCycles
from adaptive_spec.simulations.results import CycleLog, DrafterShares, Replay
from adaptive_spec.simulations.signals import SignalSource
from adaptive_spec.traces.flat import FlatTrace


class Part(NamedTuple):
    """What is replayed in one go.

    Attributes:
      flat: the trace.
      order: sequences to run and their order, ``[n]`` by their index, at least one.
      signals: of the trace, as ``simulator.signals_for`` gives them for the policy.
      clock: times of the live run that is replayed; None for the cost model's.
    """

    flat: FlatTrace
    order: IntArray
    signals: SignalSource | None = None
    clock: Clock | None = None


class DrivenReplay:
    """Fills free slots, runs cycles, releases: until no sequence of a trace is left.

    What policy and promises carry from one sequence to the next, they carry from trace to trace.
    """

    def __init__(self, controller: Controller, slots: int) -> None:
        """Sets up; so many sequences run at a time, in lockstep or not as the controller has it."""
        self._controller = controller
        self._slots = slots

    def run(
        self,
        part: Part,
        *,
        log_cycles: bool = False,
        on_finished: Callable[[int], None] | None = None,
    ) -> Replay:
        """Replays sequences; the rest is as in ``simulator.replay``."""
        flat, order, signals, clock = part
        controller = self._controller
        totals = np.zeros((4, flat.start.size), np.int64)  # tokens, cycles, drafted, accepted
        time_ms = np.zeros(flat.start.size)
        end_reason = np.zeros(flat.start.size, np.int64)
        shares = DrafterShares.none(flat.drafters, flat.start.size)
        shared_ms = 0.0
        cycles = ReplayedCycles(controller, flat, signals)
        rows = np.zeros(0, np.int64)
        log: list[ReplayedCycle] = []
        taken = 0

        def leave(rows: IntArray, done: BoolArray) -> IntArray:
            controller.release(rows[done])
            if on_finished is not None:
                on_finished(int(done.sum()))
            return rows[~done]

        while taken < order.size or rows.size:
            if taken < order.size and rows.size < self._slots:
                entering = order[taken : taken + self._slots - rows.size]
                taken += entering.size
                # As the live engine told them apart, so that a trial has the same requests.
                cycles.admit(entering, request_ids=flat.ids[entering].tolist())
                rows = controller.running
                if clock is not None:
                    controller.elapse(rows, clock.prefill_ms(entering))
            ended = controller.ended(rows)
            if ended.any():
                over = ended != EndReason.NONE
                end_reason[cycles.sequence_of(rows[over])] = ended[over]
                rows = leave(rows, over)
                continue
            times = None if clock is None else clock.next_cycle(cycles.sequence_of(rows))
            cycle = cycles.run(rows, times)
            sequence, drafted = cycle.sequence, cycle.num_draft_tokens
            accepted, emitted = cycle.num_accepted_tokens, cycle.num_emitted_tokens
            totals[:, sequence] += (emitted, np.ones_like(emitted), drafted, accepted)
            shares.add(sequence, cycle.drafter, drafted, accepted)
            time_ms[sequence] += cycle.cycle_ms
            shared_ms += float(cycle.cycle_ms.max())
            if log_cycles:
                log.append(cycle)
            if cycle.at_end.any():
                rows = leave(rows, cycle.at_end)
        alone = self._slots == 1 or not controller.lockstep
        cycle_log = CycleLog.of(log) if log_cycles else None
        if cycle_log is not None and not controller.lockstep:
            cycle_log = cycle_log.by_sequence(order)
        tokens, num_cycles, num_drafted, num_accepted = totals
        return Replay(
            tokens,
            num_cycles,
            num_drafted,
            num_accepted,
            time_ms,
            float(time_ms.sum()) if alone else shared_ms,
            end_reason,
            controller.ledgers,
            controller.feasibility,
            shares,
            cycle_log,
        )
