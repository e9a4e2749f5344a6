"""Rows of a controller: who has which, and which may be decided on."""

import pytest

from adaptive_spec import ConfigError
from tests.controller.driven import greedy_controller, ints


def test_rows_are_reused_lowest_first() -> None:
    controller = greedy_controller()
    assert controller.admit(ints(1, 1, 1), ints(9, 9, 9)).tolist() == [0, 1, 2]
    controller.release(ints(0, 2), finished=False)
    assert controller.admit(ints(1), ints(9)).tolist() == [0]
    assert controller.admit(ints(1, 1), ints(9, 9)).tolist() == [2, 3]


def test_rows_must_be_in_use_and_in_order() -> None:
    controller = greedy_controller()
    rows = controller.admit(ints(5, 5), ints(50, 50))
    with pytest.raises(ConfigError, match="ascending"):
        controller.decide(rows[::-1])
    controller.release(rows[:1])
    with pytest.raises(ConfigError, match="in use"):
        controller.decide(rows)
    with pytest.raises(ConfigError, match="not all in use"):
        controller.release(rows[:1])


def test_sequences_without_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        greedy_controller().admit(ints(0), ints(5))


def test_a_plan_withdrawn_counts_no_pass() -> None:
    controller = greedy_controller()
    rows = controller.admit(ints(5, 5, 5), ints(50, 50, 50))
    controller.decide(rows)
    plan = controller.decide(rows)
    controller.release(rows[:1])
    controller.admit(ints(7), ints(50))  # takes the row of the one that left
    controller.withdraw(plan)
    assert controller.passes(rows).tolist() == [0, 1, 1]
    again = controller.decide(rows[1:])
    assert again.cycle.cycle_index.tolist() == plan.cycle.cycle_index[1:].tolist()
    assert again.tau.tolist() == plan.tau[1:].tolist()
