"""States of replicas taken together: copies are as one, and evidence adds up."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_spec import ConfigError, State, make_policy
from adaptive_spec.policies._history import Past, chances
from adaptive_spec.policies._logistic import Weights
from adaptive_spec.state import leaves
from adaptive_spec.testing.histories import History, Play
from adaptive_spec.testing.strategies import histories
from tests.policies.driving import Inside

MERGED = ("marginal", "hazard", "portfolio", "auto", "heuristic", "sglang-tiers", "specdec-pp")


def learned(policy: Any, history: History, shared: Any = None) -> tuple[Any, list[list[int]]]:
    """The shared state after a history, and its decisions; ``shared`` is to begin from."""
    life = Play(policy, history)
    if shared is not None:
        life.controller.state = State(life.controller.state.rows, shared)
    taus = [step.tau.tolist() for step in life]
    return life.controller.state.shared, taus


def after_runs(spec: str, runs: Any) -> Any:
    """The shared state after one sequence with these run lengths."""
    one = Inside(make_policy(spec))
    for run in runs.tolist():
        if one.controller.policy.looks_inside_draft:
            one.cycle(run)
        else:
            plan = one.controller.decide(one.rows)
            kept = np.minimum(plan.tau, run)
            one.controller.observe(plan, plan.tau, kept, kept + 1)
    return one.state.shared


def geometric(seed: int) -> Any:
    """Run lengths of drafts whose tokens are accepted with a chance of 0.8."""
    return np.random.default_rng(seed).geometric(0.2, 150) - 1


@pytest.mark.parametrize("spec", MERGED)
@settings(max_examples=5)
@given(histories(), histories(), st.sampled_from([1, 2, 4]))
def test_copies_of_a_state_decide_as_that_state(
    spec: str, before: History, after: History, copies: int
) -> None:
    policy = make_policy(spec)
    one, _ = learned(policy, before)
    merged = policy.merge([one] * copies, np.full(copies, 1.0 / copies))
    for (name, a), (_, b) in zip(leaves(merged), leaves(one), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9, err_msg=name)
    assert learned(policy, after, merged)[1] == learned(policy, after, one)[1]


def test_evidence_adds_up_to_that_of_one_who_saw_it_all() -> None:
    policy = make_policy("hazard:discount=1.0")
    halves = [after_runs("hazard:discount=1.0", geometric(seed)) for seed in (1, 2)]
    merged = policy.merge(halves, np.ones(2))
    assert merged.tested.tolist() == (halves[0].tested + halves[1].tested).tolist()
    assert merged.accepted.tolist() == (halves[0].accepted + halves[1].accepted).tolist()
    rates = [half.tokens / half.passes for half in halves]
    assert min(rates) <= merged.tokens / merged.passes <= max(rates)


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_what_halves_taught_is_what_the_whole_teaches(weight: float) -> None:
    policy = make_policy("marginal")
    runs = [geometric(1), geometric(2)]
    states = [after_runs("marginal", part) for part in (*runs, np.concatenate(runs))]
    merged = policy.merge(states[:2], np.full(2, weight))
    expected, found, fresh = (
        chances(Past.fresh(1), learned, 0, 5)[0]
        for learned in (states[2].learned, merged.learned, policy.init(0, 0).shared.learned)
    )
    assert np.abs(found - expected).max() < 0.05
    assert np.abs(found - expected).max() < 0.3 * np.abs(fresh - expected).max()
    if weight == 1.0:
        sure = np.diagonal(states[2].learned.weights.precision[0])
        np.testing.assert_allclose(
            np.diagonal(merged.learned.weights.precision[0]), sure, rtol=0.25
        )


def test_weights_are_of_evidence_beyond_the_prior() -> None:
    prior = Weights.prior(np.array([0.5, -1.0]), 0.3, 1)
    features = np.random.default_rng(0).normal(size=(40, 2))
    happened = (features[:, 0] > 0).astype(np.float64)
    regression, weight = np.zeros(40, np.int64), np.ones(40)
    one = prior.learn(regression, features, happened, weight, prior=prior, memory=1e9)
    same = Weights.merged([one, prior], np.ones(2), prior)
    np.testing.assert_allclose(same.mean, one.mean, rtol=1e-9)
    np.testing.assert_allclose(same.precision, one.precision, rtol=1e-9)


def test_the_tier_that_was_seen_most_goes_on() -> None:
    policy = make_policy("sglang-tiers")
    fresh = policy.init(0, 0).shared
    seen = fresh._replace(tier=fresh.tier + 1, batches=np.array([9, 0, 3, 0]))
    merged = policy.merge([fresh, seen], np.ones(2))
    assert merged.tier.tolist() == (fresh.tier + np.array([1, 0, 1, 0])).tolist()


def test_a_policy_that_shares_and_does_not_say_how_is_refused() -> None:
    policy = make_policy("bandit")
    with pytest.raises(
        ConfigError, match=r"Bandit: shares what it learns .* override Policy\.merge"
    ):
        policy.merge([policy.init(0, 0).shared] * 2, np.ones(2))
    alone = make_policy("ewma")
    assert alone.merge([alone.init(0, 0).shared] * 2, np.ones(2)) == ()
