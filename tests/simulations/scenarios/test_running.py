"""Scenarios run: requests as they were asked for, promises judged, bounds that nobody beats."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConfigError, ConstantCosts
from adaptive_spec.simulations import replay
from adaptive_spec.simulations.bootstrap import Interval
from adaptive_spec.simulations.hindsight import least_passes
from adaptive_spec.simulations.scenarios import (
    Scenario,
    ScenarioResult,
    ScenarioRun,
    Workload,
    draw,
    load_scenario,
    made_up_trace,
    scenario_names,
)
from adaptive_spec.simulations.scenarios.degrading import degraded
from adaptive_spec.simulations.scenarios.scenario import ArrivalPlan, Degradation
from adaptive_spec.simulations.scenarios.verdicts import at_most
from adaptive_spec.simulations.serving import ArrivalLog, OpenLoop
from adaptive_spec.traces import Hazards, SequenceTrace, TraceInfo, TraceSet, synthetic_trace
from tests.traces.examples import example_trace


def scenario(name: str, requests: int = 80, **changes: Any) -> Scenario:
    return dataclasses.replace(load_scenario(name), requests=requests, **changes)


def drawn(chosen: Scenario, traces: TraceSet | None = None, seed: int = 0) -> Workload:
    costs = chosen.costs.model(chosen.max_batch, chosen.max_draft_tokens)
    return draw(
        chosen,
        traces or made_up_trace(chosen, seed),
        costs=costs,
        generator=np.random.default_rng(seed),
        made_up=traces is None,
    )


def ran(chosen: Scenario, policy: str) -> ScenarioResult:
    costs = chosen.costs.model(chosen.max_batch, chosen.max_draft_tokens)
    return ScenarioRun(chosen, drawn(chosen), costs=costs).run(policy)


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_runs(name: str) -> None:
    chosen = scenario(name)
    result = ran(chosen, "fixed:tau=3")
    assert result.figures.requests == 80
    assert sum(figures.requests for figures in result.by_class.values()) == 80
    promised = sum(
        (k.average_passes is not None) + (k.p95_plain_passes is not None) for k in chosen.classes
    )
    assert len(result.verdicts) == promised + 1
    assert result.verdicts[-1].promise == "speedup over plain"
    report = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert report["policy"] == "fixed:tau=3"
    assert report["succeeded"] == all(p["verdict"] == "kept" for p in report["promises"])


def test_plain_decoding_is_as_fast_as_itself() -> None:
    result = ran(scenario("batch-summarisation"), "fixed:tau=0")  # promises nothing
    assert result.speedup == (1.0, 1.0, 1.0)


def test_nobody_beats_the_bounds() -> None:
    chosen = scenario("writing-assistant", 200)
    costs = chosen.costs.model(chosen.max_batch, chosen.max_draft_tokens)
    run = ScenarioRun(chosen, drawn(chosen), costs=costs)
    for policy in ("fixed:tau=10", "ewma"):
        for figures, bound in zip(run.run(policy).by_class.values(), run.bounds, strict=True):
            assert figures.passes_per_request.value >= bound.passes
            assert figures.latency_ms.p95.value >= bound.latency_ms - 1e-9


def test_completions_have_the_lengths_and_passes_asked_for() -> None:
    chosen = scenario("writing-assistant", 300)
    work = drawn(chosen)
    assert work.traces.windows.num_tokens.min() >= 6
    assert work.traces.windows.num_tokens.max() <= 24
    assert least_passes(work.traces).max() <= 2
    assert np.bincount(work.requests.request_class) == pytest.approx([210, 90], abs=40)  # type: ignore[arg-type]
    assert isinstance(work.requests.arrivals, OpenLoop)


def test_the_load_is_that_of_plain_decoding_in_full_batches() -> None:
    chosen = scenario("chat", 400)
    work = drawn(chosen)
    flat = work.traces.flat()
    arrivals = work.requests.arrivals
    assert isinstance(arrivals, OpenLoop)
    busy = (flat.num_tokens / chosen.max_batch + 1).sum()  # prompts of 90 tokens take a pass
    assert busy / arrivals.times_ms[-1] == pytest.approx(0.7, rel=0.1)


def test_recorded_arrivals_are_taken_as_they_are_or_stretched() -> None:
    times = np.array([10.0, 11.0, 15.0, 30.0])
    log = ArrivalLog(OpenLoop(times), ("background", "", "background", "background"))
    chosen = scenario("traffic-spike", 4, arrivals=ArrivalPlan(log=log))
    in_ms = ConstantCosts(plain_ms=20.0)
    generator = np.random.default_rng(0)
    work = draw(chosen, made_up_trace(chosen, 0), costs=in_ms, generator=generator, made_up=True)
    assert isinstance(work.requests.arrivals, OpenLoop)
    assert work.requests.arrivals.times_ms.tolist() == times.tolist()
    assert work.requests.request_class is not None
    assert work.requests.request_class[[0, 2, 3]].tolist() == [1, 1, 1]
    with pytest.raises(ConfigError, match="the log is in ms, but times are in plain"):
        draw(
            chosen,
            made_up_trace(chosen, 0),
            costs=ConstantCosts(),
            generator=generator,
            made_up=True,
        )
    half, full = (
        drawn(dataclasses.replace(chosen, arrivals=ArrivalPlan(load, log=log))).requests.arrivals
        for load in (0.5, 1.0)
    )
    assert isinstance(half, OpenLoop)
    assert isinstance(full, OpenLoop)
    np.testing.assert_allclose(half.times_ms, 2 * full.times_ms)
    np.testing.assert_allclose(np.diff(full.times_ms) / full.times_ms[-1], [0.05, 0.2, 0.75])


def test_texts_are_drawn_by_category_and_length_of_prompt() -> None:
    traces = example_trace(num_sequences=30, signals=False)
    kind = dataclasses.replace(
        load_scenario("chat").classes[0], categories=("code",), prompt_tokens=(3, 8)
    )
    work = drawn(scenario("chat", classes=(kind,)), traces)
    picked = traces.select(np.unique(work.traces.windows.sequence))
    assert {s.category for s in picked} == {"code"}
    assert min(s.prompt_tokens for s in picked) >= 3
    assert work.notes == ()
    other = dataclasses.replace(kind, categories=("poetry",))
    notes = drawn(scenario("chat", classes=(other,)), traces).notes
    assert "class chat: the trace has no prompts of poetry; taken from all" in notes[0]


@pytest.mark.parametrize(
    ("asked", "taken", "said"),
    [
        ((12, 30), {12, 16}, None),
        ((301, 9999), {14, 16}, "of 14 to 16"),
        ((1, 2), {4, 6}, "of 4 to 6"),
        ((13, 13), {12, 14}, "of 12 to 14"),
    ],
)
def test_the_nearest_prompts_stand_in_for_lengths_that_a_trace_lacks(
    asked: tuple[int, int], taken: set[int], said: str | None
) -> None:
    lengths = [4, 6, 8, 9, 10, 12, 14, 16] if said else [4, 6, 8, 12, 16]
    made = synthetic_trace(Hazards(0.1), num_sequences=len(lengths))
    traces = TraceSet(
        made.info,
        tuple(dataclasses.replace(s, prompt_tokens=n) for s, n in zip(made, lengths, strict=True)),
    )
    kind = dataclasses.replace(load_scenario("chat").classes[0], prompt_tokens=asked, categories=())
    work = drawn(scenario("chat", classes=(kind,)), traces)
    picked = traces.select(np.unique(work.traces.windows.sequence))
    assert {s.prompt_tokens for s in picked} == taken
    expected = () if said is None else (f"taken from those that come nearest, {said}",)
    assert tuple(note.partition("; ")[2] for note in work.notes) == expected


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_runs_on_a_few_short_prompts(name: str) -> None:
    traces = synthetic_trace(Hazards(0.1), num_sequences=8, num_tokens=96, prompt_tokens=200)
    assert len(drawn(scenario(name), traces).requests.sequence) == 80


def test_a_trace_without_fitting_texts_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no answer of at least 64 .* --max-new-tokens 64"):
        drawn(scenario("traffic-spike"), synthetic_trace(Hazards(0.1), num_tokens=48))
    short = scenario("writing-assistant", classes=load_scenario("writing-assistant").classes[:1])
    with pytest.raises(ConfigError, match="hardly any completion of 6 to 24 tokens"):
        drawn(short, synthetic_trace(Hazards(1.0)))


def test_the_same_seed_draws_the_same() -> None:
    chosen = scenario("drafter-degrades")
    first, second = drawn(chosen, seed=3), drawn(chosen, seed=3)
    for a, b in zip(first.traces.windows, second.traces.windows, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("drafting", ["token", "block"])
def test_a_degraded_drafter_is_right_less_often(drafting: Any) -> None:
    bits = np.random.default_rng(0).random(4000) < 0.8
    runs = np.minimum.accumulate(np.where(bits, 4000, np.arange(4000))[::-1])[::-1]
    runs = runs - np.arange(4000)
    sequence = SequenceTrace("a", "", 5, runs, np.ones(4000, np.bool_))
    traces = TraceSet(TraceInfo("v", "d", drafting), (sequence,))
    worse = degraded(traces, 0.5, np.random.default_rng(1)).sequences[0]
    assert worse.agreement.mean() == pytest.approx(0.4, abs=0.03)
    assert (worse.run_lengths <= sequence.run_lengths).all()
    assert degraded(traces, 1.0, np.random.default_rng(1)).sequences[0].run_lengths.tolist() == (
        runs.tolist()
    )


def test_requests_after_the_change_meet_the_degraded_drafter() -> None:
    chosen = scenario("drafter-degrades", 200, degradation=Degradation(0.5, 0.0))
    work = drawn(chosen)
    result = replay("fixed:tau=3", work.traces, costs=ConstantCosts())
    assert result.num_accepted_tokens[:100].sum() > 0
    assert result.num_accepted_tokens[100:].sum() == 0


def test_latencies_in_milliseconds_need_costs_in_milliseconds() -> None:
    kind = dataclasses.replace(
        load_scenario("chat").classes[0], p95_plain_passes=None, p95_ms=250.0
    )
    assert kind.target_ms(ConstantCosts(plain_ms=20.0)) == 250.0
    with pytest.raises(ConfigError, match="class 'chat': p95_ms = 250, but times are in plain"):
        kind.target_ms(ConstantCosts())
    for name in scenario_names():  # whose costs are in plain passes, whatever their shape
        with pytest.raises(ConfigError, match="p95_ms = 250, but times are in plain"):
            kind.target_ms(load_scenario(name).costs.model(4, 4))


def test_costs_saturate() -> None:
    costs = load_scenario("batch-summarisation").costs.model(16, 10)  # at 64 tokens
    one = np.zeros(1, np.int64)
    for batch, tau, expected in [(1, 10, 1.0), (8, 7, 1.0), (16, 3, 1.0), (16, 7, 2.0)]:
        assert costs.verify_ms(one + tau, batch, one + 50)[0] == pytest.approx(expected)
    assert costs.verify_ms(one + 639, 1, one)[0] == pytest.approx(10.0)
    assert costs.draft_ms(one + 4, 16, one)[0] == pytest.approx(0.12)


@pytest.mark.parametrize(
    ("value", "nearest", "verdict", "clear"),
    [
        (Interval(1.8, 1.7, 1.9), 1.5, "kept", True),
        (Interval(1.8, 1.7, 2.1), 1.5, "kept", False),
        (Interval(1.8, 1.7, math.inf), 1.5, "kept", False),
        (Interval(2.01, 1.9, 2.1), 1.5, "kept", False),
        (Interval(2.2, 2.1, 2.3), 1.5, "not kept", True),
        (Interval(2.2, 1.9, 2.3), 1.5, "not kept", False),
        (Interval(2.2, 2.1, 2.3), 2.05, "infeasible", True),
    ],
)
def test_verdicts(value: Interval, nearest: float, verdict: str, clear: bool) -> None:
    got = at_most("a", "average passes", value, 2.0, nearest, 0.01)
    assert (got.verdict, got.clear) == (verdict, clear)
