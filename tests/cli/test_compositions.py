"""Every command takes a composed drafter, and names who drafted."""

import json
from pathlib import Path

from adaptive_spec.traces import read_cycles, read_trace
from tests.cli.running import refuse, succeed
from tests.tiny_pair import TinyPair


def spec(pair: TinyPair) -> str:
    return f"lookup:min_ngram=2+{pair.drafter}+synthetic:hazard=0.5"


def models(pair: TinyPair) -> tuple[object, ...]:
    return (
        *("--verifier", pair.verifier, "--drafter", spec(pair), "--prompts", pair.prompts),
        *("--limit", 2, "--max-new-tokens", 20),
    )


def test_record_then_compare(pair: TinyPair, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    succeed("record", "-o", path, *models(pair))
    traces = read_trace(path)
    names = ("lookup", str(pair.drafter), "synthetic")
    assert traces.info.drafter_names == names
    assert all(len(sequence.components) == 3 for sequence in traces)
    costs = f"draft=0.2,draft.lookup=0,draft.{pair.drafter}=0.1,verify=0.01"
    assert "draft.lokup" in refuse("simulate", path, "--costs", "draft=0.1,draft.lokup=0")
    assert "draft.lokup" in refuse("compare", path, "--costs", "draft=0.1,draft.lokup=0")
    shown = succeed("simulate", path, "--costs", costs, "-p", "fixed:tau=2").out
    assert "synthetic:hazard=0.5" in shown
    assert "cycles drafted by:" in shown
    data = succeed("compare", path, "--costs", costs, "-p", "ewma", "--json", "-").json()
    for entry in (*data["policies"], data["optimum"]):
        assert [drafter["name"] for drafter in entry["drafters"]] == list(names)
        assert sum(d["num_draft_tokens"] for d in entry["drafters"]) == entry["num_draft_tokens"]
    table = succeed("compare", path, "--costs", costs, "-p", "ewma").out
    assert "cycles drafted by:" in table


def test_live_cycles_name_the_drafter(pair: TinyPair, tmp_path: Path) -> None:
    cycles = tmp_path / "c.parquet"
    policy = ("--policy", "fixed:tau=3")
    command = ("generate", *models(pair), *policy, "--cycles", cycles, "--json", "-")
    result = succeed(*command)
    assert "accepted by drafter: " in result.err
    by_drafter = [d for completion in result.json()["completions"] for d in completion["drafters"]]
    logged = [cycle.drafter for cycle in read_cycles(cycles)]
    assert len({drafter["name"] for drafter in by_drafter}) == 2  # the last is never asked
    for name in {drafter["name"] for drafter in by_drafter}:
        total = sum(d["cycles"] for d in by_drafter if d["name"] == name)
        assert logged.count(name) == total


def test_validate_and_profile(pair: TinyPair, tmp_path: Path) -> None:
    costs = tmp_path / "costs.json"
    table = succeed(
        *("profile", "-o", costs, "--verifier", pair.verifier, "--drafter", spec(pair)),
        *("--batch-sizes", 1, "--contexts", 16, "--widths", "1,4", "--repeats", 1),
    ).out
    assert "draft a token (lookup)" in table
    assert len(json.loads(costs.read_text(encoding="utf-8"))["drafts"]) == 3
    short = ("--drafter", "lookup+synthetic:hazard=0.5", "--batch-size", 2)
    run = succeed("validate", *models(pair), *short, "--costs", costs, "-p", "ewma")
    assert "all identical" in run.out
    assert "synthetic:hazard=0.5" in " ".join(run.out.split())


def test_drafters_that_cannot_be_composed(pair: TinyPair, unloaded: None) -> None:
    for wrong, words in (
        ("lookup+lookup", "all of them different"),
        ("lookup+synthetic", "give either hazard"),
        ("lookup+none", "'none' stands alone"),
    ):
        command = ("generate", "--verifier", pair.verifier, "--drafter", wrong)
        assert words in refuse(*command)
