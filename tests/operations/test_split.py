"""A trial gives requests to another policy by the hash of their ids, and disturbs no other."""

from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConfigError, ConstantCosts, Controller, Policy, make_policy
from adaptive_spec.operations.requests import RequestRecord, Requests
from adaptive_spec.operations.split import Split
from adaptive_spec.operations.trial_report import TrialWatch
from adaptive_spec.randomness import request_key
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.testing import check_policy
from adaptive_spec.traces.synthetic import Hazards, synthetic_trace
from adaptive_spec.traces.windows import WindowedTrace, Windows
from tests.operations.driving import admit

COSTS = ConstantCosts(draft=0.1, plain_ms=10.0)


def split(control: str, trial: str, share: float = 0.5, salt: str = "") -> Split:
    return Split(make_policy(control), make_policy(trial), share, salt)


@pytest.mark.parametrize(
    ("control", "trial"),
    [
        ("ewma", "cascade"),  # nothing is shared: rows must not depend on one another
        ("hazard", "confidence"),
        ("marginal", "fixed:tau=3"),
        ("bandit", "marginal:inside=false"),
    ],
)
def test_it_is_a_policy(control: str, trial: str) -> None:
    check_policy(split(control, trial), max_examples=8)


def keys(count: int) -> Any:
    return np.array([request_key(f"request {i}") for i in range(count)], np.int64)


def test_arms_go_by_ids_and_by_nothing_else() -> None:
    drawn = split("ewma", "hazard", 0.3, "spring").in_trial(keys(4000))
    assert abs(drawn.mean() - 0.3) < 0.03
    assert (drawn == split("fixed", "fixed", 0.3, "spring").in_trial(keys(4000))).all()
    larger = split("ewma", "hazard", 0.6, "spring").in_trial(keys(4000))
    assert not (drawn & ~larger).any(), "who is in a trial stays in it when it grows"
    other = split("ewma", "hazard", 0.3, "autumn").in_trial(keys(4000))
    assert abs((drawn & other).mean() - 0.09) < 0.02, "trials are drawn independently"
    assert not split("ewma", "hazard", 0.0).in_trial(keys(500)).any()
    assert split("ewma", "hazard", 1.0).in_trial(keys(500)).all()


def serve(policy: Policy[Any, Any], ids: list[str], cycles: int = 40) -> dict[str, list[int]]:
    """tau of each request's cycles; they run together, each with run lengths of its own."""
    controller = Controller(policy, costs=COSTS, lockstep=False, seed=3)
    rows = admit(controller, *ids)
    chance = np.random.default_rng(0)
    taus = []
    for _ in range(cycles):
        runs = chance.geometric(0.3, len(ids)) - 1
        plan = controller.decide(rows)
        kept = np.minimum(plan.tau, runs)
        controller.observe(plan, plan.tau, kept, kept + 1)
        taus.append(plan.tau.tolist())
    return dict(zip(ids, np.array(taus).T.tolist(), strict=True))


@pytest.mark.parametrize("control", ["ewma", "hazard", "marginal"])
def test_requests_outside_the_trial_do_not_feel_it(control: str) -> None:
    ids = [f"request {i}" for i in range(12)]
    tried = split(control, "fixed:tau=7")
    in_trial = dict(zip(ids, tried.in_trial(keys(12)).tolist(), strict=True))
    assert len(set(in_trial.values())) == 2
    with_one = serve(tried, ids)
    with_other = serve(split(control, "fixed:tau=0"), ids)
    for name in ids:
        if in_trial[name]:
            assert set(with_one[name]) == {7}
        else:
            assert with_one[name] == with_other[name]


def test_a_row_decides_as_its_policy_does_alone() -> None:
    ids = [f"request {i}" for i in range(8)]
    alone, both = serve(make_policy("ewma"), ids), serve(split("ewma", "cascade"), ids)
    trial = serve(make_policy("cascade"), ids)
    for name, drawn in zip(ids, split("ewma", "cascade").in_trial(keys(8)).tolist(), strict=True):
        assert both[name] == (trial if drawn else alone)[name]


def test_arms_keep_the_promises_together() -> None:
    assert split("ewma", "hazard").heeds_prices
    assert not split("ewma", "heuristic").heeds_prices, "or one arm would ignore the price"
    assert split("ewma", "marginal").looks_back
    assert split("ewma", "marginal").looks_inside_draft
    assert not split("ewma", "marginal").needs_signals
    assert split("marginal", "confidence").needs_signals


