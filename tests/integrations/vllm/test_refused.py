"""A wrong configuration is refused when the engine starts, with the reason and the fix."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.vllm.conftest import TIMEOUT_S

pytestmark = pytest.mark.vllm

CASES = {
    "unknown policy": ({"configuration": {"policy": "autp"}}, "did you mean 'auto'"),
    "unknown field": ({"configuration": {"polcy": "auto"}}, "did you mean 'policy'"),
    "tau": (
        {"configuration": {"policy": "fixed:tau=9"}},
        "tau = 9, and the engine drafts 4 tokens at most; lower it",
    ),
    "no speculation": ({"engine": {"speculative_config": None}}, "give it a drafter"),
    "method": (
        {"changed": {"speculative_config": {"method": "dflash"}}},
        "'dflash' is not supported; supported are draft_model",
    ),
    "data parallel": (
        {"changed": {"parallel_config": {"data_parallel_size": 2}}},
        "one engine per replica",
    ),
    "fails at once": (
        {"configuration": {"policy": "test-broken"}},
        "fails as soon as it is asked (ZeroDivisionError: on purpose)",
    ),
    "books": ({"configuration": {"books": "/dev/null/books.json"}}, "cannot be written"),
}


def test_wrong_configurations_are_refused_with_the_reason(
    environment: dict[str, str], tiny_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    result = tmp_path / "result.json"
    cases = json.dumps({name: case for name, (case, _) in CASES.items()})
    module = "tests.integrations.vllm.refused"
    done = subprocess.run(
        [sys.executable, "-m", module, tiny_pair[0].parent, result, cases],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-8000:]
    said = json.loads(result.read_text(encoding="utf-8"))
    for name, (_, expected) in CASES.items():
        assert expected in said.get(name, "nothing"), name
