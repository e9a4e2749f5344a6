"""Logs: a line for each request that ends and each thing worth telling, and no flood."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Constraints, Controller, PassBudget
from adaptive_spec.operations.logs import JsonFormatter, Log
from adaptive_spec.operations.notices import Notices
from adaptive_spec.operations.requests import RequestRecord, Requests
from tests.operations.driving import Planned, admit, cycle


class Lines(logging.Handler):
    """Keeps formatted lines."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        assert "\n" not in text
        self.lines.append(json.loads(text))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("adaptive_spec.operations")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


def controlled(**options: Any) -> tuple[Controller, Planned]:
    policy = Planned()
    costs = ConstantCosts(draft=0.1, plain_ms=10.0)
    return Controller(policy, costs=costs, max_draft_tokens=5, **options), policy


def test_a_line_for_each_request_that_ends(lines: Lines) -> None:
    classes = {"chat": Constraints(), "batch": Constraints()}
    controller, policy = controlled(constraints=classes)
    clock = Clock()
    Requests(controller, Log().request, clock=clock)
    rows = admit(controller, "ä", "b", request_class=np.array([0, 1]))
    cycle(controller, 2, draft_ms=1.0, verify_ms=9.0)
    policy.tau, clock.now = 0, 1.5
    cycle(controller, 0, draft_ms=0.0, verify_ms=9.0)
    controller.release(rows[:1])
    controller.release(rows[1:], finished=False)
    first, second = lines.lines
    assert first["event"] == "request"
    assert (first["level"], first["logger"]) == ("info", "adaptive_spec.operations")
    fields = {k: v for k, v in first.items() if k not in ("time", "level", "logger", "event")}
    assert fields == {
        "request_id": "ä",
        "request_class": "chat",
        "finished": True,
        "began_s": 0.0,
        "ended_s": 1.5,
        "prompt_tokens": 5,
        "emitted_tokens": 4,
        "passes": 2,
        "fallback_passes": 1,
        "draft_tokens": 3,
        "accepted_tokens": 2,
        "waited_ms": 0.0,
        "decode_ms": 19.0,
    }
    assert (second["request_id"], second["request_class"]) == ("b", "batch")
    assert second["finished"] is False


def test_rows_begin_afresh_and_requests_without_ids_have_numbers() -> None:
    controller, _ = controlled()
    early = admit(controller, "early")
    records: list[RequestRecord] = []
    Requests(controller, records.append)
    cycle(controller, 1)
    controller.release(early)
    again = controller.admit(np.array([5]), np.array([50]))
    controller.release(again)
    assert [record.request_id for record in records] == ["#0", "#1"]
    assert [record.draft_tokens for record in records] == [3, 0]


def test_no_kind_of_event_floods_the_log(lines: Lines) -> None:
    clock = Clock()
    log = Log(per_second=2.0, burst=3, clock=clock)
    for _ in range(10):
        log.write("often")
    log.write("seldom")
    clock.now = 1.0
    for _ in range(3):
        log.write("often", number=7)
    said = [(line["event"], line.get("suppressed")) for line in lines.lines]
    assert said == [*3 * [("often", None)], ("seldom", None), ("often", 7), ("often", None)]


def test_lines_are_json_whatever_they_hold(lines: Lines) -> None:
    Log().write("odd", share=float("nan"), least=float("inf"), what=object, text="a\nb")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("adaptive_spec.operations").exception("plain %d", 3)
    odd, plain = lines.lines
    assert (odd["share"], odd["least"], odd["text"]) == (None, None, "a\nb")
    assert plain["event"] == "plain 3"
    assert "ValueError: broken" in plain["exception"]


def test_fallback_is_told_when_it_begins_and_ends_and_not_at_every_probe(lines: Lines) -> None:
    controller, policy = controlled()
    Notices(controller, Log())
    admit(controller, "a")
    for number in range(600):
        policy.tau = 1 if number % 32 == 0 else 0
        cycle(controller, 0)
    assert [line["event"] for line in lines.lines] == ["fallback entered"]
    policy.tau = 3
    for _ in range(100):
        cycle(controller, 1)
    assert [line["event"] for line in lines.lines][1:] == ["fallback left"]


def test_what_cannot_be_kept_is_told_once_and_taken_back(lines: Lines) -> None:
    budget = Constraints(budget=PassBudget(average_passes=2.0, hard=False))
    controller, policy = controlled(constraints=budget)
    Notices(controller, Log())

    def serve(requests: int, accepted: int) -> None:
        for i in range(requests):
            rows = admit(controller, str(i), tokens=20)
            for _ in range(20):
                cycle(controller, accepted)
            controller.release(rows)

    policy.tau = 5
    serve(30, accepted=0)
    [line] = lines.lines
    assert (line["event"], line["level"], line["request_class"]) == ("infeasible", "warning", "all")
    assert line["least_passes"] > 2.0
    assert "least passes possible" in line["reason"]
    controller.change_constraints(Constraints(budget=PassBudget(average_passes=100.0, hard=False)))
    serve(30, accepted=0)
    assert [line["event"] for line in lines.lines] == ["infeasible", "feasible again"]


def test_a_policy_that_failed_is_told_of_once(lines: Lines) -> None:
    controller, policy = controlled()
    Notices(controller, Log())
    admit(controller, "a")
    cycle(controller, 1)
    policy.failure = ValueError("it is NaN")  # type: ignore[attr-defined]
    cycle(controller, 1)
    cycle(controller, 1)
    [line] = lines.lines
    assert (line["event"], line["level"]) == ("policy failed", "error")
    assert (line["policy"], line["error"]) == ("Planned", "ValueError: it is NaN")