def test_arms_are_merged_apart() -> None:
    policy = split("hazard", "ewma")
    shared = policy.init(0, 0).shared
    merged = policy.merge([shared, shared], np.full(2, 0.5))
    assert merged.control.tested.tolist() == shared.control.tested.tolist()
    assert merged.trial == ()


def test_a_share_beyond_all_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"share = 1.5; it must be in \[0, 1\]"):
        split("ewma", "hazard", 1.5)


def record(name: str, tokens: int, ms: float, passes: int, finished: bool = True) -> RequestRecord:
    key = request_key(name)
    return RequestRecord(
        name, key, "all", finished, 0.0, 1.0, 5, tokens, passes, 0, 2 * passes, passes, 0.0, ms
    )


def test_both_arms_are_reported_with_intervals() -> None:
    policy = split("ewma", "hazard")
    watch, chance = TrialWatch(policy), np.random.default_rng(1)
    for i, drawn in enumerate(policy.in_trial(keys(600)).tolist()):
        tokens = int(chance.integers(20, 200))
        ms = tokens * (8.0 if drawn else 10.0) * chance.uniform(0.5, 1.5)
        watch(record(f"request {i}", tokens, ms, tokens // 2))
    watch(record("request 0", 50, 1e9, 50, finished=False))
    report = watch.report()
    assert report.control.requests + report.trial.requests == 600
    assert report.control.cancelled + report.trial.cancelled == 1
    assert report.time_ratio.low < 0.8 < report.time_ratio.high
    assert report.time_ratio.high - report.time_ratio.low < 0.15
    assert report.passes_ratio.low < 1.0 < report.passes_ratio.high
    assert report.control.ms_per_token.low < 10.0 < report.control.ms_per_token.high


def test_intervals_hold_what_they_promise() -> None:
    policy, held = split("ewma", "hazard"), 0
    for trial in range(200):
        watch, chance = TrialWatch(policy), np.random.default_rng(trial)
        for i in range(80):
            tokens = int(chance.integers(10, 100))
            watch(record(f"request {i}", tokens, tokens * chance.exponential(5.0), tokens))
        ratio = watch.report().time_ratio
        held += ratio.low < 1.0 < ratio.high
    # 95 % nominal; below 88 % of 200 has a chance of 1e-4 at 95 %, a little more as n is small.
    assert held >= 176


def test_nothing_is_claimed_of_what_was_not_seen() -> None:
    policy = split("ewma", "hazard", share=0.0)
    watch = TrialWatch(policy)
    watch(record("request 0", 10, 100.0, 5))
    report = watch.report()
    assert report.control.ms_per_token.value == 10.0
    assert np.isnan([report.control.ms_per_token.low, report.time_ratio.value]).all()


def test_requests_of_a_controller_are_reported() -> None:
    policy = split("fixed:tau=1", "fixed:tau=5")
    controller = Controller(policy, costs=COSTS)
    watch = TrialWatch(policy)
    Requests(controller, watch)
    ids = [f"request {i}" for i in range(20)]
    rows = admit(controller, *ids)
    for _ in range(5):
        plan = controller.decide(rows)
        kept = np.minimum(plan.tau, 5)
        controller.observe(plan, plan.tau, kept, kept + 1)
    controller.release(rows)
    report = watch.report()
    assert report.control.tokens == 5 * 2 * report.control.requests
    assert report.trial.tokens == 5 * 6 * report.trial.requests
    assert report.passes_ratio.value == pytest.approx(2 / 6)


@pytest.mark.parametrize("order", [None, np.arange(40)[::-1]])
@pytest.mark.parametrize("concurrency", [None, 3])
def test_a_replay_has_the_same_requests_in_the_trial(order: Any, concurrency: int | None) -> None:
    trace = synthetic_trace(Hazards(0.3), num_sequences=40, num_tokens=12)
    policy = split("fixed:tau=0", "fixed:tau=3")
    replayed = replay(policy, trace, costs=COSTS, order=order, concurrency=concurrency)
    live = policy.in_trial(np.array([request_key(one.id) for one in trace]))
    assert 0 < live.sum() < 40
    assert ((replayed.num_draft_tokens > 0) == live).all()


def test_windows_of_a_text_are_requests_of_their_own() -> None:
    trace = synthetic_trace(Hazards(0.3), num_sequences=2, num_tokens=30)
    whole = Windows(*(np.array(column) for column in ([1, 1], [0, 9], [9, 20], [9, 20])))
    flat = WindowedTrace(trace, whole).flat()
    name = trace.sequences[1].id
    assert flat.ids.tolist() == [f"{name}[0:9]", f"{name}[9:29]"]
    assert flat.take(np.array([1])).ids.tolist() == [f"{name}[9:29]"]
