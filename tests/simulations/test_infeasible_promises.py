"""Promises that cannot be kept, in replay: they are declared, and nothing runs away meanwhile."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest

from adaptive_spec import (
    ConstantCosts,
    Constraints,
    Controller,
    Feasibility,
    LatencyTarget,
    PassBudget,
    make_policy,
)
from adaptive_spec.simulations import replay
from adaptive_spec.simulations.replayed_cycles import ReplayedCycles
from adaptive_spec.traces import SequenceTrace, TraceInfo, TraceSet, run_lengths_of
from adaptive_spec.traces.synthetic import Hazards, synthetic_trace
from tests.controller.driven import ints

COSTS = ConstantCosts(0.2)
POLICIES = pytest.mark.parametrize(
    "spec", ["hazard", "fixed:tau=2", *(pytest.param(p, marks=pytest.mark.slow) for p in ("auto",))]
)


class Request(NamedTuple):
    """A request that was decoded: its passes and their time, and the price when it had ended."""

    passes: int
    time_ms: float
    price: float
    feasibility: Feasibility


class Line:
    """Requests one after the other, through a controller."""

    def __init__(
        self, spec: str, traces: TraceSet, promised: Constraints, costs: ConstantCosts = COSTS
    ) -> None:
        self.controller = Controller(make_policy(spec), costs=costs, constraints=promised)
        self._cycles = ReplayedCycles(self.controller, traces.flat(), None)

    def decode(self, numbers: range) -> list[Request]:
        return [self._decode(number) for number in numbers]

    def _decode(self, number: int) -> Request:
        row, passes, time_ms = self._cycles.admit(ints(number)), 0, 0.0
        while True:
            cycle = self._cycles.run(row)
            passes, time_ms = passes + 1, time_ms + float(cycle.cycle_ms[0])
            if cycle.at_end[0]:
                break
        self.controller.release(row)
        [promised] = self.controller.constraints.constraints
        price = self.controller.ledger.pass_price(promised)
        return Request(passes, time_ms, price, self.controller.feasibility["all"])


def mean(requests: list[Request], field: str) -> float:
    return float(np.mean([getattr(request, field) for request in requests]))


def poor_then_good() -> TraceSet:
    """160 texts that are drafted badly, and 80 that are drafted well."""
    poor = synthetic_trace(Hazards(0.5, seed=1), num_sequences=160, num_tokens=20)
    good = synthetic_trace(Hazards(0.1, seed=2), num_sequences=80, num_tokens=20)
    others = (dataclasses.replace(s, id=f"good/{s.id}") for s in good)
    return TraceSet(poor.info, (*poor, *others))


@POLICIES
def test_an_infeasible_budget_is_come_near_to_at_a_price_that_rests(spec: str) -> None:
    traces = poor_then_good()
    longest = replay("fixed:tau=10", traces, costs=COSTS, order=range(60, 160))
    least, slowest = longest.cycles[60:160].mean(), longest.time_ms[60:160].mean()
    line = Line(spec, traces, Constraints(PassBudget(0.8 * least)))
    assert any(request.feasibility.budget_infeasible for request in line.decode(range(60))[:50])
    settled = line.decode(range(60, 160))
    assert mean(settled, "passes") <= 1.05 * least
    assert mean(settled, "time_ms") <= 0.95 * slowest
    assert max(request.price for request in settled) < 32
    # Acceptance recovers: the promise can be kept, and passes cost nothing any more.
    recovered = line.decode(range(160, 240))
    assert all(request.price < 0.1 for request in recovered[40:])
    assert mean(recovered, "passes") < 0.8 * least
    assert not recovered[-1].feasibility.infeasible


@POLICIES
def test_a_promise_that_is_made_feasible_is_aimed_at_at_once(spec: str) -> None:
    traces = poor_then_good()
    line = Line(spec, traces, Constraints(PassBudget(8.0)))
    assert line.decode(range(90))[-1].price > 1
    line.controller.change_constraints(Constraints(PassBudget(16.0)))
    after = line.decode(range(90, 160))
    assert all(request.price < 0.1 for request in after[40:])
    assert not after[-1].feasibility.infeasible
    free = replay(spec, traces, costs=COSTS, order=range(130, 160))
    assert mean(after[40:], "time_ms") <= 1.05 * free.time_ms[130:160].mean()


PASSES, IN_TIME = Constraints(PassBudget(7.0)), Constraints(latency=LatencyTarget(26.0))


def alike(count: int) -> TraceSet:
    """Texts of 24 tokens in which every run is of three: long drafts save passes, and cost time."""
    runs = run_lengths_of(np.arange(24) % 4 < 3)
    same = SequenceTrace("0", "", 9, runs, np.ones(24, np.bool_), limit_tokens=24)
    texts = tuple(dataclasses.replace(same, id=str(i)) for i in range(count))
    return TraceSet(TraceInfo("verifier", "drafter", "token"), texts)


@pytest.mark.parametrize(
    "spec", ["hazard", "fixed:tau=0", "fixed:tau=2", pytest.param("auto", marks=pytest.mark.slow)]
)
def test_a_promise_that_can_be_kept_alone_is_not_declared_infeasible(spec: str) -> None:
    # Drafts become longer or shorter from one request to the next, as the promise asks: requests
    # that are alike take more time or less.
    for promised in (PASSES, IN_TIME):
        alone = Line(spec, alike(60), promised, ConstantCosts(2.0)).decode(range(60))
        assert not any(request.feasibility.infeasible for request in alone)


@pytest.mark.parametrize(
    "spec", ["hazard", "fixed:tau=0", "gammatune", pytest.param("auto", marks=pytest.mark.slow)]
)
def test_two_promises_that_exclude_each_other_are_declared_and_the_budget_is_kept(
    spec: str,
) -> None:
    traces, costs = alike(200), ConstantCosts(2.0)
    plain, long = (replay(f"fixed:tau={tau}", traces, costs=costs) for tau in (0, 3))
    assert (plain.cycles[0], plain.time_ms[0], long.cycles[0], long.time_ms[0]) == (24, 24, 6, 42)
    promised = Constraints(PASSES.budget, IN_TIME.latency)
    both = Line(spec, traces, promised, costs).decode(range(200))
    said = both[49].feasibility
    assert said.infeasible
    assert not said.budget_infeasible
    assert not said.latency_infeasible
    assert "both promises cannot be kept together" in str(said)
    assert said.passes_for_latency > 7
    assert said.latency_for_budget_ms > 26
    assert mean(both[50:], "passes") <= 1.01 * 7
    assert max(request.price for request in both) < 64
