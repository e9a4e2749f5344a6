import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import ConfigError, PassBudget
from adaptive_spec.budget import UNLIMITED_TOKENS, Ledger


@given(st.lists(st.lists(st.integers(0, 50), max_size=4)), st.floats(0.5, 20))
def test_the_ledger_counts_exactly_and_its_queue_bounds_the_excess(
    batches: list[list[int]], average: float
) -> None:
    budget, ledger = PassBudget(average_passes=average), Ledger()
    for batch in batches:
        ledger = ledger.settle(budget, np.array(batch, np.int64))
    passes = [p for batch in batches for p in batch]
    assert (ledger.requests, ledger.passes) == (len(passes), sum(passes))
    # A virtual queue is never below what was spent beyond the budget.
    assert ledger.queue_passes >= sum(passes) - average * len(passes) - 1e-9
    assert ledger.queue_passes >= 0
    assert ledger.pass_price(budget) == ledger.queue_passes / budget.patience


def test_settling_one_by_one_is_settling_together() -> None:
    budget = PassBudget(average_passes=3)
    together = Ledger().settle(budget, np.array([5, 1, 1, 9]))
    single = Ledger()
    for passes in (5, 1, 1, 9):
        single = single.settle(budget, np.array([passes]))
    assert together == single == Ledger(4, 16, 6.0)


def test_mean_of_nothing_is_not_a_number() -> None:
    assert math.isnan(Ledger().mean_passes)


def test_least_tau_is_the_least_that_can_still_finish() -> None:
    budget = PassBudget(max_passes=5)
    passes, left = np.array([0, 0, 4, 5, 0]), np.array([10, 5, 3, 3, 1])
    assert budget.least_tau(passes, left).tolist() == [1, 0, 2, 2, 0]
    assert PassBudget().least_tau(passes, left).tolist() == [0] * 5


def test_nothing_is_asked_of_a_sequence_of_unknown_length() -> None:
    budget = PassBudget(max_passes=5)
    unknown = np.array([UNLIMITED_TOKENS, UNLIMITED_TOKENS - 100])
    assert budget.least_tau(np.array([0, 4]), unknown).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"average_passes": 0}, "average_passes = 0"),
        ({"average_passes": -2.0}, "average_passes = -2"),
        ({"average_passes": math.nan}, "average_passes = nan"),
        ({"average_passes": math.inf}, "average_passes = inf"),
        ({"max_passes": 0}, "max_passes = 0"),
        ({"patience": 0.0}, "patience = 0"),
    ],
)
def test_absurd_budgets_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PassBudget(**fields)  # type: ignore[arg-type]
