"""The controller: rows, caps, budgets, late outcomes; and its life as a state machine."""

from typing import Any

import numpy as np
import pytest
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

from adaptive_spec import (
    ConfigError,
    ConstantCosts,
    Controller,
    Cycle,
    Decision,
    DraftSignals,
    Empty,
    Outcome,
    PassBudget,
    Plan,
    Policy,
    PolicyContractError,
    State,
    make_policy,
)
from adaptive_spec.controller import UNLIMITED_TOKENS
from adaptive_spec.hints import Hints
from adaptive_spec.runs import Runs


class Stubborn(Policy[Empty, Empty]):
    """Decides what it was told to, allowed or not."""

    def __init__(self, tau: Any) -> None:
        self.tau = tau
        self.outcomes: list[Outcome] = []

    def init(self, num_sequences: int, seed: int) -> State[Empty, Empty]:
        return State(Empty(), Empty())

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        return Decision(self.tau(cycle) if callable(self.tau) else self.tau)

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        self.outcomes.append(outcome)
        return state


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def greedy_controller(**options: Any) -> Controller:
    return Controller(Stubborn(lambda cycle: cycle.max_tau), costs=ConstantCosts(), **options)


def test_caps_leave_room_for_the_verifiers_own_token() -> None:
    controller = greedy_controller(max_draft_tokens=5)
    rows = controller.admit(ints(10, 10, 10), ints(100, 4, 1), ints(100, 100, 100))
    assert controller.decide(rows).tau.tolist() == [5, 3, 0]


def test_caps_end_with_the_drafters_context() -> None:
    controller = greedy_controller(max_draft_tokens=5)
    rows = controller.admit(ints(10, 10), ints(100, 100), ints(3, 0))
    plan = controller.decide(rows)
    assert plan.tau.tolist() == [3, 0]
    controller.observe(plan, plan.tau, ints(1, 0), ints(2, 1))
    assert controller.decide(rows).tau.tolist() == [1, 0]


def test_sequences_of_unknown_length_are_not_capped() -> None:
    controller = greedy_controller(max_draft_tokens=5)
    rows = controller.admit(ints(10), ints(UNLIMITED_TOKENS))
    assert controller.decide(rows).tau.tolist() == [5]


@pytest.mark.parametrize(
    ("tau", "message"),
    [
        (ints(99), "outside"),
        (ints(-1), "outside"),
        (np.array([1.0]), "must be integers"),
        (ints(1, 1), "shape"),
        (3, "shape"),
    ],
)
def test_a_policy_that_breaks_its_contract_is_named(tau: Any, message: str) -> None:
    controller = Controller(Stubborn(tau), costs=ConstantCosts(), max_draft_tokens=5)
    rows = controller.admit(ints(10), ints(100))
    with pytest.raises(PolicyContractError, match=f"Stubborn.decide: .*{message}"):
        controller.decide(rows)


def test_times_come_from_the_cost_model_unless_measured() -> None:
    policy = Stubborn(lambda cycle: np.minimum(cycle.max_tau, ints(2, 4)))
    controller = Controller(policy, costs=ConstantCosts(0.5, 0.25, plain_ms=10), max_draft_tokens=8)
    rows = controller.admit(ints(5, 5), ints(50, 50))
    plan = controller.decide(rows)
    # Rows of one pass wait for its widest: 10 + 4 * (5 + 2.5).
    assert controller.observe(plan, plan.tau, ints(0, 0), ints(1, 1)).tolist() == [40.0, 40.0]
    plan = controller.decide(rows)
    controller.observe(plan, plan.tau, ints(0, 0), ints(1, 1), draft_ms=1.0, verify_ms=2.5)
    assert policy.outcomes[1].cycle_ms.tolist() == [3.5, 3.5]
    assert controller.decide(rows).cycle.elapsed_ms.tolist() == [43.5, 43.5]


def test_rows_on_their_own_pay_their_own_time() -> None:
    policy = Stubborn(lambda cycle: np.minimum(cycle.max_tau, ints(2, 4)))
    controller = Controller(policy, costs=ConstantCosts(0.5, 0.0), lockstep=False)
    rows = controller.admit(ints(5, 5), ints(50, 50))
    plan = controller.decide(rows)
    assert plan.cycle.batch_size == 1
    assert controller.observe(plan, plan.tau, ints(0, 0), ints(1, 1)).tolist() == [2.0, 3.0]


