"""UCBSpec and EXP3Spec: decisions worked by hand from the paper's formulas."""

import numpy as np
import pytest

from adaptive_spec import (
    ConstantCosts,
    Constraints,
    Controller,
    PassBudget,
    PolicySpecError,
    make_policy,
)
from adaptive_spec.policies.banditspec import EXP3Spec, UCBSpec
from tests.policies.driving import drive

HALF = ConstantCosts(draft=0.5)
"""Costs 1 and 1.5. Most tokens per ms: 2 / 1.5, so r = tokens / ms * 0.75."""


def test_ucbspec_by_hand() -> None:
    # Every draft is refused: r = 0.75 for arm 0 (1 token in 1 ms), 0.5 for arm 1 (1 in 1.5 ms).
    # radius = sqrt((1 + n) / n^2 * (1 + 2 ln(2 t^2 sqrt(1 + n)))) / 2, here with delta = 1.
    #  t  n0 n1   arm 0                                     arm 1
    #  0   0  0   each once, in order                       -> 0
    #  1   1  0                                             -> 1
    #  2   1  1   equal radii, 0.75 > 0.5                   -> 0
    #  3   2  1   0.75 + sqrt(0.75 * 7.880) / 2 = 1.966     0.5 + sqrt(2 * 7.474) / 2 = 2.433
    #  4   2  2   equal radii                               -> 0
    #  5   3  2   0.75 + sqrt(.4444 * 10.21) / 2 = 1.815    0.5 + sqrt(0.75 * 9.923) / 2 = 1.864
    #  6   3  3   equal radii                               -> 0
    #  7   4  3   0.75 + sqrt(.3125 * 11.78) / 2 = 1.709    0.5 + sqrt(.4444 * 11.56) / 2 = 1.633
    policy = UCBSpec(arms=(0, 1), delta=1.0)
    assert drive(policy, [0] * 8, HALF, 1) == [0, 1, 0, 1, 0, 1, 0, 0]


def test_smaller_delta_explores_more() -> None:
    bold, careful = (drive(UCBSpec((0, 1), delta), [0] * 60, HALF, 1) for delta in (1.0, 1e-6))
    assert bold.count(1) < careful.count(1) <= 30


def test_exp3spec_by_hand() -> None:
    # First p = 1/2 each. The loss of the arm drawn: (1 - r) / p = 0.25 / 0.5 = 0.5 for arm 0, or
    # 0.5 / 0.5 = 1 for arm 1. Then eta = sqrt(ln 2 / (2 * 2)) = 0.41628, so that the arm drawn has
    # p = 1 / (1 + e^(0.41628 * 0.5)) = 0.44815, or 1 / (1 + e^0.41628) = 0.39741.
    for seed in range(4):
        controller = Controller(EXP3Spec((0, 1)), costs=HALF, max_draft_tokens=1, seed=seed)
        rows = controller.admit(np.array([10]), np.array([100]))
        plan = controller.decide(rows)
        assert plan.decision.memo.probability.tolist() == [0.5]
        arm = int(plan.decision.memo.arm[0])
        controller.observe(plan, plan.tau, np.array([0]), np.array([1]))
        assert controller.state.rows.losses[0, [arm, 1 - arm]].tolist() == [(0.5, 1.0)[arm], 0.0]
        again = controller.decide(rows).decision.memo
        lower = (0.44815, 0.39741)[arm]
        expected = lower if again.arm[0] == arm else 1 - lower
        assert again.probability.tolist() == pytest.approx([expected], abs=1e-5)


@pytest.mark.parametrize("name", ["ucbspec", "exp3spec"])
def test_they_learn_what_pays(name: str) -> None:
    policy, dear = make_policy(f"{name}:arms=0/4"), ConstantCosts(draft=0.5)
    assert drive(policy, [0] * 400, dear)[-100:].count(0) > 70
    assert drive(policy, [4] * 400, ConstantCosts(draft=0.02))[-100:].count(4) > 70


@pytest.mark.parametrize("name", ["ucbspec", "exp3spec"])
def test_each_sequence_is_on_its_own(name: str) -> None:
    assert Controller(make_policy(name), costs=HALF).sequences_are_independent


@pytest.mark.parametrize("name", ["ucbspec", "exp3spec"])
def test_an_arm_that_a_hard_budget_overruled_is_not_credited(name: str) -> None:
    policy = make_policy(f"{name}:arms=0/1")
    constraints = Constraints(PassBudget(max_passes=2))
    controller = Controller(policy, costs=HALF, max_draft_tokens=4, constraints=constraints)
    plan = controller.decide(controller.admit(np.array([5]), np.array([8])))
    assert plan.tau.tolist() == [3]
    before = controller.state
    controller.observe(plan, plan.tau, plan.tau, plan.tau + 1)
    assert [part.tolist() for part in controller.state.rows] == [
        part.tolist() for part in before.rows
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ucbspec:arms=1/1", "must differ"),
        ("exp3spec:arms=-1/2", ">= 0"),
        ("exp3spec:arms=2000", "at most 1024"),
        ("ucbspec:delta=0", r"delta = 0.0; it must be in \(0, 1\]"),
    ],
)
def test_values_out_of_range_are_refused(spec: str, message: str) -> None:
    with pytest.raises(PolicySpecError, match=message):
        make_policy(spec)
