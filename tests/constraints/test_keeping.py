"""Promises kept by a controller: prices, deadlines, classes, clocks, changes while running."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import (
    ConfigError,
    ConstantCosts,
    Constraints,
    Controller,
    EndReason,
    LatencyTarget,
    PassBudget,
    make_policy,
    policy_names,
)
from adaptive_spec.constraints.prices import least_tau, pass_price, urgency
from adaptive_spec.simulations import least_passes, replay
from adaptive_spec.simulations.replayed_cycles import ReplayedCycles
from adaptive_spec.traces.flat import FlatTrace
from adaptive_spec.traces.synthetic import Hazards, synthetic_trace
from tests.controller.driven import greedy_controller, ints

BLIND = ("fixed:tau=1", "heuristic")
PRICED = ("hazard", "marginal:inside=false")
OTHERS = (
    *("fixed:tau=0", "gammatune", "sglang-tiers", "ucbspec"),
    *("ewma", "smartspec", "bandit", "auto"),
)


@pytest.mark.parametrize(
    "spec", [*BLIND, *PRICED, *(pytest.param(spec, marks=pytest.mark.slow) for spec in OTHERS)]
)
def test_whoever_decides_an_average_that_can_be_kept_is_kept(spec: str) -> None:
    traces = synthetic_trace(Hazards(hazard=0.4, seed=1), num_sequences=700, num_tokens=12)
    budget = least_passes(traces.flat()).mean() * 1.15
    free = replay(spec, traces, costs=ConstantCosts(draft=0.1), concurrency=1)
    kept = replay(
        spec,
        traces,
        costs=ConstantCosts(draft=0.1),
        constraints=Constraints(PassBudget(budget)),
        concurrency=1,
    )
    assert kept.cycles.mean() <= 1.01 * budget
    # And no more is done than that takes, where anything has to be done.
    if free.cycles.mean() > budget:
        assert kept.cycles.mean() >= 0.93 * budget


def test_a_price_is_a_rows_own() -> None:
    promised = {"dear": Constraints(PassBudget(1.0)), "free": Constraints()}
    controller = greedy_controller(constraints=promised)
    row = controller.admit(ints(5), ints(50))
    for _ in range(4):
        plan = controller.decide(row)
        controller.observe(plan, plan.tau, ints(0), ints(1))
    controller.release(row)
    rows = controller.admit(ints(5, 5), ints(50, 50), request_class=ints(0, 1))
    price = controller.decide(rows).cycle.pass_price_ms
    assert price.tolist() == pytest.approx([math.expm1(3 / 5), 0.0])
    assert controller.ledgers["dear"].queue_passes == 3.0
    assert controller.ledgers["free"].requests == 0


@pytest.mark.parametrize("spec", ["fixed:tau=1", "ewma"])
def test_a_given_price_buys_fewer_passes(spec: str) -> None:
    traces = synthetic_trace(Hazards(hazard=0.3, seed=1), num_sequences=60, num_tokens=24)
    taken = [
        replay(
            spec,
            traces,
            costs=ConstantCosts(draft=0.5),
            constraints=Constraints(PassBudget(price=price)),
        ).cycles.mean()
        for price in (0.0, 2.0, 8.0, 64.0)
    ]
    assert taken == sorted(taken, reverse=True)
    assert taken[0] > taken[2]
    # At the highest price every draft is as long as it may be.
    assert taken[3] == replay("fixed:tau=10", traces, costs=ConstantCosts()).cycles.mean()


def test_no_cycle_is_begun_that_would_end_after_the_deadline() -> None:
    costs = ConstantCosts(draft=0.5, plain_ms=10.0)
    promised = Constraints(latency=LatencyTarget(deadline_ms=100.0))
    controller = Controller(make_policy("fixed:tau=8"), costs=costs, constraints=promised)
    row = controller.admit(ints(5), ints(99), waited_ms=np.array([12.0]))
    plan = controller.decide(row)
    assert plan.tau.tolist() == [8]  # until 12 + 50
    controller.observe(plan, plan.tau, ints(0), ints(1))
    controller.elapse(row, 3.0)
    plan = controller.decide(row)
    assert plan.tau.tolist() == [5]  # 65 + 35 = 100
    controller.observe(plan, plan.tau, ints(0), ints(1))
    assert controller.ended(row).tolist() == [EndReason.DEADLINE]
    late = controller.admit(ints(5), ints(9), waited_ms=np.array([95.0]))
    assert controller.ended(late).tolist() == [EndReason.DEADLINE]  # before its first cycle


@given(
    st.lists(
        st.tuples(
            st.sampled_from([math.nan, math.inf, -math.inf, -5.0, 0.0, 1.0, 1e18]),
            st.sampled_from([math.nan, -1.0, 2.0]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_clocks_that_jump_break_nothing(times: list[tuple[float, float]]) -> None:
    promised = Constraints(PassBudget(2.0), LatencyTarget(50.0))
    controller = greedy_controller(constraints=promised)
    for draft_ms, verify_ms in times:
        row = controller.admit(ints(5), ints(50), waited_ms=np.array([draft_ms]))
        for _ in range(3):
            plan = controller.decide(row)
            assert np.isfinite(plan.cycle.pass_price_ms).all()
            spent = controller.observe(
                plan, plan.tau, ints(1), ints(2), draft_ms=draft_ms, verify_ms=verify_ms
            )
            assert np.isfinite(spent).all()
            assert (spent >= 0).all()
        controller.release(row)
    known = controller.feasibility["all"]
    assert known.requests <= len(times)
    assert not math.isnan(controller.ledger.late)


def test_times_beyond_all_reason_do_not_add_up() -> None:
    promised = Constraints(latency=LatencyTarget(50.0))
    controller = greedy_controller(constraints=promised)
    rows = controller.admit(ints(5, 5), ints(50, 50), waited_ms=np.array([1.7e308, 3.0]))
    controller.elapse(rows, 1.7e308)
    for _ in range(2):
        plan = controller.decide(rows)
        spent = controller.observe(plan, plan.tau, ints(1, 1), ints(2, 2), verify_ms=1.7e308)
        assert spent.tolist() == [1 + 10 / 8] * 2  # by the cost model
    assert controller.decide(rows).cycle.elapsed_ms.tolist() == [4.5, 4.5]


def test_who_decides_nothing_learns_nothing() -> None:
    controller = greedy_controller(constraints=Constraints(PassBudget(2.0)))
    plan = controller.decide(controller.admit(ints(), ints()))
    assert controller.observe(plan, plan.tau, ints(), ints()).size == 0


def test_promises_change_while_requests_run() -> None:
    controller = greedy_controller(constraints=Constraints(PassBudget(max_passes=9)))
    rows = controller.admit(ints(5), ints(50))
    plan = controller.decide(rows)
    controller.observe(plan, plan.tau, ints(0), ints(1))
    controller.change_constraints(Constraints(PassBudget(max_passes=1)))
    assert controller.ended(rows).tolist() == [EndReason.BUDGET]
    controller.change_constraints({"all": Constraints(), "new": Constraints(PassBudget(3.0))})
    assert controller.ended(rows).tolist() == [EndReason.NONE]
    controller.admit(ints(5), ints(50), request_class=ints(1))
    with pytest.raises(ConfigError, match="the first must be those that there are, all, new"):
        controller.change_constraints({"new": Constraints()})
    with pytest.raises(ConfigError, match="allowed are 0 to 1, for all, new"):
        controller.admit(ints(5), ints(50), request_class=ints(2))


def test_what_is_urgent_buys_time_with_passes() -> None:
    slack = np.array([-1e4, -5.0, 0.0, 5.0, 1e4])
    urgent = urgency(slack, np.full(5, 16.0), np.full(5, 2.0), 4.0)
    assert urgent.argmax() == 2
    assert urgent[2] == 1.0
    assert urgent[[0, 4]].tolist() == [0.0, 0.0]
    # The spread is 2 ms * sqrt(16 * 4) = 16 ms.
    assert urgent[1] == urgent[3] == pytest.approx(math.exp(-0.5 * (5 / 16) ** 2))
    assert pass_price(6.0, 2.0, urgent)[[0, 2]].tolist() == [6.0, 2.0]


def test_a_price_that_is_not_heeded_raises_the_least_tau() -> None:
    phase, most = np.array([0.0, 0.5, 0.9]), ints(8, 8, 8)
    price = np.full(3, 2.5)
    assert least_tau(price, phase, most, heeded=False).tolist() == [2, 3, 3]
    assert least_tau(price, phase, most, heeded=True).tolist() == [0, 0, 1]  # 8 * 2.5 / 64 = 0.31
    assert least_tau(price * 100, phase, most, heeded=True).tolist() == [8, 8, 8]
    assert least_tau(price * 0, phase, most, heeded=False).tolist() == [0, 0, 0]


def judged_when(traces: FlatTrace, average: float) -> tuple[int | None, Controller]:
    """The request after which a budget was first said to be infeasible; and the controller."""
    promised = Constraints(PassBudget(average))
    controller = Controller(make_policy("hazard"), costs=ConstantCosts(), constraints=promised)
    cycles, when = ReplayedCycles(controller, traces, None), None
    for number in range(traces.start.size):
        row = cycles.admit(ints(number))
        while not cycles.run(row).at_end[0]:
            pass
        controller.release(row)
        if when is None and controller.feasibility["all"].infeasible:
            when = number + 1
    return when, controller


@pytest.mark.parametrize("seed", range(4))
def test_an_infeasible_budget_is_declared_with_the_nearest_one(seed: int) -> None:
    traces = synthetic_trace(Hazards(hazard=0.5, seed=seed), num_sequences=50, num_tokens=20).flat()
    least = least_passes(traces).mean()
    when, controller = judged_when(traces, 0.8 * least)
    assert when is not None
    assert controller.feasibility["all"].least_passes == pytest.approx(least, rel=0.05)
    # It is not asked for what cannot be had: the price comes to rest below the highest.
    assert 0 < controller.ledger.pass_price(controller.constraints.constraints[0]) < 64
    assert judged_when(traces, 1.2 * least)[0] is None


@pytest.mark.parametrize("spec", ["fixed:tau=0", "fixed:tau=1", "ewma"])
def test_whoever_decides_an_infeasible_latency_is_declared(spec: str) -> None:
    traces = synthetic_trace(Hazards(hazard=0.4, seed=1), num_sequences=60, num_tokens=12)
    costs = ConstantCosts(draft=0.1)
    fastest = min(replay(f"fixed:tau={k}", traces, costs=costs).time_ms.mean() for k in range(11))
    for target_ms, infeasible in ((0.6 * fastest, True), (3.0 * fastest, False)):
        promised = Constraints(latency=LatencyTarget(target_ms))
        told = replay(spec, traces, costs=costs, constraints=promised).feasibility["all"]
        assert told.latency_infeasible == infeasible
        assert ("plain verifier passes" in str(told)) == infeasible


@pytest.mark.parametrize(
    "spec", ["fixed:tau=0", "hazard", pytest.param("fixed:tau=6", marks=pytest.mark.slow)]
)
def test_a_latency_that_one_tau_would_keep_is_not_declared_infeasible(spec: str) -> None:
    # Long drafts where few are accepted, or none until requests are late: what time those took is
    # not what the best tau takes.
    costs = ConstantCosts(draft=0.1)
    for hazard in (0.1, 0.4):
        traces = synthetic_trace(Hazards(hazard, seed=1), num_sequences=60, num_tokens=12)
        static = [replay(f"fixed:tau={tau}", traces, costs=costs).time_ms for tau in range(11)]
        best = min(float(np.quantile(ms, 0.95, method="higher")) for ms in static)
        promised = Constraints(latency=LatencyTarget(best))
        told = replay(spec, traces, costs=costs, constraints=promised).feasibility["all"]
        assert not told.infeasible
        assert told.least_latency_ms == pytest.approx(best, rel=0.1)


def test_a_rule_that_never_drafts_is_hurried_where_requests_are_late() -> None:
    traces = synthetic_trace(Hazards(hazard=0.1, seed=1), num_sequences=200, num_tokens=12)
    costs = ConstantCosts(draft=0.1)
    promised = Constraints(latency=LatencyTarget(9.0))  # plain decoding takes 12
    told = replay("fixed:tau=0", traces, costs=costs, constraints=promised)
    assert told.ledgers["all"].late < 60
    assert not told.feasibility["all"].infeasible


def test_without_room_for_drafts_a_latency_is_judged_by_plain_decoding() -> None:
    traces = synthetic_trace(Hazards(hazard=0.1), num_sequences=20, num_tokens=12)
    promised = Constraints(latency=LatencyTarget(9.0))
    told = replay(
        "ewma", traces, costs=ConstantCosts(), constraints=promised, max_draft_tokens=0
    ).feasibility["all"]
    assert told.latency_infeasible
    assert told.least_latency_ms == 12.0


def test_latencies_that_were_measured_are_told_in_ms() -> None:
    controller = greedy_controller(constraints=Constraints(latency=LatencyTarget(1.0)))
    assert controller.feasibility["all"].time_unit == "plain verifier passes"
    plan = controller.decide(controller.admit(ints(5), ints(9)))
    controller.observe(plan, plan.tau, ints(0), ints(1), draft_ms=1.0, verify_ms=2.0)
    assert controller.feasibility["all"].time_unit == "ms"


def test_every_policy_says_whether_it_heeds_prices() -> None:
    heeding = {name for name in policy_names() if make_policy(name).heeds_prices}
    assert {"marginal", "portfolio", "auto", "ewma", "hazard", "bandit"} <= heeding
    assert not {"fixed", "gammatune", "heuristic"} & heeding
