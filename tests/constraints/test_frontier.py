import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import Constraints, LatencyTarget, PassBudget
from adaptive_spec.constraints.feasibility import Feasibility, assess
from adaptive_spec.constraints.frontier import Recent, expected_passes, frontier, least_mixture
from adaptive_spec.constraints.survival import Survival

HALF = 0.5 ** np.arange(5.0)  # K = 4
SEEN = Survival(1e12 * HALF[:-1], 1e12 * HALF[1:])  # so often that nothing is in doubt


def recent() -> Recent:
    """Forty requests of 8 tokens that took 6 passes, two with drafts, and 1 + 13 ms each."""
    forty = np.ones(40)
    whole = forty.astype(np.int64)
    by_tau, by_accepted = np.tile([4, 0, 2, 0, 0], (40, 1)), np.tile([4, 2, 0, 0, 0], (40, 1))
    costs = 2 + np.arange(5.0) / 4
    return Recent(8 * whole, 6 * whole, forty, 13 * forty, by_tau, by_accepted, costs)


def test_survival_is_the_product_limit_estimate() -> None:
    # Of four cycles: refused at once; one accepted, then refused; two accepted, cut off there; one
    # accepted, cut off. First tokens 3 of 4, second ones 1 of 2; nothing is known of the third.
    seen = Survival.fresh(3).after(np.array([0, 1, 2, 1]), np.array([1, 1, 0, 0]))
    assert seen.tested.tolist() == [4, 2, 0]
    assert seen.accepted.tolist() == [3, 1, 0]
    assert seen.seen == 4
    first = (3 + 2 * 0.5) / (4 + 2)
    second = (1 + 2 * first) / (2 + 2)
    assert seen.chances() == pytest.approx([1, first, first * second, first * second**2])


def test_expected_passes_are_those_of_a_simulation() -> None:
    rng = np.random.default_rng(0)
    lengths = np.array([1, 2, 7, 30, 300])
    counted = expected_passes(HALF, lengths)
    assert counted.shape == (5, 5)
    assert counted[0].tolist() == lengths.tolist()  # tau = 0: a token a pass
    for tau, n in ((2, 7), (4, 30)):
        passes = []
        for _ in range(4000):
            left, cycles = n, 0
            while left > 0:
                left -= min(rng.geometric(0.5) - 1, tau) + 1
                cycles += 1
            passes.append(cycles)
        error = 4 * np.std(passes) / np.sqrt(4000)  # one false alarm in 15,000
        assert counted[tau, lengths.tolist().index(n)] == pytest.approx(np.mean(passes), abs=error)


def test_a_frontier_keeps_every_requests_pace() -> None:
    some = recent()._replace(decode_ms=np.repeat([6.5, 19.5], 20))
    seen = frontier(HALF, some, 0.95, 10.0)
    passes = expected_passes(HALF, np.array([8]))[:, 0]
    np.testing.assert_allclose(seen.passes_per_request, passes)
    np.testing.assert_allclose(seen.passes_per_token, passes / 8)
    spent = passes * some.cycle_ms  # on average; a half takes half of that, the others 1.5 times
    np.testing.assert_allclose(seen.latency_ms, 1 + 1.5 * spent)
    np.testing.assert_allclose(seen.tokens_per_s, 8e3 / spent)
    assert set(seen.late.tolist()) <= {0.0, 0.5, 1.0}


def test_a_frontier_keeps_every_requests_luck_at_the_depths_that_it_drafted() -> None:
    some = recent()
    some.cycles_by_tau[:] = [0, 0, 0, 0, 6]
    some.cycles_by_accepted[:20] = [0, 6, 0, 0, 0]  # 6 first tokens, where 3 were to be expected
    some.cycles_by_accepted[20:] = [5, 0, 0, 0, 1]  # 1, but 4 up to the last depth, of 5.625
    costs = some._replace(decode_ms=some.cycles_by_tau @ some.cycle_ms)
    seen = frontier(HALF, costs, 1.0, None)
    passes = expected_passes(HALF, np.array([8]))[:, 0]
    np.testing.assert_allclose(seen.passes_per_request, passes)
    for tau, accepted, lucks in ((1, 0.5, (7 / 4, 2 / 4)), (4, 0.9375, (7 / 6.625, 5 / 6.625))):
        lucky, unlucky = (1 / (1 + luck * accepted) for luck in lucks)
        most = passes[tau] * 2 * unlucky / (lucky + unlucky)
        assert seen.latency_ms[tau] == pytest.approx(1 + most * some.cycle_ms[tau])


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30),
    st.integers(1, 4),
)
def test_a_frontier_takes_no_change_of_tau_for_a_spread_of_requests(
    cycles: list[tuple[int, int]], count: int
) -> None:
    by_tau, by_accepted = np.zeros((2, count, 5), np.int64)
    for number, (tau, accepted) in enumerate(cycles):
        by_tau[number % count, tau] += 1
        by_accepted[number % count, min(accepted, tau)] += 1
    whole, costs = np.full(count, 8), 2 + np.arange(5.0) / 4
    some = Recent(whole, whole, np.zeros(count), by_tau @ costs, by_tau, by_accepted, costs)
    seen = frontier(HALF, some, 1.0, None)
    ran = (by_tau.sum(axis=1) > 0).any()
    assert seen.latency_ms[0] == pytest.approx(8 * costs[0] * ran)
    expected = expected_passes(HALF, np.array([8]))[:, 0]
    np.testing.assert_allclose(seen.passes_per_request, expected)


