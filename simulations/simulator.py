"""Replay: any policy on a trace, cycle for cycle what the live engine would have done.

Three things are kept apart: what happens (the trace), what it costs (the cost model) and who
decides (the controller, the same one that drives live decoding). Replay is exact because run
lengths do not depend on tau (docs/exactness.md).

Sequences that cannot influence each other run in parallel *lanes*, thousands to a numpy call;
otherwise they run ``concurrency`` at a time in order, as in the live engine.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.budget import Ledger, PassBudget
from adaptive_spec.controller import Controller
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.foreseen import draft_on
from adaptive_spec.policy import NO_DRAFTER, DraftSignals, Policy
from adaptive_spec.registry import make_policy
from adaptive_spec.runs import KnownPositions, Runs
from adaptive_spec.simulations.hints import ReplayedHints
from adaptive_spec.simulations.looking_back import runs_of
from adaptive_spec.simulations.signals import SignalSource, has_signals
from adaptive_spec.traces.flat import FlatTrace
from adaptive_spec.traces.records import TraceSet

LANES = 8192


class CycleLog(NamedTuple):
    """Every cycle of a replay, in the order it happened; ``C`` cycles.

    Attributes:
      sequence: ``[C]`` index of the sequence in the trace.
      position: ``[C]`` output position where the cycle began.
      tau, num_draft_tokens, num_accepted_tokens, num_emitted_tokens: ``[C]``.
      cycle_ms: ``[C]`` time by the cost model.
      drafter: ``[C]`` who drafted, as index into the trace's drafters; ``NO_DRAFTER`` for nobody.
    """

    sequence: IntArray
    position: IntArray
    tau: IntArray
    num_draft_tokens: IntArray
    num_accepted_tokens: IntArray
    num_emitted_tokens: IntArray
    cycle_ms: FloatArray
    drafter: IntArray


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
      ended_by_budget: ``[N]`` whether the per-request maximum of passes cut it short.
      ledger: the pass ledger after the last request.
      shares: who drafted.
      log: every cycle, where asked for.
    """

    tokens: IntArray
    cycles: IntArray
    num_draft_tokens: IntArray
    num_accepted_tokens: IntArray
    time_ms: FloatArray
    engine_ms: float
    ended_by_budget: BoolArray
    ledger: Ledger
    shares: DrafterShares
    log: CycleLog | None = None


def replay(
    policy: str | Policy[Any, Any],
    traces: TraceSet | FlatTrace,
    *,
    costs: CostModel,
    max_draft_tokens: int = 10,
    budget: PassBudget | None = None,
    seed: int = 0,
    order: Sequence[int] | IntArray | None = None,
    concurrency: int | None = None,
    log_cycles: bool = False,
    on_finished: Callable[[int], None] | None = None,
) -> Replay:
    """Replays a policy on a trace.

    Args:
      policy: a policy or its spec.
      traces: a trace (a ``FlatTrace`` for policies that do not look inside the draft).
      costs: what cycles cost.
      max_draft_tokens: K, largest tau.
      budget: pass budget.
      seed: the policy's randomness.
      order: sequences to run and their order, as indices; None for all, as recorded. It matters to
        policies and budgets that carry something from one sequence to the next.
      concurrency: sequences decoded together in one verifier pass. None: one at a time, and all at
        once in lanes (which gives the same) where no sequence can influence another.
      log_cycles: keep every cycle.
      on_finished: called with the number of sequences finished since the last call.

    Raises:
      ConfigError: an empty or impossible order, concurrency below 1, or a policy that looks inside
        the draft on a trace without signals.
    """
    policy = make_policy(policy)
    flat = traces.flat() if isinstance(traces, TraceSet) else traces
    pending = np.arange(flat.start.size) if order is None else np.asarray(order, np.int64)
    if pending.size == 0 or pending.min() < 0 or pending.max() >= flat.start.size:
        raise ConfigError(f"order: must name sequences 0..{flat.start.size - 1}, at least one")
    if np.unique(pending).size < pending.size:
        raise ConfigError("order: names a sequence twice; totals are kept per sequence")
    if concurrency is not None and concurrency < 1:
        raise ConfigError(f"concurrency = {concurrency}; it must be at least 1")
    signals = signals_for(policy, traces, max_draft_tokens)

    def controller(lockstep: bool) -> Controller:
        return Controller(
            policy,
            costs=costs,
            max_draft_tokens=max_draft_tokens,
            budget=budget,
            seed=seed,
            lockstep=lockstep,
            drafters=flat.drafters,
        )

    driver = controller(lockstep=True)
    slots = min(concurrency or 1, pending.size)
    if concurrency is None and driver.sequences_are_independent:
        driver, slots = controller(lockstep=False), min(LANES, pending.size)
    return _run(driver, flat, signals, pending, slots, log_cycles, on_finished)


