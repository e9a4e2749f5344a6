"""Drives a controller for an engine that knows its sequences by the ids of their requests.

Such an engine decides at one time, carries out at another, and may leave out any request that was
decided on: one that was preempted, or for which the step had no room. So what is decided for a
request waits for it, until a step carries it out or it is taken back::

    driver.admit("a", prompt_tokens=12, max_new_tokens=100)
    tau, _ = driver.decide({"a": True})            # {"a": 3}
    step = Step(driver.begin_step(["a"]))          # these are verified together now
    driver.observe(step, {"a": Verified(3, 1, 2)}, elapsed_ms=8.0)
    driver.release("a", finished=True)
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.constraints import EndReason
from adaptive_spec.controller import Controller, Plan
from adaptive_spec.cycle_times import cycle_times
from adaptive_spec.integrations.step_times import StepTimes
from adaptive_spec.policy import NO_DRAFTER
from adaptive_spec.runs import Runs
from adaptive_spec.state import take_cycle, take_decision


class Verified(NamedTuple):
    """What came of a request in a step.

    Attributes:
      drafted: tokens that were verified; more than were asked for where the engine pads.
      accepted: of these, in a row from the first.
      emitted: tokens that it got, which may be fewer where it ended.
    """

    drafted: int
    accepted: int
    emitted: int


@dataclass(eq=False)
class Decided:
    """What was decided together.

    Attributes:
      plan: as the controller has it.
      draft_ms: time that drafting took; None until a step was measured that drafted for it.
    """

    plan: Plan
    draft_ms: float | None


class Decision(NamedTuple):
    """What was decided for one request: a row of what was decided together."""

    of: Decided
    row: int


@dataclass(frozen=True, eq=False)
class Step:
    """A step of the engine, from its beginning until what came of it is known.

    Attributes:
      carried_out: by request, what was decided for it.
      drafts_for: what was decided while the step was prepared, of which it drafts; None where
        drafts were there before it was decided on them.
      comparable: whether it did nothing but what cycles do, so that its time says what they take.
    """

    carried_out: Mapping[str, Decision]
    drafts_for: Decided | None = None
    comparable: bool = True


@dataclass
class _Request:
    """A request that is driven.

    Attributes:
      row: the controller's.
      waiting: what was decided for it and is not carried out.
      under_way: what steps carry out whose outcome is not known.
    """

    row: int
    waiting: Decision | None = None
    under_way: list[Decision] = field(default_factory=list)


class Driver:
    """Drives a controller by request ids."""

    def __init__(self, controller: Controller, *, drafts_ahead: bool) -> None:
        """Sets up without requests.

        Args:
          controller: none of its rows is in use.
          drafts_ahead: whether a step drafts for the next one what was decided while it was
            prepared; otherwise drafts are there when it is decided how much of them is verified.
        """
        self.controller = controller
        self.drafts_ahead = drafts_ahead
        self._requests: dict[str, _Request] = {}
        self._times = StepTimes()

    def __contains__(self, request_id: str) -> bool:
        """Whether it was admitted and not released."""
        return request_id in self._requests

    def is_decided(self, request_id: str) -> bool:
        """Whether something was decided for it that waits to be carried out."""
        request = self._requests.get(request_id)
        return request is not None and request.waiting is not None

    def admit(
        self,
        request_id: str,
        prompt_tokens: int,
        max_new_tokens: int,
        request_class: str | None = None,
        waited_ms: float = 0.0,
        max_passes: int | None = None,
    ) -> None:
        """Takes a request in.

        Args:
          request_id: what the engine calls it.
          prompt_tokens: length of its prompt, >= 1.
          max_new_tokens: most tokens to emit, >= 1.
          request_class: its class in the constraints; None for the first.
          waited_ms: time since it came.
          max_passes: most passes by its own wish, >= 1; None for any number.

        Raises:
          ConfigError: a number below 1, or a class that there is not.
        """
        constraints = self.controller.constraints
        number = 0 if request_class is None else constraints.number(request_class)
        row = self.controller.admit(
            np.array([prompt_tokens]),
            np.array([max_new_tokens]),
            request_class=np.array([number]),
            waited_ms=np.array([waited_ms]),
            max_passes=None if max_passes is None else np.array([max_passes]),
            request_ids=[request_id],
        )
        self._requests[request_id] = _Request(int(row[0]))

    def decide(self, available: Mapping[str, bool]) -> tuple[dict[str, int], Decided | None]:
        """Decides together on requests that run in one step.

        Args:
          available: by request, whether its drafter would propose something, as far as is known.

        Returns:
          Tau by request, without those that may not run on (``spent``); and what was decided, None
          where that is nothing.
        """
        ids = [one for one in available if one in self._requests]
        ids.sort(key=lambda one: self._requests[one].row)
        rows = self._rows(ids)
        allowed = self.controller.may_run(rows)
        ids = [one for one, may in zip(ids, allowed.tolist(), strict=True) if may]
        if not ids:
            return {}, None
        there = np.array([[available[one]] for one in ids])
        plan = self.controller.decide(rows[allowed], there)
        # Drafts that are at hand took no time that a shorter draft would have saved.
        decided = Decided(plan, None if self.drafts_ahead else 0.0)
        for index, one in enumerate(ids):
            self._requests[one].waiting = Decision(decided, index)
        return dict(zip(ids, decided.plan.tau.tolist(), strict=True)), decided

    def begin_step(self, request_ids: Iterable[str]) -> dict[str, Decision]:
        """What was decided for these requests, which are verified together now.

        Requests for which nothing was decided (their prompt was just read) are decided on with no
        draft at hand.
        """
        ids = [one for one in request_ids if one in self._requests]
        undecided = {one: False for one in ids if self._requests[one].waiting is None}
        if undecided:
            self.decide(undecided)
        carried_out = {}
        for one in ids:
            request = self._requests[one]
            if request.waiting is not None:
                carried_out[one] = request.waiting
                request.under_way.append(request.waiting)
                request.waiting = None
        return carried_out

    def withdraw(self, request_ids: Iterable[str]) -> None:
        """Takes back what was decided for these requests and is not carried out."""
        for one in request_ids:
            request = self._requests.get(one)
            if request is not None and request.waiting is not None:
                self._take_back([request.waiting])
                request.waiting = None

    def observe(
        self,
        step: Step,
        verified: Mapping[str, Verified],
        elapsed_ms: float | None,
        runs_of: Callable[[list[str]], Runs] | None = None,
    ) -> None:
        """Reports what came of a step.

        Args:
          step: as it was begun.
          verified: by request; what was decided for one that is missing is taken back.
          elapsed_ms: time of the step; None where that is not known.
          runs_of: gives, of requests, what their texts say of drafts, for a policy that looks back;
            None where that is not known.
        """
        going = {
            one: decision
            for one, decision in step.carried_out.items()
            if one in self._requests and decision in self._requests[one].under_way
        }
        lost = [one for one in going if one not in verified]
        self._take_back([going[one] for one in lost])
        for one, decision in going.items():
            self._requests[one].under_way.remove(decision)
        by_plan: dict[int, list[str]] = {}
        for one, decision in going.items():
            if one in verified:
                by_plan.setdefault(id(decision.of), []).append(one)
        if not by_plan:
            return
        most = max(by_plan.values(), key=len)
        verify_ms = self._verify_ms(step, _part([going[one] for one in most]), elapsed_ms)
        for ids in by_plan.values():
            ids.sort(key=lambda one: going[one].row)
            plan = _part([going[one] for one in ids])
            drafted, accepted, emitted = (
                np.array(column, np.int64)
                for column in zip(*(verified[one] for one in ids), strict=True)
            )
            drafted = np.minimum(drafted, plan.tau)
            told_ms = self.controller.observe(
                plan,
                drafted,
                np.minimum(np.minimum(accepted, drafted), emitted),
                emitted,
                draft_ms=going[ids[0]].of.draft_ms,
                verify_ms=verify_ms,
                runs=None if runs_of is None else runs_of(ids),
            )
            if elapsed_ms is not None and not step.comparable:
                self.controller.elapse(plan.rows, np.maximum(elapsed_ms - told_ms, 0.0))

    def spent(self) -> dict[str, EndReason]:
        """Requests that what was promised ends, all that was decided for them being known."""
        idle = [one for one, r in self._requests.items() if r.waiting is None and not r.under_way]
        reasons = self.controller.ended(self._rows(idle)).tolist()
        return {
            one: EndReason(reason)
            for one, reason in zip(idle, reasons, strict=True)
            if reason != EndReason.NONE
        }

    def release(self, request_id: str, *, finished: bool) -> None:
        """Gives a request's row back; ``finished`` as for ``Controller.release``.

        What was decided for it and not observed did not happen.
        """
        request = self._requests.pop(request_id, None)
        if request is None:
            return
        waiting = [] if request.waiting is None else [request.waiting]
        self._take_back([*request.under_way, *waiting])
        self.controller.release(np.array([request.row]), finished=finished)

    def _rows(self, ids: list[str]) -> IntArray:
        return np.array([self._requests[one].row for one in ids], np.int64)

    def _take_back(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            self.controller.withdraw(_part([decision]))

    def _verify_ms(self, step: Step, plan: Plan, elapsed_ms: float | None) -> float | None:
        """Time of the verifier pass, None for the cost model's; keeps the time of drafting.

        Of a step that did more than cycles do (it read prompts), a cycle's part is what a cycle is
        expected to take.
        """
        verifying, drafting = _modelled_ms(plan)[1], 0.0
        if step.drafts_for is not None:
            drafting = _modelled_ms(step.drafts_for.plan)[0]
        if not step.comparable:
            elapsed_ms = self._times.expected_ms(verifying, drafting)
        if elapsed_ms is None:
            return None
        verify_ms, draft_ms = self._times.split(elapsed_ms, verifying, drafting)
        if step.drafts_for is not None:
            step.drafts_for.draft_ms = draft_ms
        return verify_ms


def _modelled_ms(plan: Plan) -> tuple[float, float]:
    """Time of drafting what was planned, and of verifying it, by the cost model."""
    drafter = np.where(plan.tau > 0, plan.drafter, NO_DRAFTER)
    parts = cycle_times(plan.cycle, drafter, plan.tau, plan.catch_up, lockstep=True)
    return float(parts[0].max()), float(parts[1].max())


def _part(decisions: list[Decision]) -> Plan:
    """The part of a plan that is these decisions, all of one plan."""
    plan = decisions[0].of.plan
    index = np.array([decision.row for decision in decisions], np.int64)
    return Plan(
        plan.rows[index],
        plan.tau[index],
        plan.drafter[index],
        plan.catch_up[index],
        take_cycle(plan.cycle, index),
        take_decision(plan.decision, index),
        plan.paid.take(index),
    )