def test_late_outcomes_count_and_those_of_released_rows_are_dropped() -> None:
    policy = Stubborn(lambda cycle: np.minimum(cycle.max_tau, 2))
    controller = Controller(policy, costs=ConstantCosts())
    rows = controller.admit(ints(5, 5), ints(50, 50))
    early = controller.decide(rows)
    late = controller.decide(rows)
    assert late.cycle.passes.tolist() == [1, 1]
    assert late.cycle.emitted_tokens.tolist() == [0, 0]
    controller.observe(early, early.tau, ints(2, 2), ints(3, 3))
    controller.release(rows[:1])
    controller.admit(ints(7), ints(50))  # takes the row of the one that left
    controller.observe(late, late.tau, ints(1, 1), ints(2, 2))
    cycle = controller.decide(controller.running).cycle
    assert cycle.emitted_tokens.tolist() == [0, 5]
    assert policy.outcomes[-1].cycle.sequence_id.tolist() == [1]


def test_a_plan_withdrawn_counts_no_pass() -> None:
    controller = greedy_controller()
    rows = controller.admit(ints(5, 5, 5), ints(50, 50, 50))
    controller.decide(rows)
    plan = controller.decide(rows)
    controller.release(rows[:1])
    controller.admit(ints(7), ints(50))  # takes the row of the one that left
    controller.withdraw(plan)
    assert controller.passes(rows).tolist() == [0, 1, 1]
    again = controller.decide(rows[1:])
    assert again.cycle.cycle_index.tolist() == plan.cycle.cycle_index[1:].tolist()
    assert again.tau.tolist() == plan.tau[1:].tolist()


def test_what_a_policy_was_shown_never_changes() -> None:
    controller = greedy_controller(max_draft_tokens=3)
    rows = controller.admit(ints(5, 5), ints(50, 50))
    plan = controller.decide(rows)
    shown = [np.copy(a) for a in plan.cycle if isinstance(a, np.ndarray)]
    controller.observe(plan, plan.tau, ints(1, 1), ints(2, 2))
    controller.release(rows)
    controller.admit(ints(9, 9, 9), ints(9, 9, 9))
    after = [a for a in plan.cycle if isinstance(a, np.ndarray)]
    assert all(np.array_equal(a, b) for a, b in zip(shown, after, strict=True))


def test_rows_are_reused_lowest_first() -> None:
    controller = greedy_controller()
    assert controller.admit(ints(1, 1, 1), ints(9, 9, 9)).tolist() == [0, 1, 2]
    controller.release(ints(0, 2), finished=False)
    assert controller.admit(ints(1), ints(9)).tolist() == [0]
    assert controller.admit(ints(1, 1), ints(9, 9)).tolist() == [2, 3]


def test_average_budget_sets_a_price_that_rises_and_falls() -> None:
    budget = PassBudget(average_passes=2, patience=10)
    controller = Controller(
        make_policy("fixed:tau=0"), costs=ConstantCosts(plain_ms=5.0), budget=budget
    )

    def serve(passes: int) -> float:
        rows = controller.admit(ints(5), ints(50))
        for _ in range(passes):
            plan = controller.decide(rows)
            controller.observe(plan, plan.tau, ints(0), ints(1))
        controller.release(rows)
        return controller.ledger.queue_passes

    assert [serve(4), serve(3), serve(1), serve(1), serve(1), serve(1)] == [2, 3, 2, 1, 0, 0]
    serve(6)
    plan = controller.decide(controller.admit(ints(5), ints(50)))
    assert plan.cycle.pass_price_ms == 5.0 * 4 / 10
    assert controller.ledger.mean_passes == 17 / 7


def test_cancelled_requests_do_not_count_towards_the_average() -> None:
    controller = greedy_controller(budget=PassBudget(average_passes=1))
    rows = controller.admit(ints(5), ints(50))
    controller.decide(rows)
    controller.release(rows, finished=False)
    assert controller.ledger.requests == 0


