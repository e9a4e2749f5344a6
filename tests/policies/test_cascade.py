import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, PolicySpecError, make_policy
from adaptive_spec.controller import UNLIMITED_TOKENS
from adaptive_spec.policies.cascade import Cascade
from tests.policies.driving import drive, priced

HALF = ConstantCosts(draft=0.5)
"""A cycle takes 1 + .5 tau plain ones."""


def test_decisions_worked_by_hand() -> None:
    policy = Cascade(taus=(1, 3), test_cycles=2, set_cycles=3, longest_pause=5)
    history = [
        # (tau, run) of each cycle. U(1) = (2 + 2) / (1.5 + 1.5) = 1.333 >= 1: test on.
        *[(1, 1), (1, 1)],
        # U(3) = (4 + 1) / (2.5 + 2.5) = 1: the best is 1, for 3 cycles.
        *[(3, 3), (3, 0)],
        *[(1, 0), (1, 0), (1, 0)],
        # U(1) = (1 + 1) / 3 = .667 < 1: off at once, for 3 cycles; then for 5 (6, capped), for 5.
        *[(1, 0), (1, 0)],
        *[(0, 9)] * 3,
        *[(1, 0), (1, 0)],
        *[(0, 9)] * 5,
        *[(1, 0), (1, 0)],
        *[(0, 9)] * 5,
        # U(1) = 1.333, U(3) = (4 + 4) / 5 = 1.6: the best is 3.
        *[(1, 1), (1, 1)],
        *[(3, 3), (3, 3)],
        *[(3, 0)] * 3,
        # Off again, for 3 cycles: the pause began anew.
        *[(1, 0), (1, 0)],
        *[(0, 9)] * 3,
        (1, 0),
    ]
    assert drive(policy, [run for _, run in history], HALF) == [tau for tau, _ in history]


def test_published_defaults() -> None:
    taus = drive(Cascade(), [9] * 33)
    # Costs 1 + .1 tau, all accepted: the longest wins, 9 / 1.8.
    assert taus == [1] * 4 + [2] * 4 + [4] * 4 + [8] * 4 + [8] * 16 + [1]


def test_a_later_length_may_be_worth_less_than_plain_decoding() -> None:
    # U(1) = 2 / 1.5; U(4) = 2 / 3: the test goes on after it, and 1 is chosen.
    policy = Cascade(taus=(1, 4, 2), test_cycles=1, set_cycles=2)
    assert drive(policy, [1] * 5, HALF) == [1, 4, 2, 1, 1]


def test_late_outcomes_of_the_phase_before_do_not_count() -> None:
    policy = Cascade(taus=(1,), test_cycles=1, set_cycles=1, longest_pause=1)
    controller = Controller(policy, costs=HALF)
    rows = controller.admit(np.array([10]), np.array([UNLIMITED_TOKENS]))
    none = np.array([0])
    first, second = controller.decide(rows), controller.decide(rows)
    controller.observe(first, first.tau, none, none + 1)  # U = 1 / 1.5: off for a cycle
    controller.observe(second, second.tau, none, none + 1)  # of the test that is over
    third = controller.decide(rows)
    controller.observe(third, third.tau, none, none + 1)
    fourth = controller.decide(rows)
    assert [int(plan.tau[0]) for plan in (first, second, third, fourth)] == [1, 1, 0, 1]


def test_the_price_of_a_pass_raises_utility() -> None:
    # Runs 1, 0 at tau 1, where a cycle takes 2 plain ones: U = 3 / (2 + 2) < 1. With passes that
    # cost 2 plain cycles more, U = 3 / (4 / 3 + 4 / 3) = 1.125.
    for price, then in ((0.0, 0), (2.0, 1)):
        policy = priced(Cascade, price)(taus=(1,), test_cycles=2)
        controller = Controller(policy, costs=ConstantCosts(draft=1.0))
        rows = controller.admit(np.array([10]), np.array([UNLIMITED_TOKENS]))
        for run in (1, 0):
            plan = controller.decide(rows)
            accepted = np.array([run])
            controller.observe(plan, plan.tau, accepted, accepted + 1)
        assert controller.decide(rows).tau.tolist() == [then]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cascade:taus=0/1", "draft lengths in 1..1024"),
        ("cascade:taus=1/2/3/4/5", "at most 4 lengths are tested"),
        ("cascade:test_cycles=0", "test_cycles = 0; it must be at least 1"),
        ("cascade:set_cycles=0", "set_cycles = 0; it must be at least 1"),
        ("cascade:set_cycles=200", "longest_pause = 128; it must be at least set_cycles = 200"),
    ],
)
def test_values_out_of_range_are_refused(spec: str, message: str) -> None:
    with pytest.raises(PolicySpecError, match=message):
        make_policy(spec)
