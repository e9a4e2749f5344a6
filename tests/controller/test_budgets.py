"""Pass budgets in a controller: prices, least draft lengths, and ends."""

import math
from typing import Any

import numpy as np
import pytest

from adaptive_spec import (
    ConfigError,
    ConstantCosts,
    Constraints,
    Controller,
    Cycle,
    Decision,
    DraftSignals,
    EndReason,
    PassBudget,
    make_policy,
)
from adaptive_spec.controller import UNLIMITED_PASSES
from tests.controller.driven import Stubborn, greedy_controller, ints


def test_average_budget_sets_a_price_that_rises_and_falls() -> None:
    constraints = Constraints(PassBudget(average_passes=2, patience=5))
    controller = Controller(
        make_policy("fixed:tau=0"), costs=ConstantCosts(plain_ms=5.0), constraints=constraints
    )

    def serve(passes: int) -> float:
        rows = controller.admit(ints(5), ints(50))
        for _ in range(passes):
            plan = controller.decide(rows)
            controller.observe(plan, plan.tau, ints(0), ints(1))
        controller.release(rows)
        return round(controller.ledger.queue_passes, 9)

    # What is over the average so far, in hundredths, is aimed at below it.
    assert [serve(passes) for passes in (4, 3, 1, 1, 1, 1)] == [2, 3.02, 2.05, 1.07, 0.08, 0]
    serve(6)  # aims at 2: the six requests before took 11, of 12 allowed
    plan = controller.decide(controller.admit(ints(5), ints(50)))
    assert plan.cycle.pass_price_ms.tolist() == pytest.approx([5.0 * math.expm1(4 / 10)])
    assert controller.ledger.mean_passes == 17 / 7


def test_cancelled_requests_do_not_count_towards_the_average() -> None:
    controller = greedy_controller(constraints=Constraints(PassBudget(average_passes=1)))
    rows = controller.admit(ints(5), ints(50))
    controller.decide(rows)
    controller.release(rows, finished=False)
    assert controller.ledger.requests == 0


def test_per_request_maximum_raises_tau_as_far_as_needed_and_then_ends() -> None:
    controller = Controller(
        make_policy("fixed:tau=0"),
        costs=ConstantCosts(),
        max_draft_tokens=8,
        constraints=Constraints(PassBudget(max_passes=4)),
    )
    # Fixed asks for 0 and is raised to what could still finish: ceil(left / passes left) - 1.
    rows = controller.admit(ints(5), ints(12))
    taus = []
    while not controller.ended(rows)[0]:
        plan = controller.decide(rows)
        taus.append(int(plan.tau[0]))
        controller.observe(plan, plan.tau, ints(1), ints(2))
    assert taus == [2, 3, 3, 5]


def test_a_hard_budget_keeps_a_draft_from_stopping_short() -> None:
    class Timid(Stubborn):
        def keep_drafting(
            self, state: Any, cycle: Cycle, decision: Decision, depth: int, signals: Any
        ) -> Any:
            return np.zeros(cycle.max_tau.shape, np.bool_)

    controller = Controller(
        Timid(lambda cycle: cycle.max_tau),
        costs=ConstantCosts(),
        constraints=Constraints(PassBudget(max_passes=4)),
    )
    rows = controller.admit(ints(5), ints(12))
    plan = controller.decide(rows)
    assert plan.cycle.min_tau.tolist() == [2]
    nothing = DraftSignals(*(np.zeros((1, 1)) for _ in range(4)))
    assert [bool(controller.keep_drafting(plan, d, nothing)[0]) for d in (1, 2)] == [True, False]


def test_uniform_widths_hold_what_a_hard_budget_asks_for() -> None:
    controller = Controller(
        make_policy("fixed:tau=0"),
        costs=ConstantCosts(),
        constraints=Constraints(PassBudget(max_passes=10)),
        uniform_widths=(0, 2, 4, 8),
    )
    rows = controller.admit(ints(5, 5), ints(40, 5))
    assert controller.decide(rows).tau.tolist() == [4, 4]


def test_a_row_is_out_of_passes_when_the_last_outcome_has_come() -> None:
    controller = greedy_controller(constraints=Constraints(PassBudget(max_passes=2)))
    rows = controller.admit(ints(5), ints(50))
    first, last = controller.decide(rows), controller.decide(rows)
    controller.observe(first, first.tau, ints(0), ints(1))
    assert controller.ended(rows).tolist() == [EndReason.NONE]
    assert not controller.may_run(rows)[0]
    with pytest.raises(ConfigError, match="no credit for another pass"):
        controller.decide(rows)
    controller.observe(last, last.tau, ints(0), ints(1))
    assert controller.ended(rows).tolist() == [EndReason.BUDGET]


def test_a_request_may_limit_its_own_passes() -> None:
    controller = Controller(make_policy("fixed:tau=0"), costs=ConstantCosts())
    rows = controller.admit(ints(5, 5), ints(12, 12), max_passes=ints(4, UNLIMITED_PASSES))
    taus, passes = [], 0
    while not controller.ended(rows)[0]:
        plan = controller.decide(rows)
        taus.append(plan.tau.tolist())
        controller.observe(plan, plan.tau, np.minimum(plan.tau, 1), np.minimum(plan.tau, 1) + 1)
        passes += 1
    assert passes == 4
    assert taus == [[2, 0], [3, 0], [3, 0], [5, 0]]  # as of a class of that limit
    assert controller.ended(rows).tolist() == [EndReason.BUDGET, EndReason.NONE]


@pytest.mark.parametrize("own", [2, 9])
def test_the_stricter_of_two_limits_holds(own: int) -> None:
    controller = greedy_controller(constraints=Constraints(PassBudget(max_passes=4)))
    rows = controller.admit(ints(5), ints(100), max_passes=ints(own))
    passes = 0
    while not controller.ended(rows)[0]:
        plan = controller.decide(rows)
        controller.observe(plan, plan.tau, ints(0), ints(1))
        passes += 1
    assert passes == min(own, 4)


def test_a_limit_of_no_passes_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_passes must be at least 1, got 0"):
        greedy_controller().admit(ints(5), ints(12), max_passes=ints(0))
