"""A controller's life as a state machine."""

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

from adaptive_spec import ConstantCosts, Constraints, Controller, Plan, make_policy
from adaptive_spec.testing.strategies import constraints


class ControllerLife(RuleBasedStateMachine):
    """Admissions, releases, cancellations, prompt and late outcomes, in any order."""

    plans = Bundle("plans")

    @initialize(
        spec=st.sampled_from(["fixed:tau=3", "ewma", "bandit", "bandit:scope=sequence"]),
        constraints=constraints(),
        lockstep=st.booleans(),
    )
    def begin(self, spec: str, constraints: Constraints, lockstep: bool) -> None:
        self.controller = Controller(
            make_policy(spec),
            costs=ConstantCosts(),
            max_draft_tokens=4,
            constraints=constraints,
            lockstep=lockstep,
        )
        self.emitted: dict[int, int] = {}  # by sequence
        self.passes: dict[int, int] = {}
        self.sequence_of: dict[int, int] = {}  # by row
        self.admitted = 0
        self.settled = 0

    @rule(limits=st.lists(st.integers(1, 60), min_size=1, max_size=3))
    def admit(self, limits: list[int]) -> None:
        rows = self.controller.admit(np.ones(len(limits), np.int64), np.array(limits))
        for row in rows.tolist():
            assert row not in self.sequence_of
            self.sequence_of[row] = self.admitted
            self.emitted[self.admitted] = self.passes[self.admitted] = 0
            self.admitted += 1

    def all_but(self, which: int) -> Any:
        rows = self.controller.running
        rows = rows[np.arange(rows.size) != which]
        return rows[self.controller.may_run(rows)]

    @rule(target=plans, which=st.integers(0, 7))
    def decide(self, which: int) -> Any:
        rows = self.all_but(which)
        if not rows.size:
            return multiple()
        plan = self.controller.decide(rows)
        for sequence in plan.cycle.sequence_id.tolist():
            self.passes[sequence] += 1
        return plan

    @rule(plan=consumes(plans), run=st.integers(0, 6))
    def observe(self, plan: Plan, run: int) -> None:
        accepted = np.minimum(plan.tau, run)
        emitted = np.minimum(accepted + 1, plan.cycle.remaining_tokens)
        self.controller.observe(plan, plan.tau, accepted, emitted)
        for row, sequence, count in zip(
            plan.rows.tolist(), plan.cycle.sequence_id.tolist(), emitted.tolist(), strict=True
        ):
            if self.sequence_of.get(row) == sequence:
                self.emitted[sequence] += count

    @rule(which=st.integers(0, 7))
    def withdraw(self, which: int) -> None:
        self.controller.withdraw(self.controller.decide(self.all_but(which)))

    @rule(which=st.integers(0, 10), finished=st.booleans())
    def release(self, which: int, finished: bool) -> None:
        running = self.controller.running
        if running.size:
            row = running[[which % running.size]]
            del self.sequence_of[int(row[0])]
            self.controller.release(row, finished=finished)
            self.settled += finished

    @invariant()
    def counters_agree(self) -> None:
        if not hasattr(self, "controller"):
            return
        rows = self.controller.running
        assert rows.tolist() == sorted(self.sequence_of)
        assert self.controller.ledger.requests == self.settled
        assert self.controller.ledger.queue_passes >= 0
        assert self.controller.ledger.queue_late >= 0
        if rows.size:
            wanted = [self.passes[self.sequence_of[row]] for row in rows.tolist()]
            assert self.controller.passes(rows).tolist() == wanted

    def teardown(self) -> None:
        if hasattr(self, "controller"):
            running = self.controller.running
            cycle = self.controller.decide(running[self.controller.may_run(running)]).cycle
            expected = [self.emitted[sequence] for sequence in cycle.sequence_id.tolist()]
            assert cycle.emitted_tokens.tolist() == expected


TestControllerLife = ControllerLife.TestCase
