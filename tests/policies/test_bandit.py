"""The bandits: indices worked by hand, and that each finds the better arm, fallback included."""

import math

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
from adaptive_spec.policies.bandit import Bandit
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces import SequenceTrace, TraceInfo, TraceSet, run_lengths_of
from tests.policies.driving import drive

ALGORITHMS = ["ucb1", "ucb-tuned", "thompson", "exp3"]


def trace_of(acceptance: float, tokens: int = 3000) -> TraceSet:
    bits = np.random.default_rng(3).random(tokens) < acceptance
    sequence = SequenceTrace("a", "", 10, run_lengths_of(bits), np.ones(tokens, np.bool_))
    return TraceSet(TraceInfo("v", "d", "token"), (sequence,))


def test_ucb1_by_hand() -> None:
    # Two arms, costs 1 and 1.5; most tokens per ms: 2 / 1.5, so r = tokens / ms * 0.75.
    # Pull 0: r = 0.75.  Pull 1 (run 0): r = 0.5.  Then N = 2, n = 1 each: equal bonuses, arm 0.
    # N = 3: arm 0: 0.75 + sqrt(.5 ln 3 / 2) = 1.274, arm 1: 0.5 + sqrt(.5 ln 3) = 1.241 -> 0.
    # N = 4: arm 0: 0.75 + sqrt(.5 ln 4 / 3) = 1.231, arm 1: 0.5 + sqrt(.5 ln 4) = 1.333 -> 1.
    policy = Bandit(arms=(0, 1), discount=1.0)
    assert drive(policy, [0] * 5, ConstantCosts(draft=0.5), 1) == [0, 1, 0, 0, 1]


def test_ucb_tuned_by_hand() -> None:
    # With V = 0 the spread is min(1/4, sqrt(2 ln N / n)) = 1/4 here: a quarter under the root.
    # N = 3: 0.75 + sqrt(ln 3 / 2 / 4) = 1.121, 0.5 + sqrt(ln 3 / 4) = 1.024 -> 0.
    # N = 4: 0.75 + sqrt(ln 4 / 3 / 4) = 1.090, 0.5 + sqrt(ln 4 / 4) = 1.089 -> 0.
    # N = 5: 0.75 + sqrt(ln 5 / 4 / 4) = 1.067, 0.5 + sqrt(ln 5 / 4) = 1.134 -> 1.
    policy = Bandit(algorithm="ucb-tuned", arms=(0, 1), discount=1.0)
    assert drive(policy, [0] * 6, ConstantCosts(draft=0.5), 1) == [0, 1, 0, 0, 0, 1]


def test_exp3_weights_by_hand() -> None:
    policy = Bandit(algorithm="exp3", arms=(0, 1), gamma=0.5, discount=1.0)
    controller = Controller(policy, costs=ConstantCosts(draft=0.5), max_draft_tokens=1)
    rows = controller.admit(np.array([10]), np.array([100]))
    plan = controller.decide(rows)
    assert plan.decision.memo.probability.tolist() == [0.5]
    arm = int(plan.decision.memo.arm[0])
    controller.observe(plan, plan.tau, np.array([0]), np.array([1]))
    reward = 0.75 if arm == 0 else 0.5
    gain = 0.5 * reward / (0.5 * 2)
    difference = controller.state.shared.log_weight[0]
    assert difference[arm] - difference[1 - arm] == pytest.approx(gain)
    again = controller.decide(rows).decision.memo
    weight = 1 / (1 + math.exp(-gain))
    expected = 0.5 * (weight if again.arm[0] == arm else 1 - weight) + 0.25
    assert again.probability.tolist() == pytest.approx([expected])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("scope", ["shared", "sequence"])
def test_it_falls_back_where_drafting_never_pays(algorithm: str, scope: str) -> None:
    policy = make_policy(f"bandit:algorithm={algorithm},scope={scope},arms=0/2/6")
    result = replay(policy, trace_of(0.05), costs=ConstantCosts(draft=0.5), log_cycles=True)
    assert result.log is not None
    later = result.log.tau[result.log.tau.size // 2 :]
    assert (later == 0).mean() > 0.6


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_drafts_long_where_that_pays(algorithm: str) -> None:
    policy = make_policy(f"bandit:algorithm={algorithm},arms=0/2/6")
    costs = ConstantCosts(draft=0.02)
    result = replay(policy, trace_of(0.95), costs=costs, log_cycles=True)
    assert result.log is not None
    later = result.log.tau[result.log.tau.size // 2 :]
    assert (later == 6).mean() > 0.6


def test_it_finds_its_way_back_after_a_change() -> None:
    policy = Bandit(arms=(0, 4), discount=0.97)
    taus = drive(policy, [0] * 200 + [4] * 200)
    assert taus[150:200].count(4) < 25 < 40 < taus[-50:].count(4)


def test_statistics_are_shared_or_not_as_asked() -> None:
    for scope, shared in (("shared", True), ("sequence", False)):
        controller = Controller(make_policy(f"bandit:scope={scope}"), costs=ConstantCosts())
        assert controller.sequences_are_independent is not shared


def test_an_arm_above_the_cap_is_played_at_the_cap_and_learned() -> None:
    assert set(drive(Bandit(arms=(0, 8)), [9] * 30, max_draft_tokens=3)) == {0, 3}


def test_an_arm_that_a_hard_budget_overruled_is_not_credited() -> None:
    policy = Bandit(arms=(0, 2))
    controller = Controller(
        policy,
        costs=ConstantCosts(),
        max_draft_tokens=4,
        constraints=Constraints(PassBudget(max_passes=2)),
    )
    plan = controller.decide(controller.admit(np.array([5]), np.array([8])))
    assert (plan.decision.tau.tolist(), plan.tau.tolist()) == ([3], [3])
    controller.observe(plan, plan.tau, plan.tau, plan.tau + 1)
    assert controller.state.shared.sums.sum() == 0


def test_draws_depend_on_the_seed() -> None:
    trace, costs = trace_of(0.5, 400), ConstantCosts()
    logs = [
        replay("bandit:algorithm=thompson", trace, costs=costs, seed=seed, log_cycles=True).log
        for seed in (0, 0, 1)
    ]
    taus = [log.tau.tolist() for log in logs if log is not None]
    assert taus[0] == taus[1] != taus[2]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bandit:arms=1/2", "include 0"),
        ("bandit:arms=0/2/2", "differ"),
        ("bandit:discount=0", "discount"),
        ("bandit:gamma=2", "gamma"),
        ("bandit:exploration=-1", "exploration"),
        ("bandit:algorithm=best", "one of ucb1, ucb-tuned, thompson, exp3"),
    ],
)
def test_values_out_of_range_are_refused(spec: str, message: str) -> None:
    with pytest.raises(PolicySpecError, match=message):
        make_policy(spec)
