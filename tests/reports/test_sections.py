"""What each section makes of results: held against slow and plain ways of saying the same."""

import copy
import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from adaptive_spec.errors import ConfigError
from adaptive_spec.reports import calibration, comparisons, cost_curves, frontiers, hazards
from adaptive_spec.reports import over_time as times
from adaptive_spec.reports.charts import Axis, Chart, Panel, Series, rounded
from adaptive_spec.reports.reading import Fields
from adaptive_spec.reports.replays import sample
from adaptive_spec.reports.viewer import viewer
from adaptive_spec.simulations import replay
from adaptive_spec.simulations.evidence import Evidence, Settings
from adaptive_spec.traces import LoggedCycle, SequenceTrace, TraceInfo, TraceSet
from tests.reports.examples import (
    COSTS,
    INERT,
    POLICIES,
    comparison,
    example_evidence,
    example_replay,
    example_replays,
    example_report,
    example_trace,
    measured,
    pieces,
    scenario,
)


def chart_of(panel: Panel | None, title: str) -> Chart:
    assert panel is not None
    return next(chart for chart in panel.charts if chart.title == title)


def test_numbers_are_short_and_finite() -> None:
    assert [rounded(x) for x in (1.23456789, 2.0, np.nan, np.inf, None, 1e9)] == [
        *(1.2346, 2, None, None, None, 1_000_000_000)
    ]
    series = Series("s", np.array([1.0, np.nan]), [None, 2.0]).as_dict()
    assert (series["x"], series["y"]) == ([1, None], [None, 2])
    assert Chart("c", Axis("x"), None, ()).as_dict()["kind"] == "rows"


def test_a_comparison_has_a_row_for_each_policy_the_fastest_first() -> None:
    given = comparison()
    panel = comparisons.of_comparison("c.json", Fields("c.json", given))
    speed = chart_of(panel, "speed over plain decoding")
    assert {one.name for one in speed.series} == set(POLICIES)
    values = [float(one.x[0] or 0) for one in speed.series]
    assert values == sorted(values, reverse=True)
    for one in speed.series:
        entry = next(e for e in given["policies"] if e["policy"] == one.name)
        assert [*one.low, *one.high] == entry["ci95"]["speedup_over_plain"]
    passes = [float(one.x[0] or 0) for one in chart_of(panel, "passes per request").series]
    assert passes == sorted(passes)  # the fewest first
    assert [mark.at for mark in speed.marks] == [
        given[name]["speedup_over_plain"] for name in ("plain", "best_static", "optimum")
    ]
    said = comparisons.headline(Fields("c.json", given))
    assert said is not None
    assert said.startswith(f"{speed.series[0].name} is the fastest of 3: {values[0]:.2f} times")
    over = chart_of(panel, "speed over the best constant").series
    for one in over:
        entry = next(e for e in given["policies"] if e["policy"] == one.name)
        assert entry["against_best_static"]["verdict"] in one.notes[0]
    given = copy.deepcopy(given)
    for verdict, chance in (("open", True), ("faster", False)):
        for entry in given["policies"]:
            entry["against_best_static"]["verdict"] = verdict
        said = comparisons.headline(Fields("c.json", given))
        assert said is not None
        assert ("may be chance" in said) == chance
    assert set(comparisons.compared_policies(Fields("c.json", given))) == set(POLICIES)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("policies", 0, "policy"), 3, r"policies\[0\]: policy = 3; it must be a text"),
        (("policies", 0, "speedup_over_plain"), "fast", "= 'fast'; it must be a number"),
        (("policies", 0, "time"), float("nan"), "time = nan; it must be a number"),
        (("policies",), {}, "policies = {}; it must be a list of objects"),
        (("policies", 0), 7, "7; expected an object"),
        (("costs",), None, "costs = None; it must be a text"),
        (("best_static", "tau"), None, "tau = None; it must be a number"),
    ],
)
def test_a_malformed_comparison_is_named(path: tuple[Any, ...], value: object, said: str) -> None:
    given: Any = copy.deepcopy(comparison())
    inner = given
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ConfigError, match=said):
        comparisons.of_comparison("c.json", Fields("c.json", given))


