"""Asynchronous scheduling: a step is planned before the outcome of the one before is known."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.vllm.conftest import TIMEOUT_S

pytestmark = pytest.mark.vllm

POLICIES = ("auto", "test-ragged", "test-raises", "fixed:tau=0")


@pytest.fixture(scope="session")
def scheduled(
    environment: dict[str, str],
    tiny_pair: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, dict[str, Any]]:
    """What came of ten requests, by policy."""
    result = tmp_path_factory.mktemp("scheduled") / "result.json"
    module = "tests.integrations.vllm.scheduled"
    done = subprocess.run(
        [sys.executable, "-m", module, tiny_pair[0].parent, result, *POLICIES],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-8000:]
    found: dict[str, dict[str, Any]] = json.loads(result.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_no_request_is_lost_and_the_books_are_vllm_s(
    scheduled: dict[str, dict[str, Any]], policy: str
) -> None:
    found = scheduled[policy]
    books, drafted = found["books"], [sum(steps) for steps in found["drafted"]]
    assert found["scheduler"] == "AdaptiveAsyncScheduler"
    assert set(found["finished"].values()) == {"length"}
    assert len(found["finished"]) == len(drafted) == 10
    assert books["gave_up"] is None
    assert books["draft_tokens"] == sum(drafted)
    assert books["accepted_tokens"] == sum(sum(steps) for steps in found["accepted"])
    assert books["emitted_tokens"] == sum(found["tokens"])
    assert books["ledgers"]["all"]["requests"] == 10
    assert books["ledgers"]["all"]["tokens"] == sum(found["tokens"])


def test_every_request_gets_its_own_draft_length(scheduled: dict[str, dict[str, Any]]) -> None:
    assert len({tuple(steps) for steps in scheduled["test-ragged"]["drafted"]}) > 3
    assert max(map(max, scheduled["test-ragged"]["drafted"])) == 4
    assert not any(map(sum, scheduled["fixed:tau=0"]["drafted"]))


def test_some_were_preempted_on_the_way(scheduled: dict[str, dict[str, Any]]) -> None:
    assert scheduled["test-ragged"]["preemptions"] > 0


def test_a_policy_that_fails_costs_no_request(scheduled: dict[str, dict[str, Any]]) -> None:
    assert "on purpose" in scheduled["test-raises"]["books"]["policy_failure"]
