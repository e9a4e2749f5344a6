import json
from pathlib import Path
from typing import Any

import pytest

from adaptive_spec.traces import read_trace
from tests.cli.running import refuse, succeed
from tests.simulations import naive

RUNS: list[dict[str, Any]] = [
    {"id": "a", "category": "code", "prompt_tokens": 211, "run_lengths": [4, 0, 2, 1, 0, 9, 2, 0]},
    {"id": "b", "category": "chat", "prompt_tokens": 48, "run_lengths": [0, 0, 3, 2, 1]},
    {"id": "c", "prompt_tokens": 1, "run_lengths": [1], "max_new_tokens": 1},
    {"id": "d", "prompt_tokens": 7, "run_lengths": [6, 5, 4, 3, 2, 1, 0], "max_new_tokens": 7},
]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    path = tmp_path / "runs.jsonl"
    path.write_text("".join(json.dumps(run) + "\n" for run in RUNS), encoding="utf-8")
    return path


@pytest.mark.parametrize("tau", [0, 1, 3, 10])
def test_imported_runs_replay_as_a_naive_simulation(runs: Path, tmp_path: Path, tau: int) -> None:
    target = tmp_path / "imported.parquet"
    succeed("import", "run-lengths", runs, "-o", target, "--drafter", "eagle", "--verifier", "big")
    traces = read_trace(target)
    report = succeed(
        *("simulate", target, "-p", f"fixed:tau={tau}", "--json", "-"),
        *("--costs", "draft=0.2,verify=0.01"),
    ).json()
    (entry,) = report["policies"]
    one = [naive.fixed(sequence, tau, 0.2, 0.01) for sequence in traces]
    assert entry["tokens"] == sum(r.tokens for r in one) == 21
    assert entry["cycles"] == sum(r.cycles for r in one)
    assert entry["num_draft_tokens"] == sum(r.drafted for r in one)
    assert entry["wasted_draft_tokens"] == sum(r.drafted - r.accepted for r in one)
    assert entry["time"] == pytest.approx(sum(r.time for r in one))


def test_the_trace_says_where_it_is_from(runs: Path, tmp_path: Path) -> None:
    target = tmp_path / "imported.parquet"
    result = succeed(
        "import", "run-lengths", runs, "-o", target, "--drafter", "eagle", "--verifier", "big"
    )
    assert f"4 sequences, 21 tokens: trace written to {target}" in result.err
    info = read_trace(target).info
    assert (info.source, info.drafter, info.verifier) == ("imported", "eagle", "big")
    assert [s.category for s in read_trace(target)] == ["code", "chat", "", ""]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: expected a JSON object"),
        ('{"id": "x"}', "line 2: 'run_lengths' is missing"),
        ('{"id": "x", "prompt_tokens": 3, "run_lengths": [-1]}', r"run_lengths[0] = -1"),
        ('{"id": "x", "prompt_tokens": 3, "run_lengths": [1.5]}', r"run_lengths[0] = 1.5"),
        ('{"id": "x", "prompt_tokens": 0, "run_lengths": [1]}', "prompt_tokens = 0"),
        ('{"id": "a", "prompt_tokens": 1, "run_lengths": [1]}', "id 'a' appears twice"),
    ],
)
def test_malformed_lines_are_named_and_leave_an_earlier_trace(
    tmp_path: Path, line: str, words: str
) -> None:
    target = tmp_path / "imported.parquet"
    target.write_text("earlier", encoding="utf-8")
    source = tmp_path / "runs.jsonl"
    source.write_text(f"{json.dumps(RUNS[0])}\n{line}\n", encoding="utf-8")
    assert words in refuse("import", "run-lengths", source, "-o", target, code=1)
    assert target.read_text(encoding="utf-8") == "earlier"


def test_what_replay_cannot_tell_is_said_and_refused(tmp_path: Path) -> None:
    """From a histogram to a comparison, which says what it rests on."""
    info = {
        "prompt_tokens": 9,
        "completion_tokens": 40,
        "spec_verify_ct": 20,
        "spec_num_correct_drafts": 25,
        "spec_num_proposed_drafts": 60,
        "spec_correct_drafts_histogram": [8, 4, 3, 5],
    }
    source, target = tmp_path / "sglang.jsonl", tmp_path / "trace.parquet"
    source.write_text(json.dumps({"meta_info": info}) + "\n", encoding="utf-8")
    result = succeed("import", "sglang", source, "-o", target, "--json", tmp_path / "said.json")
    words = " ".join(result.out.split())
    assert "replay: distribution (run lengths are drawn from" in words
    assert "missing: the width of each round" in words
    assert "1 20 12 0.600 0.600" in words
    said = json.loads((tmp_path / "said.json").read_text(encoding="utf-8"))
    assert said["exactness"] == "distribution"
    assert said["acceptance"]["accepted"] == [12, 8, 5]
    assert "this trace tells of drafts of up to 3" in refuse("simulate", target, "-p", "ewma")
    again = succeed("simulate", target, "-p", "fixed:tau=2", "--max-draft-tokens", 3)
    assert f"{target}: distribution: run lengths are drawn" in again.err
    assert "this trace tells of drafts of up to 3" in refuse("compare", target, "-p", "ewma")


def test_averages_are_shown_and_are_no_trace(tmp_path: Path) -> None:
    timings = {"predicted_n": 40, "predicted_ms": 800, "draft_n": 30, "draft_n_accepted": 20}
    source = tmp_path / "llama.json"
    source.write_text(json.dumps({"timings": timings}, indent=1), encoding="utf-8")
    words = " ".join(succeed("import", "llama-timings", source).out.split())
    assert "accepted tokens 20" in words
    assert "replay: averages (only totals are known: nothing can be replayed)" in words
    assert "nothing can be replayed" in refuse("import", "llama-timings", source, "-o", "x.parquet")


def test_bounds_and_settings(tmp_path: Path) -> None:
    metrics = {
        "acceptance_histogram": [0, 1],
        "num_spec_tokens": 1,
        "num_draft_tokens": 1,
        "per_step_accepted": [1],
        "per_step_drafted": [1],
        "id": "a",
    }
    source, target = tmp_path / "vllm.jsonl", tmp_path / "trace.parquet"
    source.write_text(json.dumps(metrics) + "\n", encoding="utf-8")
    for unknown, runs in (("rejected", [1, 0]), ("accepted", [2, 1])):
        succeed(
            *("import", "vllm", source, "-o", target),
            *("--drafting", "token", "--unknown", unknown),
        )
        assert read_trace(target).sequences[0].run_lengths.tolist() == runs
    assert "allowed are block and token" in refuse("import", "vllm", source, "--drafting", "no")
    assert "there are run-lengths" in refuse("import", "vlm", source)


def test_missing_files_and_folders(runs: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.jsonl"
    assert "cannot be read" in refuse("import", "run-lengths", missing, "-o", "x.parquet", code=1)
    assert "is a folder" in refuse("import", "run-lengths", runs, "-o", tmp_path)
    assert "is not a folder" in refuse("import", "run-lengths", runs, "-o", runs / "x.parquet")
