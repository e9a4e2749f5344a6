"""Histories of requests, as data, and how a controller lives through them.

A history says what arrives, how drafts fare and when outcomes come in; ``play`` drives a policy
through it with the real ``Controller``. Nothing in it depends on what the policy decides, so two
policies, or the same one twice, can be compared on one history.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.constraints import Constraints, EndReason
from adaptive_spec.controller import Controller, Plan
from adaptive_spec.costs import ConstantCosts, CostModel
from adaptive_spec.foreseen import draft_on
from adaptive_spec.policy import NO_DRAFTER, DraftSignals, Policy
from adaptive_spec.testing.hints import invented_hints
from adaptive_spec.testing.past import Past


@dataclass(frozen=True)
class Arrive:
    """Sequences are admitted.

    Attributes:
      prompt_tokens, max_new_tokens: ``[n]``, >= 1.
      draftable_tokens: ``[n]``, >= 0, or None for no limit of the drafter's.
    """

    prompt_tokens: tuple[int, ...]
    max_new_tokens: tuple[int, ...]
    draftable_tokens: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Run:
    """One cycle of some of the running sequences.

    Attributes:
      run_lengths: how many draft tokens would be accepted; cycled over rows and drafters.
      proposes: whether a drafter proposes anything; cycled over rows and drafters.
      skip: every ``skip``-th running row sits the cycle out; 0 for none.
      delay: decisions that may be made before this outcome is observed, 0 to 2.
      times_ms: measured (draft, verify) times, or None for the cost model's.
    """

    run_lengths: tuple[int, ...]
    proposes: tuple[bool, ...] = (True,)
    skip: int = 0
    delay: int = 0
    times_ms: tuple[float, float] | None = None


@dataclass(frozen=True)
class Leave:
    """One running sequence is cancelled: the ``which``-th, counted around."""

    which: int


Event = Arrive | Run | Leave


@dataclass(frozen=True)
class History:
    """A whole life of a controller.

    Attributes:
      events: what happens, in order.
      costs, max_draft_tokens, constraints, seed, lockstep, uniform_widths: of the controller.
      signals: names of those that the drafter has.
      drafters: names of the drafters that there are to choose between.
    """

    events: tuple[Event, ...]
    costs: CostModel = ConstantCosts()
    max_draft_tokens: int = 8
    constraints: Constraints | None = None
    seed: int = 0
    lockstep: bool = True
    uniform_widths: tuple[int, ...] | None = None
    signals: tuple[str, ...] = DraftSignals._fields
    drafters: tuple[str, ...] = ("drafter",)


class Step(NamedTuple):
    """A decision made while playing: for whom, how much to draft, and with which drafter."""

    sequence_id: IntArray
    tau: IntArray
    drafter: IntArray


class _Report(NamedTuple):
    plan: Plan
    drafted: IntArray
    accepted: IntArray
    times_ms: tuple[float, float] | None
    signals: DraftSignals | None
    due: int


class Play:
    """A controller living through a history; iterate to take it step by step."""

    def __init__(self, policy: Policy[Any, Any], history: History) -> None:
        """Sets the stage; nothing happens before iteration."""
        self.history = history
        self.controller = Controller(
            policy,
            costs=history.costs,
            max_draft_tokens=history.max_draft_tokens,
            constraints=history.constraints,
            seed=history.seed,
            lockstep=history.lockstep,
            uniform_widths=history.uniform_widths,
            drafters=history.drafters,
        )
        self._random = np.random.default_rng(history.seed)
        self._admitted = 0
        self._number: dict[int, int] = {}  # row -> the sequence that took it last
        self._past: Past | None = None
        if policy.looks_back:
            self._past = Past(len(history.drafters), history.seed)
        self._reports: list[_Report] = []
        self._decided = 0
        self._left: dict[int, int] = {}

    def __iter__(self) -> Iterator[Step]:
        """Plays all events; outcomes still under way at the end are observed then."""
        for event in self.history.events:
            if isinstance(event, Arrive):
                self._arrive(event)
            elif isinstance(event, Leave):
                running = self.controller.running
                if running.size:
                    row = running[[event.which % running.size]]
                    self.controller.release(row, finished=False)
            else:
                self._release_ended()
                running = self.controller.running
                running = running[self.controller.may_run(running)]
                if running.size:
                    yield self._run(event, running)
        self._observe(everything=True)

    def _arrive(self, event: Arrive) -> None:
        rows = self.controller.admit(
            np.asarray(event.prompt_tokens),
            np.asarray(event.max_new_tokens),
            None if event.draftable_tokens is None else np.asarray(event.draftable_tokens),
        )
        if self._past is not None:
            self._past.begin(rows.size)
        self._number.update(
            zip(rows.tolist(), range(self._admitted, self._admitted + rows.size), strict=True)
        )
        self._admitted += rows.size
        self._left.update(zip(rows.tolist(), event.max_new_tokens, strict=True))

    def _release_ended(self) -> None:
        running = self.controller.running
        ended = running[self.controller.ended(running) != EndReason.NONE]
        if ended.size:
            self.controller.release(ended)

    def _run(self, event: Run, running: IntArray) -> Step:
        rows = running
        if event.skip > 1:
            rows = rows[np.arange(rows.size) % event.skip != 0]
            rows = rows if rows.size else running
        shape = rows.size, len(self.history.drafters)
        behind = None
        if self._past is not None:
            numbers = np.array([self._number[row] for row in rows.tolist()], np.int64)
            behind = self._past.behind_tokens(numbers)
        proposes = np.resize(np.asarray(event.proposes, np.bool_), shape)
        hints = None
        if self.controller.policy.takes_hints:
            hints = invented_hints(self._random, *shape)
        plan = self.controller.decide(rows, proposes, behind, hints)
        chosen = np.arange(rows.size), np.maximum(plan.drafter, 0)
        runs = np.resize(np.asarray(event.run_lengths, np.int64), shape)[chosen]
        drafted = plan.tau * (plan.drafter != NO_DRAFTER)
        signals = None
        if self.controller.policy.looks_inside_draft:
            drafted, signals = self._draft(plan, drafted)
        self._decided += 1
        accepted = np.minimum(runs, drafted)
        due = self._decided + event.delay
        report = _Report(plan, drafted, accepted, event.times_ms, signals, due)
        self._reports.append(report)
        self._observe()
        return Step(plan.cycle.sequence_id, plan.tau, plan.drafter)

    def _draft(self, plan: Plan, upto: IntArray) -> tuple[IntArray, DraftSignals]:
        shape = (upto.size, self.history.max_draft_tokens)
        said = DraftSignals(
            self._random.random(shape),
            self._random.exponential(1.0, shape),
            self._random.exponential(1.0, shape),
            self._random.integers(0, 8, shape).astype(np.float64),
        )
        silent = set(DraftSignals._fields) - set(self.history.signals)
        said = said._replace(**dict.fromkeys(silent, np.full(shape, np.nan)))
        return draft_on(self.controller, plan, upto, said)

    def _observe(self, everything: bool = False) -> None:
        """Observes what is due, and releases sequences that came to their end."""
        reports = self._reports
        self._reports = [r for r in reports if not everything and r.due > self._decided]
        for report in (r for r in reports if everything or r.due <= self._decided):
            plan, times = report.plan, report.times_ms
            emitted = np.minimum(report.accepted + 1, plan.cycle.remaining_tokens)
            runs = None
            if self._past is not None:
                runs = self._past.after_cycle(plan, report.drafted, report.accepted, emitted)
            self.controller.observe(
                plan,
                report.drafted,
                report.accepted,
                emitted,
                draft_ms=None if times is None else times[0],
                verify_ms=None if times is None else times[1],
                signals=report.signals,
                runs=runs,
            )
            current = self.controller.is_current(plan)
            for row, count in zip(plan.rows[current].tolist(), emitted[current], strict=True):
                self._left[row] -= int(count)
            rows = plan.rows[current]
            spent = np.array([self._left[row] <= 0 for row in rows.tolist()], np.bool_)
            if spent.any():
                self.controller.release(rows[spent])


def play(policy: Policy[Any, Any], history: History) -> list[Step]:
    """All decisions of a policy in a history."""
    return list(Play(policy, history))
