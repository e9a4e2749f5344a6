import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import Constraints, LatencyTarget, PassBudget
from adaptive_spec.constraints import Feasibility, Ledger

SPENT = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 80), st.floats(0, 500)), max_size=40)


@given(SPENT, st.floats(1, 20))
def test_the_ledger_counts_exactly_and_its_queue_bounds_the_excess(
    spent: list[tuple[int, int, float]], average: float
) -> None:
    promised, ledger = Constraints(PassBudget(average_passes=average, patience=10)), Ledger()
    for one in spent:
        ledger = ledger.settle(promised, *one)
    passes, tokens = [p for p, _, _ in spent], [t for _, t, _ in spent]
    assert ledger[:3] == (len(spent), sum(passes), sum(tokens))
    # A virtual queue is never below what was spent beyond the budget, but for its longest.
    excess = sum(passes) - average * len(passes)
    longest = 10 * average * math.log(65)
    assert ledger.queue_passes >= min(excess, longest - 50 * len(spent)) - 1e-9
    assert 0 <= ledger.queue_passes <= longest + 1e-9
    # The price is the queue in budgets of requests, and grows faster where it is long.
    share = ledger.queue_passes / average / 10
    assert share <= ledger.pass_price(promised) + 1e-12 <= 64 + 1e-9
    assert math.isclose(ledger.pass_price(promised), math.exp(share) - 1, abs_tol=1e-9)


@given(SPENT, st.floats(0, 64))
def test_a_price_that_is_given_stays_whatever_is_spent(
    spent: list[tuple[int, int, float]], price: float
) -> None:
    promised, ledger = Constraints(PassBudget(price=price)), Ledger()
    assert ledger.pass_price(promised) == price
    for one in spent:
        ledger = ledger.settle(promised, *one)
    assert ledger.pass_price(promised) == price
    assert ledger.passes == sum(passes for passes, _, _ in spent)
    assert ledger.queue_passes == ledger.excess_passes(promised) == 0.0


def test_what_was_overspent_is_paid_back() -> None:
    # Who takes 2.5 passes until the price is 1, and then 1.9, settles at 2 a request all the same.
    promised, ledger = Constraints(PassBudget(average_passes=2.0, patience=10)), Ledger()
    credit = 0.0
    for _ in range(2000):
        credit += 2.5 if ledger.pass_price(promised) < 1 else 1.5
        passes = int(credit)
        credit -= passes
        ledger = ledger.settle(promised, passes, 10, 0.0)
    assert ledger.mean_passes <= 2.0005  # the queue alone, 14 passes long, would leave 2.007


def test_an_average_by_tokens_weighs_requests_by_their_length() -> None:
    promised = Constraints(PassBudget(average_passes=0.5, per="token", patience=1))
    short = Ledger().settle(promised, 4, 4, 0.0)
    assert short.queue_passes == 2.0
    # 98 tokens took 40 passes, of 49; the excess of 2 passes in 4 tokens is aimed off a little.
    assert short.settle(promised, 40, 98, 0.0).queue_passes == 0.0


@pytest.mark.parametrize(("infeasible", "aim"), [(False, 2.0), (True, 3.06)])
def test_what_cannot_be_kept_is_not_aimed_at(infeasible: bool, aim: float) -> None:
    promised = Constraints(PassBudget(average_passes=2.0, patience=1))
    known = Feasibility(20, budget_infeasible=infeasible, least_passes=3.0)
    ledger = Ledger().settle(promised, 5, 9, 0.0, known)
    assert ledger.queue_passes == pytest.approx(5 - aim)


def test_a_budget_just_above_the_least_possible_is_paid_back_too() -> None:
    promised = Constraints(PassBudget(average_passes=2.0, patience=1))
    ledger = Ledger(
        requests=10, passes=40, over_passes=20.0
    )  # 20 too many: a tenth of a pass is to be saved
    for least, queue in ((1.99, 0.01), (1.5, 0.2)):
        known = Feasibility(20, least_passes=least)
        assert ledger.settle(promised, 2, 9, 0.0, known).queue_passes == pytest.approx(queue)


def test_late_requests_queue_up_and_are_made_good() -> None:
    promised = Constraints(latency=LatencyTarget(target_ms=250, quantile=0.9, patience=2))
    ledger = Ledger()
    for latency_ms in (250, 251, 300):
        ledger = ledger.settle(promised, 1, 1, latency_ms)
    # 0.9 for each late one; after the first one in three, what is aimed at is a little less late.
    assert ledger.late == 2
    assert ledger.queue_late == pytest.approx(1.8, abs=0.01)
    assert ledger.late_price(promised) == ledger.queue_late / 2
    for _ in range(30):
        ledger = ledger.settle(promised, 1, 1, 100.0)
    assert ledger.queue_late == 0.0


def test_lateness_that_cannot_be_helped_does_not_queue_up() -> None:
    promised = Constraints(latency=LatencyTarget(target_ms=250, quantile=0.95))
    ledger, known = Ledger(), Feasibility(20, latency_infeasible=True, least_late=0.5)
    for number in range(200):
        ledger = ledger.settle(promised, 1, 1, 300.0 if number % 2 else 200.0, known)
    assert ledger.late == 100
    assert ledger.queue_late < 1
    for _ in range(200):
        ledger = ledger.settle(promised, 1, 1, 300.0)
    assert ledger.queue_late == 20 * 2  # the longest; patience is 2


def test_what_was_spent_before_it_was_promised_is_not_paid_back() -> None:
    ledger = Ledger()
    for _ in range(100):
        ledger = ledger.settle(Constraints(), 10, 20, 900.0)
    promised = Constraints(PassBudget(7.0), LatencyTarget(250.0))
    assert ledger.excess_passes(promised) == 0
    ledger = ledger.settle(promised, 9, 20, 900.0)
    assert ledger.passes == 1009
    assert ledger.queue_passes == ledger.excess_passes(promised) == 2
    assert ledger.late == 1
    assert ledger.over_late == pytest.approx(0.95)
    # Nor does a promise that is changed make debts of what was allowed.
    assert ledger.settle(Constraints(PassBudget(3.0)), 3, 20, 1.0).over_passes == 2


def test_mean_of_nothing_is_not_a_number() -> None:
    assert math.isnan(Ledger().mean_passes)
