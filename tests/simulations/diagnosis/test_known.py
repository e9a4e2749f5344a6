"""What is known of a production: of traces by replay, of logs by what their cycles tell."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_spec import ConstantCosts, Constraints, LatencyTarget, PassBudget
from adaptive_spec.errors import CostsError, TraceError
from adaptive_spec.simulations.diagnosis import Known, diagnose
from adaptive_spec.simulations.diagnosis.faults.drift import change_point
from adaptive_spec.simulations.diagnosis.log_costs import costs_of_log, pass_widths
from adaptive_spec.simulations.diagnosis.resamples import Resamples
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces import TraceSet
from tests.simulations.diagnosis.planting import COSTS, logged, saturating_costs, texts

GOOD = texts(0.25)


@settings(max_examples=5)
@given(st.integers(0, 6), st.floats(0.0, 0.5), st.floats(0.0, 0.5), st.floats(0.05, 0.9))
def test_what_was_served_is_on_one_scale_with_what_might_have_been(
    tau: int, draft: float, verify: float, hazard: float
) -> None:
    traces = texts(hazard, sequences=4, tokens=20)
    costs = ConstantCosts(draft, verify, plain_ms=7.0)
    known = Known.of_trace(traces, f"fixed:tau={tau}", costs=costs, max_draft_tokens=6)
    assert known.served_ms == pytest.approx(known.constant_ms[:, tau])
    log = Known.of_log(logged(traces, f"fixed:tau={tau}", costs), costs=costs, max_draft_tokens=6)
    assert log.served_ms[0] == pytest.approx(known.served_ms[0])
    assert log.requests.tokens.sum() == traces.num_tokens
    # The constant that was served, and plain decoding, are known for certain.
    assert log.constant_ms[0, 0] == pytest.approx(known.constant_ms[0, 0])


def test_constants_of_a_log_are_no_faster_than_they_would_have_been() -> None:
    """Nearly what they would have been; drafts that the end of a text cut short count in full."""
    traces = texts(0.3, sequences=100)
    replayed = Known.of_trace(traces, "fixed:tau=6", costs=COSTS).constant_ms[0, :7]
    log = Known.of_log(logged(traces, "fixed:tau=6"), costs=COSTS)
    assert log.constant_ms[0] == pytest.approx(replayed, rel=0.06)
    assert (log.constant_ms[0] >= 0.98 * replayed).all()
    assert (log.hopeful_ms()[0, :7] <= log.constant_ms[0] + 1e-6).all()


def test_costs_of_a_log_are_those_that_made_it() -> None:
    costs = ConstantCosts(0.2, 0.1, plain_ms=5.0)
    log = logged(GOOD, "ewma", costs)
    found = costs_of_log(log, pass_widths(log), ("draft",))
    taus = np.arange(5)
    assert found.table(4, 1, np.ones(1, np.int64))[0] == pytest.approx(
        5.0 * (1 + 0.3 * taus), rel=0.05
    )


def test_a_plain_pass_that_was_never_served_is_said_to_be_extrapolated() -> None:
    log = [cycle for cycle in logged(GOOD, "fixed:tau=4") if cycle.num_draft_tokens > 1]
    known = Known.of_log(log)
    assert known.costs.plain_ms == pytest.approx(1.0, rel=0.1)
    assert any("extrapolated" in note for note in known.notes)


def test_requests_of_a_pass_are_found_by_its_times() -> None:
    log = [
        dataclasses.replace(cycle, batch_size=2, draft_ms=1.0, verify_ms=10.0 + i // 2)
        for i, cycle in enumerate(logged(GOOD, "ewma")[:40])
    ]
    widths = pass_widths(log)
    own = np.array([cycle.num_draft_tokens for cycle in log])
    assert widths.tolist() == np.repeat(own.reshape(-1, 2).max(axis=1), 2).tolist()


def test_batches_of_a_log_have_costs_of_their_own() -> None:
    log = logged(GOOD, "fixed:tau=3", saturating_costs())
    log += logged(texts(0.24), "fixed:tau=3", saturating_costs(), batch_size=32)
    found = costs_of_log(log, pass_widths(log), ("draft",))
    assert found.batch_sizes == (1, 32)
    three = np.array([3]), np.ones(1, np.int64)
    assert found.verify_ms(three[0], 32, three[1])[0] == pytest.approx(50.0, rel=0.05)
    assert found.verify_ms(three[0], 1, three[1])[0] == pytest.approx(10.3, rel=0.05)


def test_what_a_log_does_not_hold_is_not_guessed() -> None:
    log = logged(GOOD, "fixed:tau=4")
    for lost in (0.0, math.nan):
        without = [dataclasses.replace(cycle, verify_ms=lost) for cycle in log]
        with pytest.raises(CostsError, match=r"lacks times.*give --costs"):
            Known.of_log(without)
        assert Known.of_log(without, costs=COSTS).served_ms[0] > 0
    with pytest.raises(CostsError, match="drafts of two lengths or more"):
        Known.of_log([cycle for cycle in log if cycle.num_draft_tokens == 4])
    with pytest.raises(TraceError, match="holds no cycles"):
        Known.of_log([])


def reasons(known: Known) -> dict[str, str]:
    return {one.name: one.reason for one in diagnose(known).not_judged}


def test_what_a_log_cannot_tell_is_not_judged() -> None:
    told = reasons(Known.of_log(logged(GOOD, "fixed:tau=1"), costs=COSTS))
    assert "accepted whole" in told["tau too short"]
    assert "categories" in told["category to be treated apart"]
    few = reasons(Known.of_log(logged(texts(0.2, sequences=9), "fixed:tau=0"), costs=COSTS))
    assert "0 drafts" in few["fallback stuck on"]
    assert "0 requests" in few["drafter due for replacement"]
    promised = Constraints(PassBudget(20.0))
    short = Known.of_log(
        logged(texts(0.2, sequences=9), "fixed:tau=3"), costs=COSTS, promised=promised
    )
    assert "9 requests finished" in reasons(short)["budget infeasible"]


@pytest.mark.parametrize(
    ("exactness", "unjudged"),
    [
        ("lower bound", {"drafter mismatched", "tau too long", "fallback stuck off"}),
        ("upper bound", {"tau too short", "fallback stuck on"}),
        ("distribution", {"drafter due for replacement", "category to be treated apart"}),
    ],
)
def test_traces_that_mislead_are_not_followed(exactness: str, unjudged: set[str]) -> None:
    info = dataclasses.replace(GOOD.info, exactness=exactness)  # type: ignore[arg-type]
    known = Known.of_trace(TraceSet(info, GOOD.sequences), "fixed:tau=10", costs=COSTS)
    assert unjudged <= set(reasons(known))
    assert any(note.startswith(exactness) for note in known.notes)


def test_a_capped_trace_tells_no_more_than_it_knows() -> None:
    info = dataclasses.replace(GOOD.info, exactness="capped", known_draft_tokens=2)
    known = Known.of_trace(TraceSet(info, GOOD.sequences), "fixed:tau=2", costs=COSTS)
    assert "nothing is known" in reasons(known)["tau too short"]


def test_costs_that_nobody_gave_are_not_judged() -> None:
    known = Known.of_trace(GOOD, "fixed:tau=4", costs=ConstantCosts(0.6), costs_assumed=True)
    told = reasons(known)
    assert "give --costs" in told["drafter too slow"]
    assert {"verification not parallel", "batch saturated"} <= set(told)


def test_requests_that_a_promise_cuts_short_are_compared_as_far_as_they_came() -> None:
    promised = Constraints(PassBudget(max_passes=3))
    known = Known.of_trace(GOOD, "fixed:tau=4", costs=COSTS, promised=promised)
    run = replay("fixed:tau=4", GOOD, costs=COSTS, constraints=promised)
    assert known.requests.tokens.tolist() == run.tokens.tolist()
    assert known.constant_ms[0, 0] == pytest.approx(float(run.tokens.sum()))
    diagnose(known)


def test_one_request_is_enough_to_say_that_it_is_few() -> None:
    found = diagnose(Known.of_trace(texts(0.3, sequences=1), "fixed:tau=3", costs=COSTS))
    assert any("intervals say little" in note for note in found.notes)


def test_a_change_point_is_where_it_was_planted() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=60) - 3.0 * (np.arange(60) >= 40)
    found = change_point(values, np.zeros(60, np.int64), generator)
    assert found.first_after == 40
    assert found.p_value <= 0.01


def test_change_points_are_rare_where_there_are_none() -> None:
    """Nominally 1 in 100; categories with means of their own follow each other."""
    generator = np.random.default_rng(0)
    stratum = np.repeat([0, 1], [12, 18])
    alarms = 0
    for _ in range(60):
        values = np.round(generator.normal(size=30) + 5.0 * stratum, 1)  # with ties
        alarms += change_point(values, stratum, generator).p_value <= 0.01
    assert alarms <= 4  # five or more with a chance of 1 in 2500


def test_resamples_that_drew_nothing_of_a_kind_tell_nothing_of_it() -> None:
    """Of 12 requests one was drafted for: a third of the resamples know no draft."""
    only_one = logged(texts(0.3, sequences=1), "fixed:tau=10")
    others = [
        dataclasses.replace(cycle, id=f"plain/{cycle.id}")
        for cycle in logged(texts(0.3, sequences=11), "fixed:tau=0")
    ]
    json.dumps(diagnose(Known.of_log(only_one + others, costs=COSTS)).as_dict(), allow_nan=False)


def test_many_requests_are_drawn_in_groups_with_the_same_spread() -> None:
    values = np.random.default_rng(0).exponential(size=5000)
    sums = Resamples(5000, np.random.default_rng(1)).sums(values)
    assert sums[0] == pytest.approx(values.sum())
    assert sums[1:].std() == pytest.approx(values.std() * math.sqrt(5000), rel=0.15)


def test_latencies_that_cannot_be_kept_are_told_of_a_log() -> None:
    promised = Constraints(latency=LatencyTarget(6.0))
    found = diagnose(Known.of_log(logged(GOOD, "fixed:tau=4"), promised=promised))
    assert found.findings[0].name == "budget infeasible"
    assert "latency" in found.findings[0].details[0]
