"""Observers are told what a controller does, and cannot disturb it."""

import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from adaptive_spec import ConfigError, make_policy
from adaptive_spec.observers import Admitted, Observer, Step
from adaptive_spec.randomness import request_key
from adaptive_spec.testing.histories import History, Play
from adaptive_spec.testing.strategies import histories
from tests.controller.driven import greedy_controller, ints


class Diary(Observer):
    """Writes down everything."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    def admitted(self, requests: Admitted) -> None:
        self.lines.append(("admitted", requests.rows.tolist(), requests.request_ids))

    def decided(self, rows: Any, cycle: Any, tau: Any, drafter: Any) -> None:
        self.lines.append(("decided", rows.tolist(), tau.tolist(), drafter.tolist()))

    def observed(self, rows: Any, outcome: Any) -> None:
        self.lines.append(("observed", rows.tolist(), outcome.num_emitted_tokens.tolist()))

    def released(self, rows: Any, counters: Any, finished: bool) -> None:
        self.lines.append(("released", rows.tolist(), counters.passes.tolist(), finished))

    def thought(self, step: Step, spent_ms: float) -> None:
        assert spent_ms >= 0
        self.lines.append((step,))


class Broken(Observer):
    def decided(self, rows: Any, cycle: Any, tau: Any, drafter: Any) -> None:
        raise ValueError("no disk left")


def test_everything_is_told_in_order() -> None:
    controller, diary = greedy_controller(max_draft_tokens=3), Diary()
    controller.watch(diary)
    rows = controller.admit(ints(5, 6), ints(50, 50), request_ids=["a", "b"])
    plan = controller.decide(rows)
    controller.observe(plan, ints(3, 3), ints(1, 3), ints(2, 4))
    controller.release(rows[:1])
    controller.release(rows[1:], finished=False)
    assert diary.lines == [
        ("admitted", [0, 1], ["a", "b"]),
        ("decide",),
        ("decided", [0, 1], [3, 3], [0, 0]),
        ("update",),
        ("observed", [0, 1], [2, 4]),
        ("released", [0], [1], True),
        ("released", [1], [1], False),
    ]


def test_outcomes_of_rows_that_are_gone_are_not_told() -> None:
    controller, diary = greedy_controller(max_draft_tokens=3), Diary()
    rows = controller.admit(ints(5, 6), ints(50, 50))
    plan = controller.decide(rows)
    controller.release(rows[:1])
    controller.watch(diary)
    controller.observe(plan, ints(3, 3), ints(1, 3), ints(2, 4))
    assert diary.lines == [("update",), ("observed", [1], [4])]


def test_one_that_fails_is_dropped_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    controller, diary = greedy_controller(), Diary()
    controller.watch(Broken())
    controller.watch(diary)
    rows = controller.admit(ints(5), ints(50))
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            plan = controller.decide(rows)
            controller.observe(plan, plan.tau, plan.tau, plan.tau + 1)
    assert [record.getMessage() for record in caplog.records] == [
        "observer Broken failed and is told no more; requests go on"
    ]
    assert "no disk left" in caplog.text
    assert [line[0] for line in diary.lines].count("observed") == 2


def test_the_key_of_a_request_is_that_of_its_id_wherever_it_runs() -> None:
    keys = []
    for before in (0, 3):
        controller = greedy_controller()
        controller.admit(np.full(before, 5), np.full(before, 50), request_ids=["x"] * before)
        rows = controller.admit(ints(5, 5), ints(50, 50), request_ids=["one", "zwei-ü"])
        keys.append(controller.decide(rows).cycle.request_key.tolist())
    assert keys[0] == keys[1] == [request_key("one"), request_key("zwei-ü")]
    assert all(0 <= key < 1 << 63 for key in keys[0])
    unnamed = greedy_controller()
    assert unnamed.decide(unnamed.admit(ints(5, 5), ints(9, 9))).cycle.request_key.tolist() == [
        0,
        1,
    ]
    with pytest.raises(ConfigError, match="1 request_ids for 2 requests"):
        unnamed.admit(ints(5, 5), ints(9, 9), request_ids=["one"])


@given(histories())
def test_watching_changes_no_decision(history: History) -> None:
    policy = make_policy("hazard")
    alone, watched = Play(policy, history), Play(policy, history)
    watched.controller.watch(Diary())
    for one, other in zip(alone, watched, strict=True):
        assert one.tau.tolist() == other.tau.tolist()
