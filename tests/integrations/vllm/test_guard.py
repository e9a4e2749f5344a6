import logging

import pytest

from adaptive_spec.integrations.vllm.guard import Guard


def test_an_exception_is_logged_once_and_nothing_is_called_any_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guard, calls = Guard(limit_ms=100.0), []

    def fail() -> None:
        calls.append(1)
        raise ZeroDivisionError("on purpose")

    assert guard.call(lambda: 3) == 3
    assert [guard.call(fail), guard.call(fail), guard.call(lambda: 3)] == [None, None, None]
    assert calls == [1]
    assert guard.gave_up == "ZeroDivisionError: on purpose"
    assert len(caplog.records) == 1


def test_slow_calls_are_endured_three_times(caplog: pytest.LogCaptureFixture) -> None:
    ticks = iter([0.0, 0.05] + [x for i in range(3) for x in (i, i + 0.9)] + [9.0, 9.1])
    guard = Guard(limit_ms=100.0, clock=lambda: next(ticks))
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            assert guard.call(lambda: 3) == 3
    assert guard.gave_up == "3 of 4 decisions were slow"
    assert guard.call(lambda: 3) is None
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert guard.spent_ms == pytest.approx(2750.0)


def test_a_slow_call_now_and_then_is_endured() -> None:
    ticks = iter(float(x) for i in range(400) for x in (i, i + (0.9 if i % 60 == 0 else 0.0)))
    guard = Guard(limit_ms=100.0, clock=lambda: next(ticks))
    for _ in range(400):
        guard.call(lambda: 3)
    assert guard.gave_up is None
