"""Drafters in a controller: who drafts, who catches up, and what it costs."""

from typing import Any

import numpy as np
import pytest

from adaptive_spec import (
    ConfigError,
    ConstantCosts,
    Controller,
    Cycle,
    Decision,
    Empty,
    PolicyContractError,
    State,
)
from tests.controller.driven import Stubborn, ints


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
