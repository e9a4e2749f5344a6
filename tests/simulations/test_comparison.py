"""Comparisons: marks, ratios, intervals, and what the JSON object holds."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given

from adaptive_spec import (
    ConfigError,
    ConstantCosts,
    Constraints,
    LatencyTarget,
    MeasuredCosts,
    PassBudget,
)
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.simulations.bootstrap import (
    Interval,
    percentile_interval,
    resampled_sums,
)
from adaptive_spec.simulations.comparison import best_static_tau, compare
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.testing import strategies
from adaptive_spec.traces import SequenceTrace, TraceInfo, TraceSet, run_lengths_of


def random_traces(acceptance: float, sequences: int = 30, seed: int = 0) -> TraceSet:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(sequences):
        bits = rng.random(int(rng.integers(40, 120))) < acceptance
        runs = run_lengths_of(bits)
        made.append(SequenceTrace(str(i), "", 20, runs, np.ones(bits.size, np.bool_)))
    return TraceSet(TraceInfo("v", "d", "token"), tuple(made))


COSTS = ConstantCosts(0.125)


def test_ratios_are_ratios_of_sums() -> None:
    traces = random_traces(0.6)
    result = compare(["fixed:tau=2"], traces, costs=COSTS, resamples=50)
    plain = replay("fixed:tau=0", traces, costs=COSTS).time_ms.sum()
    policy = replay("fixed:tau=2", traces, costs=COSTS).time_ms.sum()
    best = min(replay(f"fixed:tau={k}", traces, costs=COSTS).time_ms.sum() for k in range(11))
    entry = result.policies[0]
    assert entry.speedup_over_plain.value == pytest.approx(plain / policy)
    assert entry.speedup_over_best_static.value == pytest.approx(best / policy)
    optimum = result.optimum.summary.time_ms
    expected = (plain / policy - plain / best) / (plain / optimum - plain / best)
    assert entry.span_share is not None
    assert entry.span_share.value == pytest.approx(expected)


def test_marks_are_where_they_belong() -> None:
    result = compare(["ewma"], random_traces(0.6), costs=COSTS, resamples=50)
    assert result.plain.speedup_over_plain == (1.0, 1.0, 1.0)
    assert result.best_static.speedup_over_best_static == (1.0, 1.0, 1.0)
    assert result.best_static.span_share == (0.0, 0.0, 0.0)
    assert result.optimum.span_share == (1.0, 1.0, 1.0)
    assert result.best_static_tau == 3
    assert "hindsight" in result.best_static_from


def test_best_static_may_be_chosen_on_another_trace() -> None:
    poor, good = random_traces(0.1), random_traces(0.9, seed=1)
    result = compare([], good, costs=COSTS, best_static_from=poor, resamples=10)
    assert result.best_static_tau == best_static_tau(poor, costs=COSTS)[0] == 0
    assert result.best_static_from == "another trace"
    assert best_static_tau(good, costs=COSTS)[0] > 4


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    # 95 % intervals of a known ratio in 60 repetitions: fewer than 51 hits would be a false alarm
    # with probability below 0.5 % (binomial).
    truth = compare(
        ["fixed:tau=2"], random_traces(0.6, 2000, seed=99), costs=COSTS, resamples=1
    ).policies[0]
    hits = 0
    for seed in range(60):
        traces = random_traces(0.6, 40, seed=seed)
        entry = compare(
            ["fixed:tau=2"], traces, costs=COSTS, max_draft_tokens=2, resamples=300
        ).policies[0]
        interval = entry.speedup_over_plain
        hits += interval.low <= truth.speedup_over_plain.value <= interval.high
    assert hits >= 51


def test_the_json_object() -> None:
    traces = random_traces(0.5)
    result = compare(["ewma", Fixed(3)], traces, costs=COSTS, resamples=20)
    data = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert {"plain", "best_static", "optimum", "policies"} <= set(data)
    assert [entry["policy"] for entry in data["policies"]] == ["ewma", "fixed"]
    promised = {
        "policy", "time", "tokens", "cycles", "passes_per_request", "acceptance_rate",
        "speedup_over_plain", "speedup_over_best_static", "span_share", "ci95",
    }  # fmt: skip
    for entry in [data["plain"], data["best_static"], data["optimum"], *data["policies"]]:
        assert promised <= set(entry)
        for name, interval in entry["ci95"].items():
            assert interval[0] <= entry[name] + 1e-9
            assert entry[name] - 1e-9 <= interval[1]
    assert data["plain"]["acceptance_rate"] is None
    assert data["best_static"]["tau"] == result.best_static_tau


def test_a_label_is_the_spec_as_it_was_written() -> None:
    specs = ["fixed:tau=3", "ewma:margin=1"]
    result = compare(specs, random_traces(0.5), costs=COSTS, resamples=5)
    assert [entry.summary.policy for entry in result.policies] == specs


def test_without_a_span_there_is_no_share() -> None:
    never = random_traces(0.0)
    entry = compare(["ewma"], never, costs=COSTS, resamples=20).policies[0]
    assert entry.span_share is None
    assert entry.as_dict()["span_share"] is None


def test_a_budget_binds_the_policies_and_not_the_marks() -> None:
    traces = random_traces(0.5)
    constraints = Constraints(PassBudget(max_passes=10))
    result = compare(["fixed:tau=0"], traces, costs=COSTS, constraints=constraints, resamples=5)
    assert result.policies[0].summary.passes_per_request == 10
    assert result.plain.summary.tokens == traces.num_tokens
    assert result.policies[0].ended_by_budget == 30


def test_what_a_budget_cut_short_is_compared_on_the_tokens_it_emitted() -> None:
    # Easy for 40 tokens, then hard: whoever is cut after the easy part must not look clairvoyant.
    runs = run_lengths_of(np.array([True] * 39 + [False] * 41))
    sequences = (SequenceTrace("a", "", 5, runs, np.ones(80, np.bool_), limit_tokens=80),)
    traces = TraceSet(TraceInfo("v", "d", "token"), sequences)
    constraints = Constraints(PassBudget(max_passes=4))
    entry = compare(
        ["fixed:tau=10"], traces, costs=COSTS, constraints=constraints, resamples=5
    ).policies[0]
    assert entry.summary.tokens == 40
    assert entry.span_share is not None
    assert entry.span_share.value <= 1
    easy = TraceSet(
        traces.info, (SequenceTrace("a", "", 5, np.append(runs[:39], 0), np.ones(40, np.bool_)),)
    )
    whole = compare(["fixed:tau=10"], easy, costs=COSTS, resamples=5).policies[0]
    assert entry.speedup_over_plain.value == pytest.approx(whole.speedup_over_plain.value)


def test_a_deadline_that_nobody_meets_leaves_nothing_to_compare() -> None:
    traces = random_traces(0.5, 5)
    constraints = Constraints(latency=LatencyTarget(deadline_ms=0.5))
    result = compare(["fixed:tau=2"], traces, costs=COSTS, constraints=constraints, resamples=5)
    [entry] = result.policies
    assert math.isnan(entry.speedup_over_plain.value)
    assert entry[3:] == (None, None, 0, 5)
    assert math.isnan(entry.summary.tokens_per_ms)
    data = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert data["policies"][0]["ci95"]["speedup_over_plain"] is None


def test_what_a_deadline_cut_short_is_compared_on_the_tokens_it_emitted() -> None:
    # Reading a long context makes its passes so dear that the one of them is never begun.
    grid = np.array([[[1.0], [9.0]]])
    costs = MeasuredCosts((1,), (8, 800), (1,), grid, np.zeros((1, 2)), np.full((1, 2), 0.1))
    prompts = np.array([800, 8, 8])
    sequences = tuple(
        dataclasses.replace(s, prompt_tokens=int(n))
        for s, n in zip(random_traces(0.5, 3), prompts, strict=True)
    )
    traces = TraceSet(TraceInfo("v", "d", "token"), sequences)
    constraints = Constraints(latency=LatencyTarget(deadline_ms=5.0))
    result = compare(["fixed:tau=0"], traces, costs=costs, constraints=constraints, resamples=200)
    [entry] = result.policies
    assert entry.ended_by_deadline == 3
    assert entry.summary.sequences == 2
    # Plain decoding is what it does, on whatever prompts a resample draws.
    assert entry.speedup_over_plain == (1.0, 1.0, 1.0)
    json.dumps(result.as_dict(), allow_nan=False)


@given(strategies.traces(), strategies.cost_models())
def test_any_trace_can_be_compared(traces: TraceSet, costs: ConstantCosts) -> None:
    result = compare(["ewma"], traces, costs=costs, resamples=10)
    json.dumps(result.as_dict(), allow_nan=False)
    assert result.optimum.speedup_over_best_static.value >= 1 - 1e-9


def test_wrong_settings_are_refused() -> None:
    traces = random_traces(0.5, 3)
    with pytest.raises(ConfigError, match="resamples"):
        compare([], traces, costs=COSTS, resamples=0)
    with pytest.raises(ConfigError, match="order"):
        compare([], traces, costs=COSTS, order=[0, 1])


def test_resampling_is_paired_and_in_parts() -> None:
    values = np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
    sums = resampled_sums(values, 500, np.random.default_rng(0))
    assert sums.shape == (500, 2)
    assert (sums[:, 1] == 2 * sums[:, 0]).all()
    many = resampled_sums(np.ones((3_000_000, 1)), 3, np.random.default_rng(0))
    assert many.tolist() == [[3e6]] * 3


def test_percentiles() -> None:
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))


def test_an_interval_is_that_of_the_resamples() -> None:
    assert Interval.of(np.array([7.0, *range(101)])) == pytest.approx((7.0, 2.5, 97.5))
    assert Interval.of(np.array([7.0])) == (7.0, 7.0, 7.0)
