"""vLLM offline with the built-in pair, and the flagship policy."""

from pathlib import Path
from typing import Any

import pytest

from tests.integrations.vllm.conftest import Run
from tests.integrations.vllm.pair import draft_folder, verifier_folder
from tests.integrations.vllm.requests import of_texts

pytestmark = pytest.mark.vllm

REQUESTS = of_texts(max_tokens=24)
RUNS: list[dict[str, Any]] = [
    {
        "configuration": {"policy": "auto", "decision_limit_ms": 60_000.0},
        "requests": REQUESTS,
    },
    {"requests": REQUESTS},
]


@pytest.fixture(scope="session")
def plain(run_engine: Run, weights: Path) -> list[dict[str, Any]]:
    """Outputs without speculation."""
    del weights  # skips where they are not installed
    return list(run_engine([{"requests": REQUESTS}], **_model())[0]["outputs"])


def _model() -> dict[str, Any]:
    return {"model": str(verifier_folder()), "max_model_len": 1024}


@pytest.mark.parametrize("method", ["ngram", "draft_model"])
def test_the_text_is_vllm_s_own_and_so_are_the_counts(
    run_engine: Run, plain: list[dict[str, Any]], method: str
) -> None:
    of_method: dict[str, dict[str, Any]] = {
        "ngram": {"prompt_lookup_min": 2, "prompt_lookup_max": 4},
        "draft_model": {},
    }
    if method == "draft_model":
        of_method[method] = {"model": str(draft_folder())}
    auto, stock = run_engine(
        RUNS,
        **_model(),
        speculative_config={"method": method, "num_speculative_tokens": 5, **of_method[method]},
        per_request_spec_decode_metrics="detailed",
    )
    for one, other, static in zip(plain, auto["outputs"], stock["outputs"], strict=True):
        assert other["text"] == static["text"] == one["text"]
        assert other["token_ids"] == one["token_ids"]
        assert other["finish_reason"] == one["finish_reason"]
    metrics = [output["metrics"] for output in auto["outputs"]]
    assert auto["books"]["policy_failure"] is auto["books"]["gave_up"] is None
    assert auto["books"]["draft_tokens"] == sum(one["num_draft_tokens"] for one in metrics) > 0
    assert auto["books"]["accepted_tokens"] == sum(sum(one["per_step_accepted"]) for one in metrics)
    assert auto["books"]["ledgers"]["all"]["requests"] == len(REQUESTS)
