"""Replay: any policy on a trace, cycle for cycle what the live engine would have done.

Three things are kept apart: what happens (the trace), what it costs (the cost model) and who
decides (the controller, the same one that drives live decoding). Replay is exact because run
lengths do not depend on tau (docs/exactness.md).

Sequences that cannot influence each other run in parallel *lanes*, thousands to a numpy call;
otherwise they run ``concurrency`` at a time in order, as in the live engine.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.constraints import AnyConstraints, EndReason, Feasibility, Ledger
from adaptive_spec.controller import Controller
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.policy import Policy
from adaptive_spec.registry import make_policy
from adaptive_spec.simulations.measured_times import Clock, MeasuredTimes
from adaptive_spec.simulations.replayed_cycles import ReplayedCycle, ReplayedCycles
from adaptive_spec.simulations.signals import SignalSource, has_signals
from adaptive_spec.traces.flat import FlatTrace
from adaptive_spec.traces.records import TraceSet
from adaptive_spec.traces.windows import WindowedTrace

AnyTrace: TypeAlias = TraceSet | WindowedTrace | FlatTrace
"""What can be replayed."""

LANES = 8192


def flat_of(traces: AnyTrace, max_draft_tokens: int) -> FlatTrace:
    """The arrays that replay works on.

    Raises:
      ConfigError: the trace does not tell of drafts that long.
    """
    if isinstance(traces, FlatTrace):
        return traces
    traces.info.require_known(max_draft_tokens)
    return traces.flat()


class CycleLog(NamedTuple):
    """Every cycle of a replay, in the order it happened; ``C`` cycles.

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


def replay(
    policy: str | Policy[Any, Any],
    traces: AnyTrace,
    *,
    costs: CostModel,
    max_draft_tokens: int = 10,
    constraints: AnyConstraints = None,
    seed: int = 0,
    order: Sequence[int] | IntArray | None = None,
    concurrency: int | None = None,
    measured: Sequence[MeasuredTimes] | None = None,
    log_cycles: bool = False,
    on_finished: Callable[[int], None] | None = None,
) -> Replay:
    """Replays a policy on a trace.

    Args:
      policy: a policy or its spec.
      traces: a trace, or windows of one (a ``FlatTrace`` for policies that do not look inside the
        draft).
      costs: what cycles cost.
      max_draft_tokens: K, largest tau.
      constraints: what is promised; every sequence is of the first class.
      seed: the policy's randomness.
      order: sequences to run and their order, as indices; None for all, as recorded. It matters to
        policies and constraints that carry something from one sequence to the next.
      concurrency: sequences decoded together in one verifier pass. None: one at a time, and all at
        once in lanes (which gives the same) where no sequence can influence another.
      measured: times of the live run that is replayed, in the trace's order; None for the cost
        model's. The live run's ``concurrency`` must be given.
      log_cycles: keep every cycle.
      on_finished: called with the number of sequences finished since the last call.

    Raises:
      ConfigError: an empty or impossible order, concurrency below 1, measured times without a
        concurrency or of other sequences, or a policy that looks inside the draft on a trace
        without signals.
    """
    policy = make_policy(policy)
    flat = flat_of(traces, max_draft_tokens)
    pending = np.arange(flat.start.size) if order is None else np.asarray(order, np.int64)
    if pending.size == 0 or pending.min() < 0 or pending.max() >= flat.start.size:
        raise ConfigError(f"order: must name sequences 0..{flat.start.size - 1}, at least one")
    if np.unique(pending).size < pending.size:
        raise ConfigError("order: names a sequence twice; totals are kept per sequence")
    if concurrency is not None and concurrency < 1:
        raise ConfigError(f"concurrency = {concurrency}; it must be at least 1")
    if measured is not None and (concurrency is None or len(measured) != flat.start.size):
        raise ConfigError(
            f"measured: times of {len(measured)} sequences at concurrency {concurrency}; give "
            f"those of all {flat.start.size} of the trace, and the live run's concurrency"
        )
    signals = signals_for(policy, traces, max_draft_tokens)
    clock = None if measured is None else Clock(measured)

    def controller(lockstep: bool) -> Controller:
        return Controller(
            policy,
            costs=costs,
            max_draft_tokens=max_draft_tokens,
            constraints=constraints,
            seed=seed,
            lockstep=lockstep,
            drafters=flat.drafters,
        )

    driver = controller(lockstep=True)
    slots = min(concurrency or 1, pending.size)
    if concurrency is None and driver.sequences_are_independent:
        driver, slots = controller(lockstep=False), min(LANES, pending.size)
    return _run(driver, flat, signals, pending, slots, clock, log_cycles, on_finished)


def signals_for(
    policy: Policy[Any, Any], traces: AnyTrace, max_draft_tokens: int
) -> SignalSource | None:
    """The signals that a policy is shown in a replay.

    None where it does not look inside drafts, or can do without and the trace has none: it is then
    replayed as on a drafter that says nothing of its tokens.

    Raises:
      ConfigError: it needs signals of drafts that long, and the trace lacks them.
    """
    if not policy.looks_inside_draft:
        return None
    recorded = traces.traces if isinstance(traces, WindowedTrace) else traces
    if not policy.needs_signals and not (isinstance(recorded, TraceSet) and has_signals(recorded)):
        return None
    if not isinstance(recorded, TraceSet):
        raise ConfigError(f"{type(policy).__name__} looks inside the draft: pass a TraceSet")
    signals = SignalSource.of(recorded)
    if isinstance(traces, WindowedTrace):
        signals = signals.windows(traces.windows)
    if max_draft_tokens > signals.depth:
        raise ConfigError(
            f"trace: holds signals of drafts up to {signals.depth} tokens, and "
            f"{type(policy).__name__} looks inside drafts up to {max_draft_tokens}; lower "
            "max_draft_tokens, or record with more"
        )
    return signals


def _run(
    controller: Controller,
    flat: FlatTrace,
    signals: SignalSource | None,
    pending: IntArray,
    slots: int,
    clock: Clock | None,
    log_cycles: bool,
    on_finished: Callable[[int], None] | None,
) -> Replay:
    """Fills free slots, runs cycles, releases: until none is left."""
    totals = np.zeros((4, flat.start.size), np.int64)  # tokens, cycles, drafted, accepted
    time_ms = np.zeros(flat.start.size)
    end_reason = np.zeros(flat.start.size, np.int64)
    shares = DrafterShares.none(flat.drafters, flat.start.size)
    engine_ms = 0.0
    cycles = ReplayedCycles(controller, flat, signals)
    rows = np.zeros(0, np.int64)
    log: list[ReplayedCycle] = []
    taken = 0

    def leave(rows: IntArray, done: BoolArray) -> IntArray:
        controller.release(rows[done])
        if on_finished is not None:
            on_finished(int(done.sum()))
        return rows[~done]

    while taken < pending.size or rows.size:
        if taken < pending.size and rows.size < slots:
            entering = pending[taken : taken + slots - rows.size]
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
        lockstep = controller.lockstep
        engine_ms += float(cycle.cycle_ms.max() if lockstep else cycle.cycle_ms.sum())
        if log_cycles:
            log.append(cycle)
        if cycle.at_end.any():
            rows = leave(rows, cycle.at_end)
    tokens, num_cycles, num_drafted, num_accepted = totals
    return Replay(
        tokens,
        num_cycles,
        num_drafted,
        num_accepted,
        time_ms,
        engine_ms,
        end_reason,
        controller.ledgers,
        controller.feasibility,
        shares,
        CycleLog.of(log) if log_cycles else None,
    )
