"""The one driver of a policy: live decoding, the simulator and serving adapters all use it.

The controller owns the rows (one per running sequence), the policy and its state, the costs and
the constraints. An engine admits sequences, asks for a ``Plan`` for the rows that run now, carries
it out, reports what came of it, and releases rows that are done::

    rows = controller.admit(prompt_tokens, max_new_tokens)
    ended = controller.ended(rows)                        # by what was promised: release them
    plan = controller.decide(rows)                        # plan.tau, one per row
    controller.observe(plan, drafted, accepted, emitted)  # now, or some cycles later
    controller.release(rows[done])

Outcomes may be observed after later decisions; those of rows released meanwhile are dropped.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec._rows import UNLIMITED_PASSES, UNLIMITED_TOKENS, Counters, RowTable
from adaptive_spec.answers import checked_decision, require_state, who_catches_up
from adaptive_spec.constraints import (
    AnyConstraints,
    ByClass,
    EndReason,
    Feasibility,
    Keeper,
    Ledger,
    Payment,
    asked_tau,
)
from adaptive_spec.costs import CostModel
from adaptive_spec.cycle_times import cycle_times, times
from adaptive_spec.errors import ConfigError
from adaptive_spec.hints import Hints
from adaptive_spec.observers import Admitted, Observer, Observers
from adaptive_spec.policy import (
    MAX_DRAFTERS,
    MAX_TAU,
    NO_DRAFTER,
    Cycle,
    Decision,
    DraftSignals,
    Outcome,
    Policy,
    State,
)
from adaptive_spec.randomness import request_key
from adaptive_spec.runs import Runs
from adaptive_spec.state import is_empty, put_rows, take_outcome, take_rows

__all__ = ["UNLIMITED_PASSES", "UNLIMITED_TOKENS", "Controller", "Plan"]


UNNAMED = ("drafter",)
"""What a controller calls its only drafter until an engine names it."""


class Plan(NamedTuple):
    """A decision to be carried out: pass it back to ``observe``.

    Attributes:
      rows: ``[B]`` controller rows, in the order of every array here.
      tau: ``[B]`` tokens to draft and verify.
      drafter: ``[B]`` who is to draft them; ``NO_DRAFTER`` where none would propose anything.
      catch_up: ``[B, D]`` drafters that do not draft, but are to read what was verified.
      cycle: what the policy was shown.
      decision: what it decided, before the controller's own limits.
      paid: ``[B]`` credit of a hard budget that its passes took.
    """

    rows: IntArray
    tau: IntArray
    drafter: IntArray
    catch_up: BoolArray
    cycle: Cycle
    decision: Decision
    paid: Payment


class Controller:
    """Drives one policy over many sequences.

    Attributes:
      policy: the policy driven; ``state``: its state, for the rows allocated so far.
      drafters: names of the drafters, in their default order.
    """

    def __init__(
        self,
        policy: Policy[Any, Any],
        *,
        costs: CostModel,
        max_draft_tokens: int = 10,
        constraints: AnyConstraints = None,
        seed: int = 0,
        lockstep: bool = True,
        uniform_widths: tuple[int, ...] | None = None,
        drafters: tuple[str, ...] = UNNAMED,
    ) -> None:
        """Sets up a controller with no rows.

        Args:
          policy: who decides.
          costs: prices shown to the policy, and the times of cycles reported without times.
          max_draft_tokens: K, largest tau, 0 to 1024.
          constraints: what is promised, of all requests or by class; None for nothing.
          seed: all of the policy's randomness derives from it.
          lockstep: rows decided together share one verifier pass, and its time; otherwise each row
            is an engine of its own with a batch of one (the simulator's lanes).
          uniform_widths: for engines that run one width per step: the widths allowed (0 among
            them); every row then gets the least allowed width that is not below the mean tau
            decided, nor below what a hard budget asks of any row.
          drafters: names of the drafters that the policy may choose between, the one to be asked
            first coming first; costs may have a curve for each.

        Raises:
          ConfigError: a value out of range.
        """
        if not 0 <= max_draft_tokens <= MAX_TAU:
            raise ConfigError(f"max_draft_tokens = {max_draft_tokens}; allowed are 0 to {MAX_TAU}")
        if uniform_widths is not None and (
            0 not in uniform_widths or not all(0 <= w <= max_draft_tokens for w in uniform_widths)
        ):
            raise ConfigError(
                f"uniform_widths = {uniform_widths}; they must include 0 and lie within "
                f"0..{max_draft_tokens} (max_draft_tokens)"
            )
        if not 1 <= len(set(drafters)) == len(drafters) <= MAX_DRAFTERS:
            raise ConfigError(
                f"drafters = {drafters}; give 1 to {MAX_DRAFTERS} names, each of them once"
            )
        self.policy = policy
        self.costs = costs
        self.drafters = drafters
        self.max_draft_tokens = max_draft_tokens
        self._keeper = Keeper(
            ByClass.of(constraints), max_draft_tokens, heeds_prices=policy.heeds_prices
        )
        self._seed = seed
        self.lockstep = lockstep
        self._widths = None if uniform_widths is None else np.unique(np.asarray(uniform_widths))
        self.state: State[Any, Any] = self._begin(0)
        self._rows = RowTable(max_draft_tokens)
        self._measured = False
        self._observers = Observers()

    @property
    def capacity(self) -> int:
        """Rows allocated, running or free."""
        return self._rows.capacity

    @property
    def running(self) -> IntArray:
        """Rows in use, ascending."""
        return self._rows.running

    @property
    def sequences_are_independent(self) -> bool:
        """Whether no sequence can influence another: nothing shared in state or constraints."""
        return is_empty(self.state.shared) and not self._keeper.shared

    @property
    def ledger(self) -> Ledger:
        """What finished requests took, of all classes."""
        return self._keeper.ledger

    @property
    def ledgers(self) -> dict[str, Ledger]:
        """What finished requests took, by class."""
        accounts = zip(self.constraints.names, self._keeper.accounts, strict=True)
        return {name: account.ledger for name, account in accounts}

    @property
    def feasibility(self) -> dict[str, Feasibility]:
        """Whether what was promised can be kept, by class."""
        accounts = zip(self.constraints.names, self._keeper.accounts, strict=True)
        unit = "ms" if self._measured else self.costs.time_unit
        return {name: account.feasibility._replace(time_unit=unit) for name, account in accounts}

    @property
    def credit_passes(self) -> dict[str, float]:
        """Passes in the pool of a hard budget, which no request has as its own, by class.

        Infinite where no hard average was promised yet.
        """
        accounts = zip(self.constraints.names, self._keeper.accounts, strict=True)
        return {name: account.pool for name, account in accounts}

    @property
    def constraints(self) -> ByClass:
        """What is promised, by class."""
        return self._keeper.by_class

    def change_constraints(self, constraints: AnyConstraints) -> None:
        """Promises something else from now on; the books go on.

        A hard average gives running requests, for their next passes, what it would give new ones,
        less what hard averages gave them before; it takes nothing away.

        Raises:
          ConfigError: a class of requests that there is is missing.
        """
        self._keeper.change(ByClass.of(constraints))
        rows = self.running
        now = self._rows.at(rows)
        promised = self._keeper.promised_passes(now.request_class)
        given = np.maximum(now.given_passes, promised)
        self._rows.change(
            rows, given_passes=given, own_passes=now.own_passes + (given - now.given_passes)
        )

    def name_drafters(self, names: tuple[str, ...]) -> None:
        """Takes over the names by which an engine knows its drafters, for costs go by them.

        Raises:
          ConfigError: the controller was made for others.
        """
        if self.drafters not in (names, UNNAMED) or len(names) != len(self.drafters):
            raise ConfigError(
                f"the controller was made for the drafters {', '.join(self.drafters)}, the engine "
                f"has {', '.join(names)}; create it with drafters=drafter.names"
            )
        self.drafters = names

    def watch(self, observer: Observer) -> None:
        """Tells an observer all that happens from now on."""
        self._observers.add(observer)

    def passes(self, rows: IntArray) -> IntArray:
        """Verifier passes decided for these rows so far, ``[B]``."""
        return self._rows.at(rows).cycle_index

    def admit(
        self,
        prompt_tokens: IntArray,
        max_new_tokens: IntArray,
        draftable_tokens: IntArray | None = None,
        *,
        request_class: IntArray | None = None,
        waited_ms: FloatArray | None = None,
        max_passes: IntArray | None = None,
        request_ids: Sequence[str] | None = None,
    ) -> IntArray:
        """Takes sequences in.

        Args:
          prompt_tokens: ``[n]`` lengths, >= 1.
          max_new_tokens: ``[n]`` most tokens to emit, >= 1; ``UNLIMITED_TOKENS`` where unknown.
          draftable_tokens: ``[n]`` output positions that the drafter's context can reach; None for
            all.
          request_class: ``[n]`` number of each one's class in ``constraints``; None for the first.
          waited_ms: ``[n]`` time since they arrived, prefill included, >= 0; None for none. What
            is not a time counts as none.
          max_passes: ``[n]`` most passes that each may take by its own wish, >= 1, besides what is
            promised of its class, whose ``when_spent`` says what becomes of it then;
            ``UNLIMITED_PASSES`` for any number, as is None.
          request_ids: what the engine calls them, for ``Cycle.request_key`` and for observers; None
            where it does not say.

        Returns:
          The rows given to them, ``[n]``: the lowest that are free.

        Raises:
          ConfigError: a length or a number of passes below 1, a class that there is not, or not
            one id for each.
        """
        prompt = np.array(prompt_tokens, np.int64)
        limit = np.array(max_new_tokens, np.int64)
        if prompt.size and (prompt.min() < 1 or limit.min() < 1):
            raise ConfigError(
                "admit: prompt_tokens and max_new_tokens must be at least 1, got "
                f"{prompt.min()} and {limit.min()}"
            )
        most_passes = np.full(prompt.size, UNLIMITED_PASSES, np.int64)
        if max_passes is not None:
            most_passes[:] = max_passes
        if prompt.size and most_passes.min() < 1:
            raise ConfigError(
                f"admit: max_passes must be at least 1, got {most_passes.min()}; leave it out for "
                "any number"
            )
        if request_ids is not None and len(request_ids) != prompt.size:
            raise ConfigError(
                f"admit: {len(request_ids)} request_ids for {prompt.size} requests; give one for "
                "each, or None"
            )
        reach = limit if draftable_tokens is None else np.array(draftable_tokens, np.int64)
        kept = np.arange(self.capacity)
        if request_class is None:
            request_class = np.zeros(prompt.size, np.int64)
        own_passes = self._keeper.admit(request_class)
        waited = times(np.zeros(prompt.size) if waited_ms is None else waited_ms, 0.0)
        rows = self._rows.add(
            prompt,
            limit,
            np.minimum(reach, limit),
            request_class,
            own_passes,
            waited,
            most_passes,
            None
            if request_ids is None
            else np.array([request_key(name) for name in request_ids], np.int64),
        )
        # All rows begin alike, one by one (live) or many at once (in replay).
        fresh = self._begin(1).rows
        state = self.state.rows
        if self.capacity > kept.size:
            grown = take_rows(fresh, np.zeros(self.capacity, np.int64))
            state = put_rows(grown, kept, state)
        fresh = take_rows(fresh, np.zeros(rows.size, np.int64))
        self.state = State(put_rows(state, rows, fresh), self.state.shared)
        ids = self._rows.at(rows).sequence_id
        requests = Admitted(rows, ids, request_class, prompt, request_ids)
        self._observers.tell(lambda observer: observer.admitted(requests))
        return rows

    def decide(
        self,
        rows: IntArray,
        available: BoolArray | None = None,
        behind_tokens: IntArray | None = None,
        hints: Hints | None = None,
    ) -> Plan:
        """Plans one cycle of these rows; each costs one verifier pass.

        Args:
          rows: ``[B]`` rows in use, ascending.
          available: ``[B, D]`` which of the ``D`` drafters would propose something for a row now;
            None where all would, or it is not known beforehand.
          behind_tokens: ``[B, D]`` verified tokens that a drafter has not read, as in ``Cycle``;
            None for none.
          hints: for a policy that takes them; None where nothing is known.

        Raises:
          ConfigError: rows that are not in use, or not in ascending order, or that have ended
            (``ended``); ``available`` or ``behind_tokens`` of another shape, or ``hints``.
          PolicyContractError: the policy's answer is not what the interface asks for.
        """
        shape = rows.size, len(self.drafters)
        if available is None:
            available = np.ones(shape, np.bool_)
        if behind_tokens is None:
            behind_tokens = np.zeros(shape, np.int64)
        for name, given in (("available", available), ("behind_tokens", behind_tokens)):
            _require_shape(name, given, shape)
        hints = self._hints(hints, shape)
        now = self._rows.at(rows)
        if (now.sequence_id < 0).any() or (rows[1:] <= rows[:-1]).any():
            raise ConfigError(f"rows {rows.tolist()[:8]}: must be in use, and in ascending order")
        # Deadlines hang on the batch that is decided on: what is late by now gets a plain pass.
        over = self._end_reasons(now) == EndReason.BUDGET
        if over.any():
            raise ConfigError(
                f"rows {rows[over].tolist()[:8]}: have no credit for another pass; "
                "before every decision, release what ended(rows) names and leave out what "
                "may_run(rows) refuses"
            )
        cycle = self._cycle(now, available, behind_tokens, hints)
        began = time.perf_counter()
        decision = self.policy.decide(self._state_of(rows), cycle)
        self._observers.thought("decide", began)
        tau, drafter = checked_decision(self.policy, decision, cycle)
        if self._widths is not None and tau.size:
            wanted = max(float(tau.mean()), float(cycle.min_tau.max()))
            index = int(np.searchsorted(self._widths, wanted - 1e-9))
            width = self._widths[min(index, self._widths.size - 1)]
            tau = np.minimum(width, cycle.max_tau)
        paid = self._keeper.take(now)
        self._rows.change(
            rows, cycle_index=now.cycle_index + 1, own_passes=now.own_passes - paid.own
        )
        catch_up = who_catches_up(
            self.policy, decision, cycle, np.where(tau > 0, drafter, NO_DRAFTER)
        )
        self._observers.tell(lambda observer: observer.decided(rows, cycle, tau, drafter))
        return Plan(rows, tau, drafter, catch_up, cycle, decision, paid)

    def keep_drafting(self, plan: Plan, depth: int, signals: DraftSignals) -> BoolArray:
        """Which of the plan's rows draft on after ``depth`` tokens, ``[B]``.

        No row stops short of the least tau that a hard budget asks for.
        """
        state = self._state_of(plan.rows)
        began = time.perf_counter()
        on = self.policy.keep_drafting(state, plan.cycle, plan.decision, depth, signals)
        self._observers.thought("keep_drafting", began)
        return (on | (plan.cycle.min_tau > depth)) & (plan.tau > depth)

    def observe(
        self,
        plan: Plan,
        num_draft_tokens: IntArray,
        num_accepted_tokens: IntArray,
        num_emitted_tokens: IntArray,
        *,
        draft_ms: float | FloatArray | None = None,
        verify_ms: float | FloatArray | None = None,
        signals: DraftSignals | None = None,
        runs: Runs | None = None,
        acceptance_probability: FloatArray | None = None,
    ) -> FloatArray:
        """Reports what came of a plan; arrays ``[B]`` in the plan's order.

        Args:
          plan: as returned by ``decide``.
          num_draft_tokens: drafted and verified, ``<= plan.tau``.
          num_accepted_tokens: of these, emitted.
          num_emitted_tokens: emitted in all.
          draft_ms: measured time of drafting; None to take the cost model's, which is also taken
            for what is not a time (negative, not finite or absurdly long, where a clock jumped).
          verify_ms: measured time of the pass; likewise.
          signals: the draft's signals ``[B, K]``, for policies that look inside it.
          runs: what is known of drafts from recent positions, for policies that look back.
          acceptance_probability: ``[B, K]``, as in ``Outcome``.

        Returns:
          The time of the cycle as the policy was told it, ``[B]``.

        Raises:
          ConfigError: more drafted than planned, or more accepted than drafted.
        """
        cycle = plan.cycle
        if (num_draft_tokens > plan.tau).any() or (num_accepted_tokens > num_draft_tokens).any():
            raise ConfigError(
                "observe: num_accepted_tokens <= num_draft_tokens <= tau must hold, got "
                f"{num_accepted_tokens.tolist()[:8]}, {num_draft_tokens.tolist()[:8]} and "
                f"{plan.tau.tolist()[:8]}"
            )
        self._measured |= draft_ms is not None or verify_ms is not None
        drafter = np.where(num_draft_tokens > 0, plan.drafter, NO_DRAFTER)
        spent_ms = cycle_times(
            cycle,
            drafter,
            num_draft_tokens,
            plan.catch_up,
            lockstep=self.lockstep,
            draft_ms=draft_ms,
            verify_ms=verify_ms,
        )
        outcome = Outcome(
            cycle,
            plan.decision,
            plan.tau,
            drafter,
            num_draft_tokens,
            num_accepted_tokens,
            num_emitted_tokens,
            *spent_ms,
            signals,
            runs,
            acceptance_probability,
        )
        elapsed = outcome.cycle_ms
        rows = plan.rows
        current = self.is_current(plan)
        if not current.all():
            keep = np.flatnonzero(current)
            if keep.size == 0:
                return elapsed
            rows, outcome = rows[keep], take_outcome(outcome, keep)
        now = self._rows.at(rows)
        asked = asked_tau(outcome, self.policy.looks_inside_draft)
        every_tau = np.arange(self.max_draft_tokens + 1)
        self._rows.change(
            rows,
            observed_cycles=now.observed_cycles + 1,
            emitted_tokens=now.emitted_tokens + outcome.num_emitted_tokens,
            elapsed_ms=now.elapsed_ms + outcome.cycle_ms,
            cycles_by_tau=now.cycles_by_tau + np.equal.outer(asked, every_tau),
            cycles_by_accepted=now.cycles_by_accepted
            + np.equal.outer(outcome.num_accepted_tokens, every_tau),
        )
        if self._keeper.shared:
            self._keeper.see(now.request_class, outcome, asked)
        began = time.perf_counter()
        updated = self.policy.update(self._state_of(rows), outcome)
        self._observers.thought("update", began)
        require_state(self.policy, "update", updated)
        if rows.size < self.capacity:
            updated = State(put_rows(self.state.rows, rows, updated.rows), updated.shared)
        self.state = updated
        self._observers.tell(lambda observer: observer.observed(rows, outcome))
        return elapsed

    def withdraw(self, plan: Plan) -> None:
        """Takes back a plan that could not be carried out: its passes do not count."""
        current = self.is_current(plan)
        rows, paid = plan.rows[current], plan.paid.take(current)
        now = self._rows.at(rows)
        self._keeper.refund(now.request_class, paid)
        self._rows.change(
            rows, cycle_index=now.cycle_index - 1, own_passes=now.own_passes + paid.own
        )

    def is_current(self, plan: Plan) -> BoolArray:
        """Which of the plan's rows still hold the sequence it was made for, ``[B]``."""
        current: BoolArray = self._rows.at(plan.rows).sequence_id == plan.cycle.sequence_id
        return current

    def ended(self, rows: IntArray) -> IntArray:
        """``EndReason`` of rows that what was promised ends, the last outcome seen, ``[B]``.

        An engine asks before every decision, of all rows that it is going to decide on together,
        and releases those that are not ``EndReason.NONE``. A row may end before its first cycle.
        """
        now = self._rows.at(rows)
        reason = self._end_reasons(now)
        return np.where(now.observed_cycles == now.cycle_index, reason, EndReason.NONE)

    def may_run(self, rows: IntArray) -> BoolArray:
        """Which of these rows may be decided on again, ``[B]``, whatever outcomes are to come.

        For engines that decide before outcomes are in; those that wait for them ask ``ended``.
        """
        allowed: BoolArray = self._end_reasons(self._rows.at(rows)) == EndReason.NONE
        return allowed

    def elapse(self, rows: IntArray, waited_ms: float | FloatArray) -> None:
        """Time, ``[B]``, that passed for these rows besides their cycles, where it is a time."""
        now = self._rows.at(rows)
        waited = times(np.broadcast_to(waited_ms, rows.shape), 0.0)
        self._rows.change(rows, elapsed_ms=now.elapsed_ms + waited)

    def release(self, rows: IntArray, *, finished: bool = True) -> None:
        """Gives rows back.

        Args:
          rows: ``[n]`` rows in use.
          finished: the requests ended and count towards what was promised; False for requests that
            were cancelled.
        """
        now = self._rows.at(rows)
        if (now.sequence_id < 0).any():
            raise ConfigError(f"release: rows {rows.tolist()[:8]} are not all in use")
        self._keeper.leave(now, finished=finished)
        self._rows.free(rows)
        self._observers.tell(lambda observer: observer.released(rows, now, finished))

    def _cycle(
        self, now: Counters, available: BoolArray, behind: IntArray, hints: Hints | None
    ) -> Cycle:
        remaining = np.maximum(now.limit_tokens - now.emitted_tokens, 1)
        room = np.minimum(remaining - 1, now.draftable_tokens - now.emitted_tokens)
        max_tau = np.minimum(np.maximum(room, 0), self.max_draft_tokens)
        cycle = Cycle(
            sequence_id=now.sequence_id,
            cycle_index=now.cycle_index,
            prompt_tokens=now.prompt_tokens,
            emitted_tokens=now.emitted_tokens,
            remaining_tokens=remaining,
            passes=now.cycle_index,
            elapsed_ms=now.elapsed_ms,
            min_tau=np.zeros_like(max_tau),
            max_tau=max_tau,
            max_draft_tokens=self.max_draft_tokens,
            batch_size=remaining.size if self.lockstep else 1,
            pass_price_ms=np.zeros(max_tau.shape),
            costs=self.costs,
            drafters=self.drafters,
            available=available,
            behind_tokens=behind,
            request_key=now.request_key,
            hints=hints,
        )
        terms = self._keeper.terms(now, remaining, max_tau, cycle.times_ms)
        if terms is None:
            return cycle
        return cycle._replace(
            min_tau=np.minimum(terms.min_tau, terms.max_tau),
            max_tau=terms.max_tau,
            pass_price_ms=terms.pass_price * self.costs.plain_ms,
        )

    def _end_reasons(self, now: Counters) -> IntArray:
        """``EndReason`` of rows, whatever outcomes are still to come, ``[B]``."""

        def plain_ms() -> FloatArray:
            context = now.prompt_tokens + now.emitted_tokens
            batch_size = context.size if self.lockstep else 1
            return self.costs.verify_ms(np.zeros_like(context), batch_size, context)

        return self._keeper.ended(now, plain_ms)

    def _hints(self, given: Hints | None, shape: tuple[int, int]) -> Hints | None:
        """What the policy is shown of hints for ``[B, D]``."""
        if not self.policy.takes_hints:
            return None
        unknown = Hints.unknown(*shape)
        if given is None:
            return unknown
        for name, part, wanted in zip(Hints._fields, given, unknown, strict=True):
            _require_shape(f"hints.{name}", part, wanted.shape)
        return given

    def _state_of(self, rows: IntArray) -> State[Any, Any]:
        if rows.size == self.capacity:
            return self.state
        return State(take_rows(self.state.rows, rows), self.state.shared)

    def _begin(self, num_sequences: int) -> State[Any, Any]:
        state = self.policy.init(num_sequences, self._seed)
        require_state(self.policy, "init", state)
        return state


def _require_shape(name: str, given: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if given.shape != shape:
        raise ConfigError(f"{name}: has shape {given.shape}, expected {shape}")