def test_results_without_policies_have_no_panels() -> None:
    empty = Fields("c", {**comparison(), "policies": []})
    assert comparisons.of_comparison("c", empty) is None
    assert comparisons.headline(empty) is None
    nothing = Fields("s", {**scenario(), "policies": [], "frontiers": []})
    for of_scenario in (comparisons.of_scenario, frontiers.of_scenario, times.of_scenario):
        assert of_scenario("s", nothing) is None
    assert comparisons.of_evidence("e", Evidence(Settings(), (), ())) is None
    assert times.of_cycles("log", ()) is None


def test_evidence_has_a_chart_for_each_cell() -> None:
    evidence = example_evidence()
    panel = comparisons.of_evidence("e.json", evidence)
    assert panel is not None
    judged = [cell for cell in evidence.cells if cell.policies]
    assert len(panel.charts) == len(judged)
    assert panel.charts[0].category is None
    assert {chart.category for chart in panel.charts} == {cell.category for cell in judged}


@pytest.mark.parametrize("prices", [True, False])
def test_a_scenario_has_its_promises_its_frontier_and_its_time(prices: bool) -> None:
    given = Fields("s.json", scenario(prices=prices))
    promised = chart_of(comparisons.of_scenario("s.json", given), "p95 latency · only")
    assert [mark.at for mark in promised.marks] == [12.0]
    assert [one.notes for one in promised.series] == [["kept"], ["kept"]]
    panel = frontiers.of_scenario("s.json", given)
    assert panel is not None
    names = [one.name for one in panel.charts[0].series]
    assert names == (
        ["auto", "auto, online", "ewma", "ewma, online"] if prices else ["auto", "ewma"]
    )
    over = chart_of(times.of_scenario("s.json", given), "τ")
    assert list(over.series[0].y) == [3.0, None]


def test_what_promises_wrote_is_read_like_a_scenario() -> None:
    own = scenario(prices=False)
    tried = [{"policy": one["policy"], "held": one, "alone": one} for one in own["policies"]]
    given = Fields("p.json", {**own, "policies": tried})
    panel = comparisons.of_scenario("p.json", given)
    assert [one.name for one in chart_of(panel, "speed over plain decoding").series] == [
        *("auto", "ewma")
    ]


def naive_hazards(traces: TraceSet, depths: int) -> list[tuple[int, int]]:
    """Judged and rejected at each depth, one draft at a time."""
    counts = [[0, 0] for _ in range(depths)]
    for sequence in traces:
        n = sequence.run_lengths.size
        for position in range(n):
            if not sequence.drafters[0].available[position]:
                continue
            for depth in range(depths):
                reach = sequence.drafters[0].draftable_tokens
                if position + depth >= min(n, n if reach is None else reach):
                    break
                counts[depth][0] += 1
                if sequence.run_lengths[position] == depth:
                    counts[depth][1] += 1
                    break
    return [(judged, rejected) for judged, rejected in counts]


def test_hazards_are_those_of_counting_draft_by_draft() -> None:
    traces = example_trace(4, 20)
    short = SequenceTrace(
        "short",
        "code",
        3,
        np.array([2, 1, 0, 0]),
        np.array([True, True, True, False]),
        draftable_tokens=2,
    )
    traces = TraceSet(TraceInfo("v", "d", "token"), (*traces.sequences, short))
    found = hazards.depths_of(traces, 0)
    counted = naive_hazards(traces, found.judged.shape[1])
    assert list(zip(found.judged.sum(axis=0), found.rejected.sum(axis=0), strict=True)) == counted
    panel = hazards.of_trace("t", traces, 0)
    assert [chart.title for chart in panel.charts] == ["d · hazard", "d · run lengths"]
    assert [one.category for one in panel.charts[0].series] == [None, "chat", "code"]


