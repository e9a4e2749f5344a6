"""What a controller is told, and tells the policy: times, late outcomes, other drafts."""

import numpy as np
import pytest

from adaptive_spec import ConfigError, ConstantCosts, Controller
from adaptive_spec.runs import Runs
from tests.controller.driven import Stubborn, greedy_controller, ints


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


def test_outcomes_that_cannot_be_are_refused() -> None:
    controller = greedy_controller(max_draft_tokens=3)
    plan = controller.decide(controller.admit(ints(5), ints(50)))
    for drafted, accepted in ((4, 0), (2, 3)):
        with pytest.raises(ConfigError, match="must hold"):
            controller.observe(plan, ints(drafted), ints(accepted), ints(accepted + 1))


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
