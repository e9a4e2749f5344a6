import json
from pathlib import Path

import numpy as np
import pytest

from adaptive_spec import MeasuredCosts
from adaptive_spec.cost_files import save_costs
from adaptive_spec.traces import Hazards, synthetic_trace, write_trace
from tests.cli.running import refuse, succeed

METRICS = """\
llamacpp:spec_decode_num_drafts_total 100
llamacpp:spec_decode_num_draft_tokens_total 300
llamacpp:spec_decode_num_accepted_tokens_total 150
llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position="0"} 80
llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position="1"} 50
llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position="2"} 20
llamacpp:tokens_predicted_total 250
llamacpp:tokens_predicted_seconds_total 2.6
"""


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.txt"
    path.write_text(METRICS, encoding="utf-8")
    return path


def test_llama_from_counters(metrics: Path) -> None:
    costs = ("--costs", "draft=0.1,verify=0.05")
    result = succeed("recommend", "llama", metrics, "--format", "llama-metrics", *costs)
    words = " ".join(result.out.split())
    assert "llama, batch of 1: tau = 2" in words
    assert "2 2.30 1.30 1.77" in words
    assert "--spec-draft-n-max 2 the fastest constant length" in words
    assert "--spec-draft-p-min 0 its default: these records hold no probabilities" in words
    assert "missing: the length of each draft" in result.err


def test_llama_at_the_times_that_were_served(metrics: Path) -> None:
    arguments = ("recommend", "llama", metrics, "--format", "llama-metrics", "--json", "-")
    said = succeed(*arguments, "--plain-ms", 20).json()
    # 26 ms a pass that drafted 3 tokens, over 20 ms: a tenth of a plain pass each
    assert said["costs"] == "draft=0.1,verify=0"
    assert said["chosen"] == {"1": 3}
    assert said["lengths"]["1"][3]["speedup"] == pytest.approx([2.5 / 1.3] * 2)


def test_averages_are_said_to_be_assumed(tmp_path: Path) -> None:
    timings = {"predicted_n": 41, "predicted_ms": 800, "draft_n": 60, "draft_n_accepted": 20}
    path = tmp_path / "timings.json"
    path.write_text(json.dumps({"timings": timings}), encoding="utf-8")
    arguments = ("recommend", "llama", path, "--format", "llama-timings", "--plain-ms", 25)
    assert "an ASSUMED chance of" in succeed(*arguments).out


def test_tables_by_batch_size(tmp_path: Path) -> None:
    """On a device whose larger batches have no time to spare for drafted tokens."""
    costs = MeasuredCosts(
        (1, 8, 32),
        (64,),
        (1, 8),
        verify_grid_ms=np.array([[[10.0, 10.0]], [[12.0, 30.0]], [[16.0, 90.0]]]),
        draft_start_ms=np.zeros((3, 1)),
        draft_step_ms=np.array([[0.5], [0.6], [1.0]]),
    )
    trace, file = tmp_path / "trace.parquet", tmp_path / "costs.json"
    write_trace(synthetic_trace(Hazards(hazard=0.2), num_sequences=4), trace)
    save_costs(costs, file)
    sizes = ("--batch-size", 1, "--batch-size", 8, "--batch-size", 32)
    arguments = (trace, "--costs", file, *sizes, "--json", "-")
    said = succeed("recommend", "tensorrt-llm", *arguments).json()
    chosen = [said["chosen"][size] for size in ("1", "8", "32")]
    assert chosen[0] > chosen[1] > chosen[2]
    assert said["settings"][0]["text"] == f"max_draft_len: {chosen[0]}"
    assert (
        "num_speculative_tokens_per_batch_size"
        in (succeed("recommend", "vllm", *arguments).json()["settings"][0]["text"])
    )
    assert "one length for all" in refuse("recommend", "llama", *arguments)


def test_what_cannot_be_recommended_is_refused(metrics: Path) -> None:
    assert "engine 'ollama': there are llama" in refuse("recommend", "ollama", metrics)
    form = ("--format", "llama-metrics")
    assert "give --costs" in refuse("recommend", "llama", metrics, *form)
    assert "there are run-lengths" in refuse(
        "recommend", "llama", metrics, "--format", "x", "--costs", "draft=0.1"
    )
