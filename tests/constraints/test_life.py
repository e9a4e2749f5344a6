"""Promises to two classes of requests, whatever happens and in whatever order.

Each class has a twin: a controller of its own that is promised the same and sees what happens to
that class alone. Books, prices and credit are the twin's to the last digit: classes don't touch
each other. A model of a few counters beside them says what the books must hold.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from adaptive_spec import Constraints, Controller, LatencyTarget, PassBudget
from tests.controller.driven import greedy_controller

NAMES = ("a", "b")
CLOCK = st.sampled_from(
    [0.0, 0.5, 3.0, 40.0, 1e9, -7.0, math.nan, math.inf, -math.inf, 1e18, 1.7e308]
)
"""What a clock may show, sane or not."""
LIMIT = 1000
"""Tokens of a request, none of which reaches it."""

HARD = st.builds(
    PassBudget,
    average_passes=st.sampled_from([1.0, 1.5, 2.25]),
    hard=st.just(True),
    burst_passes=st.sampled_from([0.0, 1.0, 3.5]),
    when_spent=st.sampled_from(["end", "end", "carry-on"]),
)
SOFT = st.builds(PassBudget, st.sampled_from([1.0, 2.5]), max_passes=st.none() | st.integers(3, 6))
TARGETS = st.sampled_from(
    [
        None,
        None,
        LatencyTarget(4.0),
        LatencyTarget(30.0),
        LatencyTarget(deadline_ms=10.0),
        LatencyTarget(deadline_ms=60.0),
    ]
)
PROMISES = st.builds(Constraints, st.one_of(HARD, HARD, HARD, SOFT, st.none()), TARGETS)


@dataclass
class Asked:
    """A request, as the model has it.

    Attributes:
      kind: number of its class; ``row``: in both; ``twin_row``: in its twin.
      given: highest hard average of its life; ``hard_passes``: passes taken under one.
    """

    kind: int
    row: int
    twin_row: int
    given: float = 0.0
    passes: int = 0
    hard_passes: int = 0
    emitted: int = 0
    elapsed_ms: float = 0.0


class PromisesInAnyOrder(RuleBasedStateMachine):
    """Admissions, cycles, withdrawals, jumping clocks and changes of promises, in any order."""

    plans = Bundle("plans")

    @initialize(promised=st.tuples(PROMISES, PROMISES))
    def begin(self, promised: tuple[Constraints, Constraints]) -> None:
        self.promised = promised
        both = dict(zip(NAMES, promised, strict=True))
        self.controller = greedy_controller(constraints=both, max_draft_tokens=4, lockstep=False)
        self.twins: list[Controller] = [
            greedy_controller(constraints=own, max_draft_tokens=4, lockstep=False)
            for own in promised
        ]
        self.running: dict[int, Asked] = {}  # by row
        self.given, self.limited, self.done = [0.0, 0.0], [0, 0], [(0, 0, 0), (0, 0, 0)]
        self.burst: list[float | None] = [None, None]
        self.take_note()

    def hard(self, kind: int) -> PassBudget | None:
        budget = self.promised[kind].budget
        return budget if budget is not None and budget.hard else None

    def take_note(self) -> None:
        """What hard averages give, once for each request and once for each pool."""
        for kind in (0, 1):
            if (budget := self.hard(kind)) is not None and self.burst[kind] is None:
                self.burst[kind] = budget.burst_passes
        for asked in self.running.values():
            if (budget := self.hard(asked.kind)) is not None:
                more = max((budget.average_passes or 0.0) - asked.given, 0.0)
                asked.given += more
                self.given[asked.kind] += more

    @rule(kind=st.integers(0, 1), waited=CLOCK)
    def admit(self, kind: int, waited: float) -> None:
        one, limit = np.ones(1, np.int64), np.array([LIMIT])
        waited_ms = np.array([waited])
        [row] = self.controller.admit(
            one, limit, request_class=kind * one, waited_ms=waited_ms
        ).tolist()
        [twin_row] = self.twins[kind].admit(one, limit, waited_ms=waited_ms).tolist()
        self.running[row] = Asked(kind, row, twin_row)
        self.take_note()

    @rule(target=plans, which=st.integers(0, 9))
    def decide(self, which: int) -> Any:
        rows = self.controller.running
        rows = rows[np.arange(rows.size) != which]
        drawn = self.plan(rows[self.controller.may_run(rows)])
        return drawn if drawn[2] else multiple()

    @rule(kind=st.integers(0, 1))
    def spend(self, kind: int) -> None:
        """A class under a hard average spends all that it has."""
        budget = self.hard(kind)
        own = np.array([row for row in sorted(self.running) if self.running[row].kind == kind])
        while budget is not None and budget.when_spent == "end" and own.size:
            own = own[self.controller.may_run(own)]
            self.observe(self.plan(own), 0, 0.5, 0.5)

    def plan(self, rows: Any) -> Any:
        """Plans a cycle of these rows, here and in the twins."""
        asked = [self.running[row] for row in rows.tolist()]
        plan = self.controller.decide(rows)
        assert np.isfinite(plan.cycle.pass_price_ms).all()
        assert plan.cycle.elapsed_ms.tolist() == [one.elapsed_ms for one in asked]
        twin_plans = []
        for kind, twin in enumerate(self.twins):
            at = [i for i, one in enumerate(asked) if one.kind == kind]
            at.sort(key=lambda i: asked[i].twin_row)
            part = twin.decide(np.array([asked[i].twin_row for i in at], np.int64))
            assert (part.tau == plan.tau[at]).all()
            assert (part.cycle.pass_price_ms == plan.cycle.pass_price_ms[at]).all()
            twin_plans.append(part)
        hard = [self.hard(one.kind) for one in asked]
        for one, budget in zip(asked, hard, strict=True):
            one.passes += 1
            one.hard_passes += budget is not None
            self.limited[one.kind] += budget is not None and budget.when_spent == "end"
        return plan, twin_plans, asked, hard

    @rule(drawn=consumes(plans), run=st.integers(0, 4), draft=CLOCK, verify=CLOCK)
    def finish(self, drawn: Any, run: int, draft: float, verify: float) -> None:
        self.observe(drawn, run, draft, verify)

    def observe(self, drawn: Any, run: int, draft: float, verify: float) -> None:
        plan, twin_plans, asked, _ = drawn
        for controller, part in (
            (self.controller, plan),
            *zip(self.twins, twin_plans, strict=True),
        ):
            accepted = np.minimum(part.tau, run)
            spent = controller.observe(
                part, part.tau, accepted, accepted + 1, draft_ms=draft, verify_ms=verify
            )
            assert ((spent >= 0) & (spent < 1e13)).all()
            if controller is self.controller:
                for one, spent_ms, more in zip(asked, spent.tolist(), accepted, strict=True):
                    one.elapsed_ms += spent_ms
                    one.emitted += int(more) + 1

    @rule(drawn=consumes(plans))
    def withdraw(self, drawn: Any) -> None:
        asked: list[Asked]
        plan, twin_plans, asked, hard = drawn
        self.controller.withdraw(plan)
        for twin, part in zip(self.twins, twin_plans, strict=True):
            twin.withdraw(part)
        for one, budget in zip(asked, hard, strict=True):
            if self.running.get(one.row) is one:
                one.passes -= 1
                one.hard_passes -= budget is not None
                self.limited[one.kind] -= budget is not None and budget.when_spent == "end"

    @rule(time_ms=CLOCK)
    def elapse(self, time_ms: float) -> None:
        self.controller.elapse(self.controller.running, time_ms)
        for twin in self.twins:
            twin.elapse(twin.running, time_ms)
        for one in self.running.values():
            one.elapsed_ms += time_ms if 0 <= time_ms < 1e12 else 0.0

    @rule(which=st.integers(0, 9), finished=st.booleans())
    def release(self, which: int, finished: bool) -> None:
        if self.running:
            one = self.running.pop(list(self.running)[which % len(self.running)])
            self.controller.release(np.array([one.row]), finished=finished)
            self.twins[one.kind].release(np.array([one.twin_row]), finished=finished)
            if finished:
                requests, passes, tokens = self.done[one.kind]
                self.done[one.kind] = requests + 1, passes + one.passes, tokens + one.emitted

    @rule(promised=st.tuples(PROMISES, PROMISES))
    def change(self, promised: tuple[Constraints, Constraints]) -> None:
        self.promised = promised
        self.controller.change_constraints(dict(zip(NAMES, promised, strict=True)))
        for twin, own in zip(self.twins, promised, strict=True):
            twin.change_constraints(own)
        self.take_note()

    @invariant()
    def classes_keep_to_themselves(self) -> None:
        if not hasattr(self, "controller"):
            return
        for kind, (name, twin) in enumerate(zip(NAMES, self.twins, strict=True)):
            assert self.controller.ledgers[name] == twin.ledger
            assert str(self.controller.feasibility[name]) == str(twin.feasibility["all"])
            for one in self.running.values():
                if one.kind == kind:
                    own = self.controller.may_run(np.array([one.row]))
                    assert own == twin.may_run(np.array([one.twin_row]))

    @invariant()
    def books_are_right(self) -> None:
        if not hasattr(self, "controller"):
            return
        for name, done in zip(NAMES, self.done, strict=True):
            ledger = self.controller.ledgers[name]
            assert ledger[:3] == done
            assert 0 <= ledger.late <= ledger.requests
            assert all(math.isfinite(value) for value in ledger)
            assert min(ledger.queue_passes, ledger.queue_late) >= 0

    @invariant()
    def hard_averages_hold(self) -> None:
        if not hasattr(self, "controller"):
            return
        for kind in (0, 1):
            assert self.limited[kind] <= self.given[kind] + (self.burst[kind] or 0.0) + 1e-6

    @invariant()
    def nobody_starves(self) -> None:
        """Who has not had its share may go on, whatever others took."""
        if not hasattr(self, "controller"):
            return
        for one in self.running.values():
            promised = self.promised[one.kind]
            if self.hard(one.kind) is None or promised.latency is not None:
                continue
            if one.hard_passes + 1 <= one.given:
                assert self.controller.may_run(np.array([one.row]))[0]


TestPromisesInAnyOrder = PromisesInAnyOrder.TestCase