def test_run_lengths_follow_from_hazards() -> None:
    lengths = hazards.run_lengths(np.array([0.5, 0.2, np.nan]))
    assert lengths == pytest.approx([0.5, 0.1, 0.4, 0.0])
    assert hazards.run_lengths(np.full(12, 0.1)).sum() == pytest.approx(1.0)


def test_a_trace_that_tells_of_short_drafts_shows_no_more() -> None:
    traces = example_trace(4, 20, signals=False)
    info = TraceInfo("v", "d", "token", exactness="capped", known_draft_tokens=3)
    assert hazards.depths_of(TraceSet(info, traces.sequences), 0).judged.shape == (4, 3)


def test_acceptance_by_signal() -> None:
    traces = example_trace()
    panel = calibration.of_trace("t", traces)
    reliability = chart_of(panel, "draft · top1 probability")
    assert [one.name for one in reliability.series] == [
        *(hazards.ALL, "chat", "code", "perfectly calibrated")
    ]
    said = np.concatenate([s.signals["top1_probability"].first[:-1] for s in traces])
    right = np.concatenate([s.agreement for s in traces])
    top = said >= 0.9
    assert reliability.series[0].x[-1] == pytest.approx(said[top].mean())
    assert reliability.series[0].y[-1] == pytest.approx(right[top].mean())
    assert calibration.of_trace("t", example_trace(signals=False)) is None


def test_score_intervals() -> None:
    low, high = calibration.wilson(np.array([0.0, 5.0]), np.array([10, 10]))
    assert low == pytest.approx([0.0, 0.23659], abs=1e-5)  # Agresti and Coull 1998, table of 95 %
    assert high == pytest.approx([0.27753, 0.76341], abs=1e-5)


def test_stops_are_judged_against_the_trace() -> None:
    found = example_replays()
    panel = calibration.of_replays(found)
    log = found.log("confidence:threshold=0.4")
    flat = found.traces.flat()
    on, right, stops, apt = 0, 0, 0, 0
    for i in range(log.tau.size):
        run = int(flat.run_lengths[flat.start[log.sequence[i]] + log.position[i], 0])
        drafted = int(log.num_draft_tokens[i])
        on += max(drafted - 1, 0)
        right += sum(run > depth for depth in range(1, drafted))
        if drafted and drafted < log.tau[i]:
            stops, apt = stops + 1, apt + (run <= drafted)
    went = chart_of(panel, "drafted on, and the next token was accepted").series
    ended = chart_of(panel, "ended the draft, and the next token was to be rejected").series
    assert [one.policy for one in went] == ["confidence:threshold=0.4"]
    assert went[0].x[0] == pytest.approx(right / on)
    assert ended[0].x[0] == pytest.approx(apt / stops)


def test_over_time_means_are_those_of_the_cycles() -> None:
    found = example_replays()
    for spec in POLICIES:
        log = found.log(spec)
        along = {chart.title: chart for chart in times.of_replays(found).charts}
        [tau] = [one for one in along["τ along the run"].series if one.name == spec]
        cycles = log.tau.size
        place = np.minimum((np.arange(cycles) / (cycles / times.BINS)).astype(int), times.BINS - 1)
        weights = np.bincount(place, minlength=times.BINS)
        mean = np.average(np.nan_to_num(np.asarray(tau.y, float)), weights=weights)
        assert mean == pytest.approx(log.num_draft_tokens.mean())


def test_a_log_of_live_cycles_is_nobodys_policy() -> None:
    names = [field.name for field in dataclasses.fields(LoggedCycle)]
    drafted = {"tau": 3, "num_draft_tokens": 2, "num_accepted_tokens": 1, "num_emitted_tokens": 2}
    some: dict[str, Any] = {**dict.fromkeys(names), **drafted, "agreement": np.zeros(0, np.int8)}
    logged = [LoggedCycle(**{**some, "id": "a", "cycle": i, "position": 2 * i}) for i in range(5)]
    panel = times.of_cycles("log", logged)
    [tau] = chart_of(panel, "τ along the run").series
    assert (tau.policy, list(tau.y)) == (None, [2.0] * 5)
    [accepted] = chart_of(panel, "acceptance along the answer").series
    assert np.nanmin(np.asarray(accepted.y, float)) == 0.5