def test_the_least_mixture_is_on_the_lower_hull() -> None:
    passes, late = np.array([8.0, 4.0, 2.0]), np.array([0.0, 0.1, 0.5])
    # A share s of the last, 1 - s of the second: 0.1 + 0.4 s = 0.2, and 4 - 2 / 4.
    assert least_mixture(passes, late, 0.2) == pytest.approx(3.5)
    assert least_mixture(passes, late, 0.05) == pytest.approx(6.0)
    assert least_mixture(passes, late, 0.6) == 2.0
    assert least_mixture(passes, late + 1, 0.6) == float("inf")


def judge(average: float | None = None, target_ms: float | None = None) -> Feasibility:
    latency = None if target_ms is None else LatencyTarget(target_ms)
    budget = None if average is None else PassBudget(average)
    return assess(Constraints(budget, latency), recent(), SEEN)


def test_what_cannot_be_kept_is_said_with_the_nearest_that_can() -> None:
    least = expected_passes(HALF, np.array([8]))[:, 0].min()
    assert not judge(average=least + 0.01).infeasible
    told = judge(average=least - 0.2)
    assert told.budget_infeasible
    assert told.infeasible
    assert told.least_passes == pytest.approx(least)
    assert f"least passes possible are {least:.3g}" in str(told)
    assert str(judge(average=8.0)) == "nothing is infeasible, by 40 requests"


def test_drafts_longer_than_those_tried_get_the_benefit_of_the_doubt() -> None:
    # Whoever drafts two tokens a cycle has seen five of the third ones, none of them right.
    short = Survival(np.array([400.0, 200, 5, 0]), np.array([200.0, 100, 0, 0]))
    least = expected_passes(short.chances(), np.array([8])).min()
    average = 0.95 * least
    assert assess(Constraints(PassBudget(average)), recent(), SEEN).least_passes < average
    told = assess(Constraints(PassBudget(average)), recent(), short)
    assert told.least_passes == pytest.approx(least)
    assert not told.infeasible
    often = Survival(np.array([400.0, 200, 100, 20]), np.array([200.0, 100, 14, 3]))
    assert expected_passes(often.chances(), np.array([8])).min() == pytest.approx(least, rel=0.02)
    assert assess(Constraints(PassBudget(0.9 * least)), recent(), often).budget_infeasible


def test_a_target_that_the_fastest_tau_misses_is_infeasible() -> None:
    fastest = judge(target_ms=1e3).least_latency_ms
    told = judge(target_ms=0.8 * fastest)
    assert told.latency_infeasible
    assert told.least_late == 1
    assert f"least latency possible is {fastest:.4g} ms" in str(told)
    assert not judge(target_ms=15.01).infeasible  # none of the requests seen was late


def test_two_promises_may_be_infeasible_together() -> None:
    # The fastest tau keeps the target and the longest draft the budget, none keeps both.
    costs = recent()._replace(cycle_ms=np.array([4.0, 2.0, 3.0, 6.0, 8.0]))
    seen = frontier(HALF, costs, 0.95, None)
    least, fastest = seen.passes_per_request.min(), seen.latency_ms.min()
    promised = Constraints(PassBudget(least * 1.01), LatencyTarget(fastest * 1.01))
    told = assess(promised, costs, SEEN)
    assert not told.budget_infeasible
    assert not told.latency_infeasible
    assert told.infeasible
    assert told.passes_for_latency > least * 1.01
    assert told.latency_for_budget_ms > fastest * 1.01
    # All requests are alike: with the longest draft all are late, and that share is aimed at.
    assert 0 < told.least_late <= 1
    assert "cannot be kept together" in str(told)