def test_per_request_maximum_raises_tau_as_far_as_needed_and_then_ends() -> None:
    controller = Controller(
        make_policy("fixed:tau=0"),
        costs=ConstantCosts(),
        max_draft_tokens=8,
        budget=PassBudget(max_passes=4),
    )
    # Fixed asks for 0 and is raised to what could still finish: ceil(left / passes left) - 1.
    rows = controller.admit(ints(5), ints(12))
    taus = []
    while not controller.out_of_passes(rows)[0]:
        plan = controller.decide(rows)
        taus.append(int(plan.tau[0]))
        controller.observe(plan, plan.tau, ints(1), ints(2))
    assert taus == [2, 3, 3, 5]


def test_a_hard_budget_keeps_a_draft_from_stopping_short() -> None:
    class Timid(Stubborn):
        def keep_drafting(self, state: Any, cycle: Cycle, depth: int, signals: Any) -> Any:
            return np.zeros(cycle.max_tau.shape, np.bool_)

    controller = Controller(
        Timid(lambda cycle: cycle.max_tau), costs=ConstantCosts(), budget=PassBudget(max_passes=4)
    )
    rows = controller.admit(ints(5), ints(12))
    plan = controller.decide(rows)
    assert plan.cycle.min_tau.tolist() == [2]
    nothing = DraftSignals(*(np.zeros((1, 1)) for _ in range(4)))
    assert [bool(controller.keep_drafting(plan, d, nothing)[0]) for d in (1, 2)] == [True, False]


def test_uniform_widths_give_every_row_the_least_width_that_holds_the_mean() -> None:
    wanted = iter([ints(1, 2), ints(0, 0), ints(7, 8), ints(8, 8)])
    policy = Stubborn(lambda cycle: next(wanted))
    controller = Controller(policy, costs=ConstantCosts(), uniform_widths=(0, 2, 4, 8))
    rows = controller.admit(ints(5, 5), ints(50, 50))
    assert [controller.decide(rows).tau.tolist() for _ in range(4)] == [
        [2, 2],
        [0, 0],
        [8, 8],
        [8, 8],
    ]