def test_costs_show_every_drafter_and_batch() -> None:
    panel = cost_curves.of_profile("costs.json", measured())
    assert [chart.title for chart in panel.charts] == [
        *("drafter · batch of 1", "drafter · batch of 8")
    ]
    whole, verify, draft = panel.charts[0].series
    assert whole.y == pytest.approx(np.add(np.asarray(verify.y, float), np.asarray(draft.y, float)))
    assert [verify.y[0], verify.y[3], draft.y[2]] == pytest.approx([10.0, 11.0, 3.0])


def test_constants_trace_the_curve_that_policies_are_held_against() -> None:
    found = example_replays()
    token, drafted = cost_curves.of_replays(found).charts
    constant = np.asarray(token.series[0].y, float)
    for tau in (0, 3):
        run = replay(f"fixed:tau={tau}", found.traces, costs=COSTS)
        assert constant[tau] == pytest.approx(run.time_ms.sum() / run.tokens.sum())
    assert token.marks[0].at == constant.argmin()
    for one in drafted.series:
        assert np.sum(np.asarray(one.y, float)) == pytest.approx(1.0)
    frontier = frontiers.of_replays(found).charts[0]
    assert len(frontier.series[0].x) == found.max_draft_tokens
    assert frontier.series[1].name == "foresight"


def test_the_sample_is_spread_over_categories_and_keeps_the_rare() -> None:
    traces = example_trace(60, 2, signals=False)
    rare = SequenceTrace("rare", "a rare one", 1, np.array([0]), np.array([True]))
    traces = TraceSet(traces.info, (*traces.sequences, rare))
    some = sample(traces, 10)
    kinds = [sequence.category for sequence in some]
    assert len(some) <= 11
    assert kinds.count("a rare one") == 1
    assert kinds.count("code") in (6, 7)
    ids = [sequence.id for sequence in traces]
    places = [ids.index(sequence.id) for sequence in some]
    assert places == sorted(places)
    assert sample(traces, 61) is traces


def test_a_trace_that_is_not_exact_says_so_on_the_page() -> None:
    traces = example_trace(4, 20, signals=False)
    info = dataclasses.replace(traces.info, exactness="lower bound")
    one = example_replay(TraceSet(info, traces.sequences), ["fixed:tau=2"])
    report = example_report([one])
    assert not report.viewers[0]["exact"]
    assert any(said.startswith("trace: lower bound: tokens that nobody") for said in report.remarks)
    assert example_report().viewers[0]["exact"]
    assert example_report().remarks == ()


def test_the_viewer_s_cycles_are_those_of_replay_and_tile_each_text() -> None:
    found = example_replays()
    shown = viewer(found, pieces)
    assert shown["policies"] == list(POLICIES)
    assert [request["id"] for request in shown["requests"]] == [s.id for s in found.traces]
    for i, request in enumerate(shown["requests"]):
        assert request["tokens"][0] == INERT
        for spec, run in zip(POLICIES, request["runs"], strict=True):
            ends = list(itertools.accumulate(run["emitted"]))
            assert run["position"] == [0, *ends[:-1]]
            assert ends[-1] == len(request["tokens"])
            assert sum(run["ms"]) == pytest.approx(found.runs[spec].time_ms[i], rel=1e-3)
            for drafted, said in zip(run["drafted"], run["signals"]["entropy"], strict=True):
                assert len(said) == drafted
            draft_ms = np.asarray(run["drafted"]) * COSTS.draft
            assert run["draft_ms"] == pytest.approx(draft_ms.tolist(), rel=1e-3)
    assert viewer(found, None)["requests"][0]["tokens"][1] == "⟨1⟩"
