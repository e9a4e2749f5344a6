"""vLLM offline, with a tiny pair: its text is its own, its counts are what the policy was told."""

from pathlib import Path
from typing import Any

import pytest

from tests.integrations.vllm.conftest import Run
from tests.integrations.vllm.requests import of_tokens, wishing

pytestmark = pytest.mark.vllm

NUM_TOKENS = 5
REQUESTS = of_tokens(max_tokens=32)
WISHES = {"max_draft_tokens": 0, "request_class": "patient"}
WISHER = 2
OWN_PASSES = 3

CLASSES = {"hasty": {}, "patient": {"budget": {"average_passes": 30}}}

PATIENT = {"decision_limit_ms": 60_000.0}  # where other work is done, everything may be slow

RUNS: list[dict[str, Any]] = [
    {
        "name": "auto",
        "configuration": {"policy": "auto", "classes": CLASSES, **PATIENT},
        "requests": wishing(REQUESTS, WISHER, **WISHES),
    },
    {"name": "stock", "requests": REQUESTS},
    *(
        {
            "name": name,
            "configuration": {"policy": f"test-{name}", **PATIENT},
            "requests": REQUESTS,
        }
        for name in ("ragged", "raises", "nan")
    ),
    {
        "name": "stalls",
        "configuration": {"policy": "test-stalls", "decision_limit_ms": 900.0},
        "requests": REQUESTS,
    },
    {
        "name": "uniform",
        "configuration": {"policy": "test-ragged", "widths": [0, 2, 4], **PATIENT},
        "requests": REQUESTS,
    },
    {
        "name": "ended",
        "configuration": {
            "policy": "auto",
            "constraints": {"budget": {"max_passes": 6}},
            **PATIENT,
        },
        "requests": wishing(REQUESTS, WISHER, max_passes=OWN_PASSES),
    },
]
NAMES = [run["name"] for run in RUNS]
OF_A_POLICY = [name for name in NAMES if name not in ("stock", "stalls")]
WHOLE = [name for name in NAMES if name != "ended"]


@pytest.fixture(scope="session")
def plain(run_engine: Run, tiny_pair: tuple[Path, Path]) -> list[dict[str, Any]]:
    """Outputs without speculation."""
    return list(run_engine([{"requests": REQUESTS}], **_model(tiny_pair))[0]["outputs"])


@pytest.fixture(scope="session", params=["ngram", "draft_model"])
def served(
    request: pytest.FixtureRequest, run_engine: Run, tiny_pair: tuple[Path, Path]
) -> dict[str, dict[str, Any]]:
    """All runs of an engine that speculates, by name.

    There is less room in its cache than eight requests take, so that some are preempted.
    """
    of_method = {"method": "ngram", "prompt_lookup_min": 1, "prompt_lookup_max": 3}
    if request.param == "draft_model":
        of_method = {"method": "draft_model", "model": str(tiny_pair[1])}
    results = run_engine(
        RUNS,
        **_model(tiny_pair),
        speculative_config={**of_method, "num_speculative_tokens": NUM_TOKENS},
        per_request_spec_decode_metrics="detailed",
        num_gpu_blocks_override=20,
    )
    return dict(zip(NAMES, results, strict=True))


def _model(pair: tuple[Path, Path]) -> dict[str, Any]:
    return {"model": str(pair[0]), "skip_tokenizer_init": True}


@pytest.mark.parametrize("name", WHOLE)
def test_the_text_is_that_of_plain_decoding(
    plain: list[dict[str, Any]], served: dict[str, dict[str, Any]], name: str
) -> None:
    for one, other in zip(plain, served[name]["outputs"], strict=True):
        assert other["token_ids"] == one["token_ids"]
        assert other["finish_reason"] == one["finish_reason"]


@pytest.mark.parametrize("name", OF_A_POLICY)
def test_the_books_are_what_vllm_counts(served: dict[str, dict[str, Any]], name: str) -> None:
    books, outputs = served[name]["books"], served[name]["outputs"]
    metrics = [output["metrics"] for output in outputs]
    drafted = sum(one["num_draft_tokens"] for one in metrics)
    accepted = sum(j * n for one in metrics for j, n in enumerate(one["histogram"]))
    emitted = sum(len(output["token_ids"]) for output in outputs)
    assert books["gave_up"] is None
    assert books["draft_tokens"] == drafted
    assert books["drafts"] == sum(sum(one["histogram"]) for one in metrics)
    assert books["accepted_tokens"] == accepted
    assert books["emitted_tokens"] == emitted
    ledgers = books["ledgers"].values()
    assert sum(ledger["requests"] for ledger in ledgers) == len(outputs)
    assert sum(ledger["tokens"] for ledger in ledgers) == emitted


def test_every_request_gets_its_own_draft_length(served: dict[str, dict[str, Any]]) -> None:
    for output in served["ragged"]["outputs"]:
        assert max(output["metrics"]["per_step_drafted"], default=0) <= 4
    lengths = {
        tuple(output["metrics"]["per_step_drafted"]) for output in served["ragged"]["outputs"]
    }
    assert len(lengths) > 3
    steps = [len(output["metrics"]["per_step_drafted"]) for output in served["ragged"]["outputs"]]
    tokens = [len(output["token_ids"]) for output in served["ragged"]["outputs"]]
    assert all(drafts < all_of_them for drafts, all_of_them in zip(steps, tokens, strict=True))


def test_a_request_s_wishes_are_heeded(served: dict[str, dict[str, Any]]) -> None:
    wisher = served["auto"]["outputs"][WISHER]
    assert wisher["metrics"]["num_draft_tokens"] == 0
    ledgers = served["auto"]["books"]["ledgers"]
    assert ledgers["patient"]["requests"] == 1
    assert ledgers["patient"]["passes"] == ledgers["patient"]["tokens"]
    assert ledgers["patient"]["tokens"] == len(wisher["token_ids"])
    assert ledgers["hasty"]["requests"] == len(REQUESTS) - 1


@pytest.mark.parametrize(("name", "says"), [("raises", "on purpose"), ("nan", "integers")])
def test_a_policy_that_fails_costs_no_request(
    served: dict[str, dict[str, Any]], name: str, says: str
) -> None:
    assert says in served[name]["books"]["policy_failure"]
    assert (
        served["auto"]["log"].count(f"policy {'Raises' if name == 'raises' else 'AnswersNan'}") == 1
    )


def test_a_policy_that_stalls_is_given_up(served: dict[str, dict[str, Any]]) -> None:
    assert "were slow" in served["stalls"]["books"]["gave_up"]


def test_requests_whose_passes_are_spent_end_with_the_text_so_far(
    plain: list[dict[str, Any]], served: dict[str, dict[str, Any]]
) -> None:
    ended = [o for o in served["ended"]["outputs"] if o["stop_reason"] == "budget"]
    assert ended
    for one, other in zip(plain, served["ended"]["outputs"], strict=True):
        assert other["token_ids"] == one["token_ids"][: len(other["token_ids"])]
        if other["stop_reason"] == "budget":
            assert other["finish_reason"] == "length"
    assert served["ended"]["books"]["ledgers"]["all"]["passes"] <= 6 * len(REQUESTS)


def test_a_request_s_own_budget_is_kept(served: dict[str, dict[str, Any]]) -> None:
    wisher = served["ended"]["outputs"][WISHER]
    assert wisher["stop_reason"] == "budget"
    assert len(wisher["token_ids"]) <= OWN_PASSES * (NUM_TOKENS + 1)


def test_requests_were_preempted(served: dict[str, dict[str, Any]]) -> None:
    assert all(served[name]["preemptions"] > 0 for name in WHOLE)