def test_uniform_widths_hold_what_a_hard_budget_asks_for() -> None:
    controller = Controller(
        make_policy("fixed:tau=0"),
        costs=ConstantCosts(),
        budget=PassBudget(max_passes=10),
        uniform_widths=(0, 2, 4, 8),
    )
    rows = controller.admit(ints(5, 5), ints(40, 5))
    assert controller.decide(rows).tau.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_draft_tokens": -1}, "max_draft_tokens = -1"),
        ({"max_draft_tokens": 5000}, "0 to 1024"),
        ({"uniform_widths": (1, 2)}, "must include 0"),
        ({"uniform_widths": (0, 99)}, "0..10"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        greedy_controller(**options)


def test_rows_must_be_in_use_and_in_order() -> None:
    controller = greedy_controller()
    rows = controller.admit(ints(5, 5), ints(50, 50))
    with pytest.raises(ConfigError, match="ascending"):
        controller.decide(rows[::-1])
    controller.release(rows[:1])
    with pytest.raises(ConfigError, match="in use"):
        controller.decide(rows)
    with pytest.raises(ConfigError, match="not all in use"):
        controller.release(rows[:1])


def test_outcomes_that_cannot_be_are_refused() -> None:
    controller = greedy_controller(max_draft_tokens=3)
    plan = controller.decide(controller.admit(ints(5), ints(50)))
    for drafted, accepted in ((4, 0), (2, 3)):
        with pytest.raises(ConfigError, match="must hold"):
            controller.observe(plan, ints(drafted), ints(accepted), ints(accepted + 1))


def test_a_row_is_out_of_passes_when_the_last_outcome_has_come() -> None:
    controller = greedy_controller(budget=PassBudget(max_passes=2))
    rows = controller.admit(ints(5), ints(50))
    first, last = controller.decide(rows), controller.decide(rows)
    controller.observe(first, first.tau, ints(0), ints(1))
    assert not controller.out_of_passes(rows)[0]
    controller.observe(last, last.tau, ints(0), ints(1))
    assert controller.out_of_passes(rows)[0]


def test_the_callers_arrays_are_not_kept() -> None:
    controller = greedy_controller(max_draft_tokens=5)
    limit = ints(50)
    rows = controller.admit(ints(5), limit)
    limit[0] = 2
    assert controller.decide(rows).tau.tolist() == [5]


def test_what_is_known_of_other_drafts_reaches_the_policy() -> None:
    policy = Stubborn(ints(2))
    controller = Controller(policy, costs=ConstantCosts(), max_draft_tokens=3)
    plan = controller.decide(controller.admit(ints(5), ints(50)))
    runs = Runs(
        ints(3), ints(2)[:, None], np.zeros((1, 1, 4), np.int64), np.ones((1, 1, 4), np.bool_)
    )
    controller.observe(plan, plan.tau, ints(2), ints(3), runs=runs)
    assert policy.outcomes[0].runs is not None
    assert policy.outcomes[0].agreement().tolist() == [[1, 1, -1, -1]]


def test_only_drafters_that_are_behind_catch_up() -> None:
    decision = Decision(ints(0, 2), catch_up=np.array([True, True]))
    policy = Stubborn(decision.tau)
    policy.decide = lambda state, cycle: decision  # type: ignore[method-assign]
    controller = Controller(
        policy, costs=ConstantCosts(), max_draft_tokens=3, drafters=("lookup", "draft")
    )
    rows = controller.admit(ints(5, 5), ints(50, 50))
    plan = controller.decide(rows, behind_tokens=np.array([[0, 4], [1, 4]]))
    # The second row drafts with the first drafter, which thereby reads anyway.
    assert plan.catch_up.tolist() == [[False, True], [False, True]]
    assert not controller.decide(rows).catch_up.any()


@pytest.mark.parametrize(
    ("method", "result", "message"),
    [
        ("init", None, "init: must return a State"),
        ("decide", ints(1), "decide: must return a Decision"),
        ("update", None, "update: must return a State"),
    ],
)
def test_wrong_returns_are_named(method: str, result: Any, message: str) -> None:
    policy = Stubborn(ints(1))
    setattr(policy, method, lambda *args: result)

    def run() -> None:
        controller = Controller(policy, costs=ConstantCosts())
        plan = controller.decide(controller.admit(ints(5), ints(50)))
        controller.observe(plan, plan.tau, ints(0), ints(1))

    with pytest.raises(PolicyContractError, match=f"Stubborn.{message}"):
        run()


def test_sequences_without_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        greedy_controller().admit(ints(0), ints(5))


class ControllerLife(RuleBasedStateMachine):
    """Admissions, releases, cancellations, prompt and late outcomes, in any order."""

    plans = Bundle("plans")

    @initialize(
        spec=st.sampled_from(["fixed:tau=3", "ewma", "bandit", "bandit:scope=sequence"]),
        average=st.none() | st.floats(1, 10),
        most=st.none() | st.integers(1, 6),
        lockstep=st.booleans(),
    )
    def begin(self, spec: str, average: float | None, most: int | None, lockstep: bool) -> None:
        self.controller = Controller(
            make_policy(spec),
            costs=ConstantCosts(),
            max_draft_tokens=4,
            budget=PassBudget(average_passes=average, max_passes=most),
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

    @rule(target=plans, which=st.integers(0, 7))
    def decide(self, which: int) -> Any:
        rows = self.controller.running
        rows = rows[np.arange(rows.size) != which]
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
        rows = self.controller.running
        rows = rows[np.arange(rows.size) != which]
        self.controller.withdraw(self.controller.decide(rows))

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
        if rows.size:
            wanted = [self.passes[self.sequence_of[row]] for row in rows.tolist()]
            assert self.controller.passes(rows).tolist() == wanted

    def teardown(self) -> None:
        if hasattr(self, "controller") and self.controller.running.size:
            cycle = self.controller.decide(self.controller.running).cycle
            expected = [self.emitted[sequence] for sequence in cycle.sequence_id.tolist()]
            assert cycle.emitted_tokens.tolist() == expected


TestControllerLife = ControllerLife.TestCase


class Chooses(Stubborn):
    """Lets the first row be drafted for by whom it was told to."""

    def __init__(self, drafter: Any) -> None:
        super().__init__(lambda cycle: cycle.max_tau)
        self.drafter = drafter

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        return super().decide(state, cycle)._replace(drafter=self.drafter)


def two_drafters(drafter: Any = None, **options: Any) -> Controller:
    costs = ConstantCosts(draft=0.5, drafts=(("lookup", 0.1),))
    names = ("lookup", "model")
    return Controller(Chooses(drafter), costs=costs, drafters=names, max_draft_tokens=4, **options)


def test_the_first_drafter_that_proposes_is_the_default() -> None:
    controller = two_drafters()
    rows = controller.admit(ints(5, 5, 5), ints(9, 9, 9))
    plan = controller.decide(rows, np.array([[True, True], [False, True], [False, False]]))
    assert plan.drafter.tolist() == [0, 1, -1]
    assert plan.cycle.drafters == ("lookup", "model")
    drafted = ints(4, 4, 0)
    controller.observe(plan, drafted, ints(1, 1, 0), ints(2, 2, 1))
    policy = controller.policy
    assert isinstance(policy, Chooses)
    assert policy.outcomes[-1].drafter.tolist() == [0, 1, -1]


def test_a_policy_may_take_another_drafter() -> None:
    controller = two_drafters(ints(1))
    rows = controller.admit(ints(5), ints(9))
    assert controller.decide(rows, np.array([[True, True]])).drafter.tolist() == [1]
    with pytest.raises(PolicyContractError, match=r"drafter 1 of row 0; available there are \[0\]"):
        controller.decide(rows, np.array([[True, False]]))
    with pytest.raises(ConfigError, match="available: has shape"):
        controller.decide(rows, np.array([[True]]))


class Hinted(Stubborn):
    takes_hints = True


def test_hints_are_for_those_who_take_them() -> None:
    given = Hints.unknown(1, 1)._replace(verifier_entropy=np.array([0.5]))
    plain = greedy_controller()
    assert plain.decide(plain.admit(ints(5), ints(9)), hints=given).cycle.hints is None
    controller = Controller(Hinted(ints(0)), costs=ConstantCosts())
    rows = controller.admit(ints(5), ints(9))
    assert controller.decide(rows, hints=given).cycle.hints is given
    unknown = controller.decide(rows).cycle.hints
    np.testing.assert_equal(unknown, Hints.unknown(1, 1))
    with pytest.raises(ConfigError, match=r"hints.match_length: has shape \(1, 2\), expected"):
        controller.decide(rows, hints=given._replace(match_length=np.ones((1, 2))))


@pytest.mark.parametrize("drafter", [ints(2), ints(-1), ints(0, 0), np.array([0.0]), [0]])
def test_drafters_that_do_not_exist_are_refused(drafter: Any) -> None:
    controller = two_drafters(drafter)
    rows = controller.admit(ints(5), ints(9))
    with pytest.raises(PolicyContractError, match="drafter"):
        controller.decide(rows, np.array([[True, True]]))


@pytest.mark.parametrize("names", [(), ("a", "a"), tuple("abcdefghi")])
def test_names_of_drafters(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="drafters"):
        Controller(Stubborn(0), costs=ConstantCosts(), drafters=names)


def test_a_cycle_is_priced_by_the_row_s_own_drafter() -> None:
    controller = two_drafters()
    rows = controller.admit(ints(5, 5, 5), ints(9, 9, 9))
    cycle = controller.decide(rows, np.array([[True, True], [False, True], [False, False]])).cycle
    assert cycle.priced_ms()[:, 4].tolist() == pytest.approx([1.4, 3.0, 1.4])
    assert cycle.priced_ms(ints(1, 1, 1))[:, 4].tolist() == pytest.approx([3.0, 3.0, 3.0])


@pytest.mark.parametrize(("lockstep", "expected"), [(True, [2.4, 2.4, 2.4]), (False, [0.4, 1, 0])])
def test_rows_of_a_batch_wait_for_every_drafter(lockstep: bool, expected: list[float]) -> None:
    controller = two_drafters(lockstep=lockstep)
    rows = controller.admit(ints(5, 5, 5), ints(9, 9, 9))
    plan = controller.decide(rows, np.array([[True, True], [False, True], [False, False]]))
    # The lookup's longest draft costs 4 * 0.1, the model's 4 or, in its own lane, 2 times 0.5.
    drafted = ints(4, 4 if lockstep else 2, 0)
    controller.observe(plan, drafted, ints(1, 1, 0), ints(2, 2, 1))
    policy = controller.policy
    assert isinstance(policy, Chooses)
    assert policy.outcomes[-1].draft_ms.tolist() == pytest.approx(expected)