def signals_for(
    policy: Policy[Any, Any], traces: TraceSet | FlatTrace, max_draft_tokens: int
) -> SignalSource | None:
    """The signals that a policy is shown in a replay.

    None where it does not look inside drafts, or can do without and the trace has none: it is then
    replayed as on a drafter that says nothing of its tokens.

    Raises:
      ConfigError: it needs signals of drafts that long, and the trace lacks them.
    """
    if not policy.looks_inside_draft:
        return None
    if not policy.needs_signals and not (isinstance(traces, TraceSet) and has_signals(traces)):
        return None
    if not isinstance(traces, TraceSet):
        raise ConfigError(f"{type(policy).__name__} looks inside the draft: pass a TraceSet")
    signals = SignalSource.of(traces)
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
    log_cycles: bool,
    on_finished: Callable[[int], None] | None,
) -> Replay:
    """Fills free slots, plans, looks up what happens, reports, releases: until none is left."""
    totals = np.zeros((4, flat.start.size), np.int64)  # tokens, cycles, drafted, accepted
    time_ms = np.zeros(flat.start.size)
    cut_short = np.zeros(flat.start.size, np.bool_)
    shares = DrafterShares.none(flat.drafters, flat.start.size)
    engine_ms = 0.0
    lanes = not controller.lockstep
    slot_sequence = np.full(slots, -1, np.int64)
    slot_position = np.zeros(slots, np.int64)
    back: KnownPositions | None = None
    if controller.policy.looks_back:
        back = KnownPositions(flat.token_by_token)
    hints: ReplayedHints | None = None
    if controller.policy.takes_hints:
        hints = ReplayedHints(flat)
    rows = np.zeros(0, np.int64)
    log: list[tuple[npt.NDArray[Any], ...]] = []
    taken = 0
    while taken < pending.size or rows.size:
        free = np.flatnonzero(slot_sequence < 0)[: pending.size - taken]
        if free.size:
            entering = pending[taken : taken + free.size]
            taken += free.size
            controller.admit(
                flat.prompt_tokens[entering],
                flat.limit_tokens[entering],
                flat.draftable_tokens[entering].max(axis=1),
            )
            slot_sequence[free], slot_position[free] = entering, 0
            if back is not None:
                back.begin(free)
            if hints is not None:
                hints.begin(free)
        if free.size or rows.size != slots:
            rows = np.flatnonzero(slot_sequence >= 0)
        sequence, position = slot_sequence[rows], slot_position[rows]

        room = flat.room(sequence, position)
        reach = flat.draftable_tokens[sequence]
        behind = None if back is None else back.behind_tokens(rows, position, reach)
        shown_before = None if hints is None else hints.now(rows, sequence, position)
        plan = controller.decide(rows, room > 0, behind, shown_before)
        source = np.maximum(plan.drafter, 0)
        drafted = np.minimum(plan.tau, room[np.arange(rows.size), source])
        shown: DraftSignals | None = None
        if signals is not None:
            recorded = signals.at(sequence, position, controller.max_draft_tokens, source)
            drafted, shown = draft_on(controller, plan, drafted, recorded)
        accepted = np.minimum(flat.run_lengths[flat.start[sequence] + position, source], drafted)
        left = flat.num_tokens[sequence] - position
        emitted = np.minimum(accepted + 1, left)
        runs: Runs | None = None
        if back is not None:
            known = back.after_cycle(
                rows,
                position,
                reach,
                drafter=source,
                catches_up=plan.catch_up,
                drafted=drafted,
                accepted=np.minimum(accepted, emitted),
                emitted=emitted,
            )
            runs = runs_of(flat, sequence, position + emitted, known, controller.max_draft_tokens)
        if hints is not None:
            hints.after_cycle(
                rows, sequence, position, drafter=source, drafted=drafted, emitted=emitted
            )
        elapsed = controller.observe(plan, drafted, accepted, emitted, signals=shown, runs=runs)

        totals[:, sequence] += (emitted, np.ones_like(emitted), drafted, accepted)
        shares.add(sequence, source, drafted, accepted)
        time_ms[sequence] += elapsed
        engine_ms += float(elapsed.sum()) if lanes else float(elapsed.max())
        if log_cycles:
            drafter = np.where(drafted > 0, source, NO_DRAFTER)
            log.append((sequence, position, plan.tau, drafted, accepted, emitted, elapsed, drafter))
        slot_position[rows] = position + emitted
        out_of_passes = controller.out_of_passes(rows)
        done = (emitted == left) | out_of_passes
        if done.any():
            cut_short[sequence[done & (emitted < left)]] = True
            controller.release(rows[done])
            slot_sequence[rows[done]] = -1
            rows = rows[~done]
            if on_finished is not None:
                on_finished(int(done.sum()))
    kept = None
    if log_cycles:
        kept = CycleLog(*(np.concatenate(column) for column in zip(*log, strict=True)))
    tokens, cycles, num_drafted, num_accepted = totals
    return Replay(
        tokens,
        cycles,
        num_drafted,
        num_accepted,
        time_ms,
        engine_ms,
        cut_short,
        controller.ledger,
        shares,
        kept,
    )
