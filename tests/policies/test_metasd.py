"""MetaSD: the choice between two drafters worked by hand."""

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, PolicySpecError, make_policy
from adaptive_spec.policies.metasd import MetaSD


def drafters_chosen(
    policy: MetaSD, runs: tuple[int, int], available: list[tuple[bool, bool]]
) -> list[int]:
    """Who drafts in each cycle, when the two drafters' run lengths are ``runs``."""
    controller = Controller(policy, costs=ConstantCosts(), drafters=("a", "b"))
    rows = controller.admit(np.array([10]), np.array([1000]))
    chosen = []
    for there in available:
        plan = controller.decide(rows, np.array([there]))
        drafter = int(plan.drafter[0])
        drafted = plan.tau if drafter >= 0 else np.zeros_like(plan.tau)
        accepted = np.minimum(drafted, runs[drafter])
        controller.observe(plan, drafted, accepted, accepted + 1)
        chosen.append(drafter)
    return chosen


def test_by_hand() -> None:
    # The first is always refused (r = 0), the second always accepted (r = 1). Each once; then
    # t = 2: equal bonuses                                          -> b
    # t = 3: 0 + sqrt(2 ln 3) = 1.482, 1 + sqrt(2 ln 3 / 2) = 2.048 -> b
    # t = 4: sqrt(2 ln 4) = 1.665, 1 + sqrt(2 ln 4 / 3) = 1.961     -> b
    # t = 5: sqrt(2 ln 5) = 1.794, 1 + sqrt(2 ln 5 / 4) = 1.897     -> b
    # t = 6: sqrt(2 ln 6) = 1.893, 1 + sqrt(2 ln 6 / 5) = 1.847     -> a
    assert drafters_chosen(MetaSD(tau=2), (0, 2), [(True, True)] * 7) == [0, 1, 1, 1, 1, 1, 0]


def test_the_reward_is_the_share_of_tokens_asked_for() -> None:
    controller = Controller(MetaSD(tau=4), costs=ConstantCosts())
    plan = controller.decide(controller.admit(np.array([10]), np.array([100])))
    drafted = np.array([2])  # a lookup whose match was short
    controller.observe(plan, drafted, np.array([1]), np.array([2]))
    assert controller.state.rows.rewards[0, 0] == 0.25


def test_small_beta_stays_with_the_better_one() -> None:
    both = [(True, True)] * 40
    assert drafters_chosen(MetaSD(2, beta=0.01), (0, 2), both)[2:] == [1] * 38


def test_only_those_that_are_available_are_asked() -> None:
    there = [(False, True), (True, False), (False, False), (True, True), (True, False)]
    assert drafters_chosen(MetaSD(tau=2), (0, 2), there) == [1, 0, -1, 1, 0]


@pytest.mark.parametrize("spec", ["metasd:tau=0", "metasd:beta=0", "metasd:beta=2000"])
def test_values_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(PolicySpecError, match=r"metasd: \w+ = .*must be in"):
        make_policy(spec)
