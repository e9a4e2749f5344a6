"""Frontiers: what prices come to, and the best of them in hindsight."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec.constraints.frontier import least_mixture
from adaptive_spec.simulations.scenarios import (
    FrontierRun,
    PolicyFrontier,
    Scenario,
    ScenarioRun,
    draw,
    load_scenario,
    made_up_trace,
)
from adaptive_spec.simulations.scenarios.mixtures import best_mixture
from adaptive_spec.simulations.scenarios.scenario import (
    ArrivalPlan,
    CostPlan,
    MadeUp,
    RequestKind,
)
from adaptive_spec.traces.synthetic import Hazards

LADDER = (0.0, 2.0, 8.0, 64.0)
WAYS = st.lists(st.tuples(st.integers(1, 100), st.integers(1, 100)), min_size=1, max_size=8)


@given(WAYS, st.integers(1, 100))
def test_the_best_mixture_is_on_the_lower_hull(ways: list[tuple[int, int]], allowed: int) -> None:
    time, spent = np.array(ways, np.float64).T
    shares = best_mixture(time, spent[None, :], np.array([float(allowed)]))
    least = least_mixture(time, spent, allowed)
    if shares is None:
        assert math.isinf(least)
        return
    assert (shares >= 0).all()
    assert shares.sum() == pytest.approx(1.0)
    assert spent @ shares <= allowed + 1e-6
    assert time @ shares == pytest.approx(least)


def test_two_promises_are_kept_at_once() -> None:
    # The first alone spends too much of the one, the second of the other; the third is slow.
    time, passes, late = np.array([[1.0, 2.0, 9.0], [3.0, 1.0, 1.0], [0.0, 0.2, 0.0]])
    shares = best_mixture(time, np.stack([passes, late]), np.array([2.0, 0.05]))
    assert shares is not None
    assert shares.tolist() == pytest.approx([0.5, 0.25, 0.25])
    assert best_mixture(time, np.zeros((0, 3)), np.zeros(0)).tolist() == [1.0, 0.0, 0.0]  # type: ignore[union-attr]


def priced(
    average_passes: float, p95: float | None, requests: int = 80
) -> tuple[Scenario, FrontierRun]:
    chosen = load_scenario("writing-assistant")
    kinds = tuple(
        dataclasses.replace(kind, average_passes=average_passes, p95_plain_passes=p95)
        for kind in chosen.classes
    )
    chosen = dataclasses.replace(chosen, requests=requests, classes=kinds, max_draft_tokens=6)
    costs = chosen.costs.model(chosen.max_batch, chosen.max_draft_tokens)
    generator = np.random.default_rng(0)
    # Texts are drawn for the promise as it comes, whatever is promised here.
    workload = draw(
        chosen, made_up_trace(chosen, 0), costs=costs, generator=generator, made_up=True
    )
    return chosen, FrontierRun(ScenarioRun(chosen, workload, costs=costs), LADDER)


def test_dearer_passes_are_fewer_and_the_best_price_keeps_what_was_promised() -> None:
    chosen, run = priced(2.3, None)
    found = run.of("fixed:tau=1")
    for name in ("all", *(kind.name for kind in chosen.classes)):
        passes = [found.points[price][name].passes.value for price in LADDER]
        assert passes == sorted(passes, reverse=True)
    assert tuple(found.points) == LADDER
    assert found.best.passes <= 2.3 + 1e-9
    assert found.best.out_of_reach == ()
    for points in found.points.values():
        within = all(points[k.name].passes.value <= 2.3 for k in chosen.classes)
        if within:
            assert points["all"].tokens_per_time.value <= found.best.tokens_per_time + 1e-9
    assert found.best.tokens_per_time <= run.clairvoyant.tokens_per_time
    assert all(sum(own.values()) == pytest.approx(1) for own in found.best.shares.values())
    reached = found.online_points["all"].tokens_per_time.value / found.best.tokens_per_time
    assert found.share_of_best is not None
    assert found.share_of_best.value == pytest.approx(reached)
    assert found.share_of_best.low < reached < found.share_of_best.high
    assert found.online.as_dict() == run.run.run("fixed:tau=1").as_dict()


def test_what_no_price_can_keep_is_named() -> None:
    _, run = priced(1.0, 0.5, requests=30)
    found: PolicyFrontier = run.of("fixed:tau=2")
    assert found.share_of_best is None
    assert "short-prompts: average passes" in found.best.out_of_reach
    assert "long-prompts: p95 latency" in found.best.out_of_reach
    report = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert report["online_over_best"] is None
    assert report["best_price_in_hindsight"]["out_of_reach"] == list(found.best.out_of_reach)


@pytest.mark.parametrize(
    ("average_passes", "p95", "missed"),
    [(9.0, None, ()), (None, 26.0, ()), (9.0, 26.0, ("a: p95 latency",))],
)
def test_promises_within_reach_alone_may_be_out_of_it_together(
    average_passes: float | None, p95: float | None, missed: tuple[str, ...]
) -> None:
    # Drafts of six bring 24 tokens into 8.5 passes, at 1 + 6 * 0.6 each; plain decoding takes 24,
    # and one for the prompt.
    made_up = MadeUp(Hazards(0.3), prompt_tokens=9, tokens=24)
    kind = RequestKind("a", 1.0, made_up, average_passes=average_passes, p95_plain_passes=p95)
    chosen = dataclasses.replace(
        load_scenario("writing-assistant"),
        requests=60,
        max_draft_tokens=6,
        classes=(kind,),
        arrivals=ArrivalPlan(concurrency=1),
        costs=CostPlan(0.6, verify=0.0),
    )
    costs, generator = chosen.costs.model(1, 6), np.random.default_rng(0)
    texts = made_up_trace(chosen, 0)
    workload = draw(chosen, texts, costs=costs, generator=generator, made_up=True)
    run = ScenarioRun(chosen, workload, costs=costs)
    assert FrontierRun(run, LADDER).static.out_of_reach == missed
    result = run.run("hazard")
    assert [v.verdict for v in result.verdicts if v.verdict == "infeasible"] == []  # none alone
    if missed:
        assert "infeasible" in result.as_dict()["controller"]["a"]
