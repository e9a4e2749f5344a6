import json
from pathlib import Path

import numpy as np
import pytest

from adaptive_spec.cost_files import load_costs
from adaptive_spec.costs import MeasuredCosts
from tests.cli.running import refuse, succeed
from tests.tiny_models import tiny_llama
from tests.tiny_pair import TinyPair

SIZES = ("--batch-sizes", "2", "--contexts", "8,16", "--widths", "2,5", "--repeats", "1")


@pytest.mark.parametrize("drafter", ["lookup", "model", "early-exit:layers=1", "none"])
def test_costs_are_measured_and_load(pair: TinyPair, tmp_path: Path, drafter: str) -> None:
    target = tmp_path / "new" / "costs.json"
    name = pair.drafter if drafter == "model" else drafter
    result = succeed(
        "profile", "-o", target, "--verifier", pair.verifier, "--drafter", name, *SIZES
    )
    costs = load_costs(target)
    assert (costs.batch_sizes, costs.context_tokens, costs.widths) == ((1, 2), (8, 16), (1, 2, 5))
    assert (np.diff(costs.verify_grid_ms, axis=-1) >= 0).all()
    drafting = costs.draft_start_ms + costs.draft_step_ms
    assert (drafting == 0).all() if drafter == "none" else (drafting > 0).all()
    assert "LlamaForCausalLM, float32" in costs.note
    assert costs.hardware != "unknown"
    assert "What a cycle takes, in milliseconds" in result.out
    assert f"costs written to {target}" in result.err


def test_a_profile_is_what_other_commands_take(
    pair: TinyPair, lookup_trace: Path, tmp_path: Path
) -> None:
    target = tmp_path / "costs.json"
    succeed("profile", "-o", target, "--verifier", pair.verifier, *SIZES)
    report = succeed("simulate", lookup_trace, "--costs", target, "--json", "-").json()
    assert report["costs"].startswith("measured on ")
    plain = succeed(
        *("simulate", lookup_trace, "--costs", target, "-p", "fixed:tau=0", "--json", "-")
    ).json()
    costs = load_costs(target)
    assert isinstance(costs, MeasuredCosts)
    quickest = costs.verify_grid_ms[0, :, 0].min()  # milliseconds of this machine
    assert plain["policies"][0]["time"] >= plain["policies"][0]["cycles"] * quickest * (1 - 1e-9)


def test_wrong_sizes_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    command = ("profile", "-o", tmp_path / "costs.json", "--verifier", "/no/such/model")
    for option, text in (
        ("--widths", "a"),
        ("--widths", ""),
        ("--widths", "1,,2"),
        ("--widths", "0"),
        ("--contexts", "-3"),
        ("--contexts", "9" * 30),
        ("--batch-sizes", "1,100000000"),
        ("--batch-sizes", "1.5"),
    ):
        assert option in refuse(*command, option, text)
    for repeats in (0, 10**9):
        assert "--repeats" in refuse(*command, "--repeats", repeats)
    assert list(tmp_path.iterdir()) == []


def test_sizes_beyond_a_model_s_context_are_refused(pair: TinyPair, tmp_path: Path) -> None:
    command = ("profile", "-o", tmp_path / "costs.json", "--verifier", pair.verifier)
    message = refuse(*command, "--contexts", "4090", "--widths", "8")
    assert "4098 tokens; the verifier has a context of 4096" in message
    short = tmp_path / "short"
    tiny_llama(layers=1, context=64, vocab_size=275).save_pretrained(short)
    message = refuse(*command, "--drafter", short, "--contexts", "64", "--widths", "1")
    assert "short has a context of 64" in message
    assert [path.name for path in tmp_path.iterdir()] == ["short"]


def test_the_file_must_be_json(pair: TinyPair, tmp_path: Path) -> None:
    command = ("profile", "--verifier", pair.verifier, *SIZES)
    assert "ends in .json" in refuse(*command, "-o", tmp_path / "costs.txt")
    assert "is a folder" in refuse(*command, "-o", tmp_path)


def test_a_failed_profile_leaves_the_earlier_one(pair: TinyPair, tmp_path: Path) -> None:
    target = tmp_path / "costs.json"
    target.write_text(json.dumps("earlier"), encoding="utf-8")
    refuse("profile", "-o", target, "--verifier", pair.verifier, "--contexts", "5000")
    assert json.loads(target.read_text(encoding="utf-8")) == "earlier"
