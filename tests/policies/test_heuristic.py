import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, PolicySpecError, make_policy
from adaptive_spec.policies.heuristic import Heuristic
from tests.policies.driving import drive


def test_decisions_worked_by_hand() -> None:
    # 3 of 3 accepted: 3 + 2.  2 of 5: 5 - 1.  4 of 4: 4 + 2.  0 of 6: 6 - 1.
    assert drive(Heuristic(initial=3), [3, 2, 9, 0, 0]) == [3, 5, 4, 6, 5]


def test_it_never_falls_back() -> None:
    assert drive(Heuristic(initial=3), [0] * 5) == [3, 2, 1, 1, 1]


def test_it_stays_within_reach_of_its_steps_down() -> None:
    # At most 4: 20 is drafted as 4, and after long success one refusal is enough for 3.
    assert drive(Heuristic(), [9, 9, 9, 0, 0], max_draft_tokens=4) == [4, 4, 4, 4, 3]


def test_cycles_without_a_draft_teach_nothing() -> None:
    assert drive(Heuristic(initial=3), [5] * 4, proposes=False) == [3] * 4


def test_a_shared_length_moves_by_the_mean_step_of_its_sequences() -> None:
    controller = Controller(Heuristic(initial=3), costs=ConstantCosts())
    rows = controller.admit(np.full(2, 5), np.full(2, 100))
    plan = controller.decide(rows)
    controller.observe(plan, plan.tau, np.array([3, 1]), np.array([4, 2]))
    assert controller.state.shared.num_tokens.tolist() == [3.5]  # (2 - 1) / 2
    assert controller.decide(rows).tau.tolist() == [3, 3]


@pytest.mark.parametrize(("scope", "tau"), [("shared", 5), ("sequence", 3)])
def test_what_the_next_sequence_begins_with(scope: str, tau: int) -> None:
    controller = Controller(
        make_policy(f"heuristic:initial=3,scope={scope}"), costs=ConstantCosts()
    )
    rows = controller.admit(np.array([5]), np.array([100]))
    plan = controller.decide(rows)
    controller.observe(plan, plan.tau, plan.tau, plan.tau + 1)
    assert controller.decide(rows).tau.tolist() == [5]
    controller.release(rows)
    rows = controller.admit(np.array([5]), np.array([100]))
    assert controller.decide(rows).tau.tolist() == [tau]


def test_a_draft_cut_short_by_the_end_is_no_refusal() -> None:
    controller = Controller(Heuristic(initial=3), costs=ConstantCosts())
    plan = controller.decide(controller.admit(np.array([5]), np.array([100])))
    controller.observe(plan, plan.tau, np.array([2]), np.array([2]))
    assert controller.state.shared.num_tokens.tolist() == [3.0]


@pytest.mark.parametrize("initial", [0, 1025])
def test_values_out_of_range_are_refused(initial: int) -> None:
    with pytest.raises(PolicySpecError, match=f"heuristic: initial = {initial}; it must be in"):
        make_policy(f"heuristic:initial={initial}")
