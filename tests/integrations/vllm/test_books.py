import json
from pathlib import Path

import pytest

from adaptive_spec import ConfigError, ConstantCosts, Controller, make_policy
from adaptive_spec.integrations.driver import Driver
from adaptive_spec.integrations.safety import SafePolicy
from adaptive_spec.integrations.vllm.books import Books
from adaptive_spec.integrations.vllm.guard import Guard
from adaptive_spec.integrations.vllm.steering import Steering


def parts() -> tuple[Steering, SafePolicy, Guard]:
    policy = SafePolicy(make_policy("fixed"), static_tau=4)
    driver = Driver(Controller(policy, costs=ConstantCosts()), drafts_ahead=True)
    return Steering(driver, placeholders=False, one_width=False), policy, Guard(limit_ms=100.0)


def test_books_are_written_now_and_then_and_at_once_if_asked(tmp_path: Path) -> None:
    path, now = tmp_path / "books.json", [0.0]
    steering, policy, guard = parts()
    books = Books(str(path), steering, policy, guard, clock=lambda: now[0])
    steering.totals.draft_tokens = 7

    def written() -> int:
        return int(json.loads(path.read_text(encoding="utf-8"))["draft_tokens"])

    assert written() == 0
    for now[0], at_once, expected in ((4.0, False, 0), (4.5, True, 7)):
        books.keep(at_once=at_once)
        assert written() == expected
    steering.totals.draft_tokens = 8
    now[0] = 10.0
    books.keep(at_once=False)
    assert written() == 8


def test_books_say_what_failed(tmp_path: Path) -> None:
    steering, policy, guard = parts()
    books = Books(None, steering, policy, guard)
    books.keep(at_once=True)
    assert list(tmp_path.iterdir()) == []
    found = books.as_dict()
    assert found["policy_failure"] is found["gave_up"] is None
    assert found["ledgers"]["all"]["requests"] == 0
    policy.failure = ValueError("too much")
    guard.gave_up = "slow"
    assert books.as_dict()["policy_failure"] == "ValueError: too much"
    assert books.as_dict()["gave_up"] == "slow"


def test_books_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        Books(str(tmp_path / "file" / "books.json"), *parts())
