"""What a controller has a policy decide: caps, widths, and answers that break the contract."""

from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConfigError, ConstantCosts, Controller, PolicyContractError
from adaptive_spec.controller import UNLIMITED_TOKENS
from adaptive_spec.hints import Hints
from tests.controller.driven import Stubborn, greedy_controller, ints


def test_caps_leave_room_for_the_verifiers_own_token() -> None:
    controller = greedy_controller(max_draft_tokens=5)
    rows = controller.admit(ints(10, 10, 10), ints(100, 4, 1), ints(100, 100, 100))
    assert controller.decide(rows).tau.tolist() == [5, 3, 0]


def test_caps_end_with_the_drafters_context() -> None:
    controller = greedy_controller(max_draft_tokens=5)
    rows = controller.admit(ints(10, 10), ints(100, 100), ints(3, 0))
    plan = controller.decide(rows)
    assert plan.tau.tolist() == [3, 0]
    controller.observe(plan, plan.tau, ints(1, 0), ints(2, 1))
    assert controller.decide(rows).tau.tolist() == [1, 0]


def test_sequences_of_unknown_length_are_not_capped() -> None:
    controller = greedy_controller(max_draft_tokens=5)
    rows = controller.admit(ints(10), ints(UNLIMITED_TOKENS))
    assert controller.decide(rows).tau.tolist() == [5]


def test_the_callers_arrays_are_not_kept() -> None:
    controller = greedy_controller(max_draft_tokens=5)
    limit = ints(50)
    rows = controller.admit(ints(5), limit)
    limit[0] = 2
    assert controller.decide(rows).tau.tolist() == [5]


@pytest.mark.parametrize(
    ("tau", "message"),
    [
        (ints(99), "outside"),
        (ints(-1), "outside"),
        (np.array([1.0]), "must be integers"),
        (ints(1, 1), "shape"),
        (3, "shape"),
    ],
)
def test_a_policy_that_breaks_its_contract_is_named(tau: Any, message: str) -> None:
    controller = Controller(Stubborn(tau), costs=ConstantCosts(), max_draft_tokens=5)
    rows = controller.admit(ints(10), ints(100))
    with pytest.raises(PolicyContractError, match=f"Stubborn.decide: .*{message}"):
        controller.decide(rows)


@pytest.mark.parametrize(
    ("method", "result", "message"),
    [
        ("init", None, "init: must return a State"),
        ("decide", ints(1), "decide: must return a Decision"),
        ("update", None, "update: must return a State"),
    ],
)
def test_wrong_returns_are_named(method: str, result: Any, message: str) -> None:
    policy = Stubborn(ints(1))
    setattr(policy, method, lambda *args: result)

    def run() -> None:
        controller = Controller(policy, costs=ConstantCosts())
        plan = controller.decide(controller.admit(ints(5), ints(50)))
        controller.observe(plan, plan.tau, ints(0), ints(1))

    with pytest.raises(PolicyContractError, match=f"Stubborn.{message}"):
        run()


def test_what_a_policy_was_shown_never_changes() -> None:
    controller = greedy_controller(max_draft_tokens=3)
    rows = controller.admit(ints(5, 5), ints(50, 50))
    plan = controller.decide(rows)
    shown = [np.copy(a) for a in plan.cycle if isinstance(a, np.ndarray)]
    controller.observe(plan, plan.tau, ints(1, 1), ints(2, 2))
    controller.release(rows)
    controller.admit(ints(9, 9, 9), ints(9, 9, 9))
    after = [a for a in plan.cycle if isinstance(a, np.ndarray)]
    assert all(np.array_equal(a, b) for a, b in zip(shown, after, strict=True))


def test_uniform_widths_give_every_row_the_least_width_that_holds_the_mean() -> None:
    wanted = iter([ints(1, 2), ints(0, 0), ints(7, 8), ints(8, 8)])
    policy = Stubborn(lambda cycle: next(wanted))
    controller = Controller(policy, costs=ConstantCosts(), uniform_widths=(0, 2, 4, 8))
    rows = controller.admit(ints(5, 5), ints(50, 50))
    assert [controller.decide(rows).tau.tolist() for _ in range(4)] == [
        [2, 2],
        [0, 0],
        [8, 8],
        [8, 8],
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_draft_tokens": -1}, "max_draft_tokens = -1"),
        ({"max_draft_tokens": 5000}, "0 to 1024"),
        ({"uniform_widths": (1, 2)}, "must include 0"),
        ({"uniform_widths": (0, 99)}, "0..10"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        greedy_controller(**options)


class Hinted(Stubborn):
    takes_hints = True


def test_hints_are_for_those_who_take_them() -> None:
    given = Hints.unknown(1, 1)._replace(verifier_entropy=np.array([0.5]))
    plain = greedy_controller()
    assert plain.decide(plain.admit(ints(5), ints(9)), hints=given).cycle.hints is None
    controller = Controller(Hinted(ints(0)), costs=ConstantCosts())
    rows = controller.admit(ints(5), ints(9))
    assert controller.decide(rows, hints=given).cycle.hints is given
    unknown = controller.decide(rows).cycle.hints
    np.testing.assert_equal(unknown, Hints.unknown(1, 1))
    with pytest.raises(ConfigError, match=r"hints.match_length: has shape \(1, 2\), expected"):
        controller.decide(rows, hints=given._replace(match_length=np.ones((1, 2))))
