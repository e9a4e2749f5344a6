"""The OpenAI-compatible server on loopback, with a pass budget, under 200 overlapping requests."""

import concurrent.futures
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integrations.vllm.conftest import ENGINE, TIMEOUT_S, Run
from tests.integrations.vllm.requests import of_tokens

pytestmark = pytest.mark.vllm

COUNT, AT_A_TIME = 200, 32
DISTINCT = of_tokens(max_tokens=16, count=40)
TOML = """
policy = "auto"
decision_limit_ms = 60000.0
books = {books}
operation = {{serve_metrics = {serves}}}

[classes.thrifty]
budget = {{average_passes = 8}}

[classes.free]
"""


class Served(NamedTuple):
    """What came of the requests.

    Attributes:
      answers: the server's, in the order of the requests.
      metrics: what it says at ``/metrics``; own_metrics: what the scheduler says at its own.
      books: what the scheduler wrote.
    """

    answers: list[dict[str, Any]]
    metrics: str
    own_metrics: str
    books: dict[str, Any]


@pytest.fixture(scope="session")
def served(
    environment: dict[str, str],
    tiny_pair: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Served:
    """The server's answers; it is configured by flags and a TOML file alone."""
    folder = tmp_path_factory.mktemp("server")
    books = folder / "books.json"
    config = folder / "adaptive_spec.toml"
    port, serves = free_port(), f"127.0.0.1:{free_port()}"
    text = TOML.format(books=json.dumps(str(books)), serves=json.dumps(serves))
    config.write_text(text, encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    speculation = {"method": "draft_model", "model": str(tiny_pair[1]), "num_speculative_tokens": 5}
    flags = {f"--{name.replace('_', '-')}": value for name, value in ENGINE.items()}
    del flags["--enforce-eager"]
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(tiny_pair[0]), "--served-model-name", "tiny", "--enforce-eager"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--speculative-config", json.dumps(speculation)),
        *("--scheduler-cls", "adaptive_spec.integrations.vllm.Scheduler"),
        *(str(part) for flag in flags.items() for part in flag),
    ]
    log = folder / "log"
    with log.open("w") as sink:
        server = subprocess.Popen(
            command,
            env={**environment, "ADAPTIVE_SPEC_CONFIG": str(config)},
            cwd=folder,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in _while_running(server, log):
            if _is_up(url):
                break
        with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
            answers = list(pool.map(lambda i: _complete(url, i), range(COUNT)))
        metrics = _get(f"{url}/metrics").decode()
        for _ in _while_running(server, log):
            written = json.loads(books.read_text(encoding="utf-8"))
            if sum(ledger["requests"] for ledger in written["ledgers"].values()) >= COUNT:
                break
        own_metrics = _get(f"http://{serves}/metrics").decode()
    finally:
        server.terminate()
        server.wait(timeout=60)
    return Served(answers, metrics, own_metrics, written)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _while_running(server: subprocess.Popen[bytes], log: Path) -> Iterator[None]:
    """Time and again, as long as the server runs and there is time left."""
    ends = time.monotonic() + TIMEOUT_S
    while server.poll() is None and time.monotonic() < ends:
        yield
        time.sleep(0.5)
    pytest.fail(log.read_text(encoding="utf-8")[-8000:], pytrace=False)


def _is_up(url: str) -> bool:
    try:
        _get(f"{url}/health")
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


def _get(url: str, body: dict[str, Any] | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers)  # noqa: S310  # loopback
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        read: bytes = answer.read()
    return read


def _complete(url: str, index: int) -> dict[str, Any]:
    request = DISTINCT[index % len(DISTINCT)]
    body = {
        "model": "tiny",
        "prompt": request["prompt"]["prompt_token_ids"],
        "max_tokens": request["sampling"]["max_tokens"],
        "temperature": 0.0,
        "vllm_xargs": {"adaptive_spec.request_class": "thrifty" if index % 4 else "free"},
    }
    answer: dict[str, Any] = json.loads(_get(f"{url}/v1/completions", body))
    return answer


@pytest.fixture(scope="session")
def texts(run_engine: Run, tiny_pair: tuple[Path, Path]) -> list[str]:
    """What unmodified vLLM says, without speculation."""
    requests = [
        {**request, "sampling": {**request["sampling"], "detokenize": True}} for request in DISTINCT
    ]
    [result] = run_engine([{"requests": requests}], model=str(tiny_pair[0]))
    return [output["text"] for output in result["outputs"]]


def test_no_request_is_lost_or_altered(served: Served, texts: list[str]) -> None:
    assert len(served.answers) == COUNT
    for i, answer in enumerate(served.answers):
        [choice] = answer["choices"]
        assert choice["text"] == texts[i % len(texts)]
        assert choice["finish_reason"] == "length"


def added_up(exposition: str) -> dict[str, float]:
    """Metrics that were scraped, by name, over all their labels."""
    from prometheus_client.parser import text_string_to_metric_families

    counted: dict[str, float] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            counted[sample.name] = counted.get(sample.name, 0.0) + sample.value
    return counted


def test_the_ledger_is_what_vllm_counts(served: Served) -> None:
    counted = added_up(served.metrics)
    books, ledgers = served.books, served.books["ledgers"]
    assert books["policy_failure"] is books["gave_up"] is None
    assert counted["vllm:request_success_total"] == COUNT
    assert ledgers["free"]["requests"] == COUNT // 4
    assert ledgers["thrifty"]["requests"] == COUNT - COUNT // 4
    tokens = ledgers["free"]["tokens"] + ledgers["thrifty"]["tokens"]
    assert tokens == counted["vllm:generation_tokens_total"]
    assert tokens == sum(answer["usage"]["completion_tokens"] for answer in served.answers)
    assert books["drafts"] == counted["vllm:spec_decode_num_drafts_total"]
    assert books["draft_tokens"] == counted["vllm:spec_decode_num_draft_tokens_total"]
    assert books["accepted_tokens"] == counted["vllm:spec_decode_num_accepted_tokens_total"]


def test_the_budget_is_kept(served: Served) -> None:
    thrifty = served.books["ledgers"]["thrifty"]
    assert thrifty["passes"] / thrifty["requests"] <= 8 * 1.1


def test_the_policy_s_own_metrics_say_the_same(served: Served) -> None:
    counted, books = added_up(served.own_metrics), served.books
    ledgers = books["ledgers"].values()
    for name, value in {
        "spec_decode_num_drafts_total": books["drafts"],
        "spec_decode_num_draft_tokens_total": books["draft_tokens"],
        "spec_decode_num_emitted_tokens_total": books["emitted_tokens"],
        "ledger_requests_total": COUNT,
        "ledger_passes_total": sum(ledger["passes"] for ledger in ledgers),
        "policy_failed": 0,
        "requests_running": 0,
    }.items():
        assert counted[f"adaptive_spec:{name}"] == value, name
