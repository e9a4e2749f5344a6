import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_spec.cli import live_runs
from adaptive_spec.cli import validate as module
from adaptive_spec.decoding import verification
from adaptive_spec.decoding.verification import Divergence
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces import TraceSet
from tests.cli.running import Result, refuse, run, succeed
from tests.cli.third_party import install
from tests.tiny_pair import TinyPair


def command(pair: TinyPair, *more: object) -> tuple[object, ...]:
    return (
        *("validate", "--verifier", pair.verifier, "--drafter", pair.drafter),
        *("--prompts", pair.prompts, "--max-new-tokens", 20, *more),
    )


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("drafter", ["lookup", "early-exit:layers=1", "model"])
def test_replay_is_exact_for_every_policy(pair: TinyPair, drafter: str, batch_size: int) -> None:
    name = pair.drafter if drafter == "model" else drafter
    report = succeed(
        *command(pair, "--drafter", name, "--batch-size", batch_size, "--json", "-"),
        *("-p", "fixed:tau=3", "-p", "fixed:tau=2,fallback=true", "-p", "ewma"),
        *("-p", "bandit", "-p", "bandit:algorithm=thompson"),
    ).json()
    assert len(report["runs"]) == 5
    for entry in report["runs"]:
        assert entry["identical_cycles"], entry
        assert entry["identical_outputs"], entry
        assert entry["differences"] == []
        assert entry["sequences"] == 4
        assert entry["cycles"] > 0
        assert entry["replayed_ms"] > 0
        assert entry["measured_ms"] > 0


@pytest.mark.parametrize(
    "promised",
    [
        ("--average-passes", 8, "--latency-target", 9),
        ("--average-passes", 5, "--hard-average", "--burst-passes", 2),
        ("--deadline", 11),
    ],
)
def test_what_is_promised_is_kept_alike_live_and_replayed(
    pair: TinyPair, promised: tuple[object, ...]
) -> None:
    report = succeed(
        *command(pair, "--costs", "draft=0.125", *promised, "--json", "-"),
        *("-p", "ewma", "-p", "fixed:tau=1"),
    ).json()
    for entry in report["runs"]:
        assert entry["identical_cycles"], entry
        assert entry["identical_outputs"], entry
        assert entry["identical_ledgers"], entry
    if "--hard-average" in promised:
        assert all(entry["cycles"] <= 5 * 4 + 2 for entry in report["runs"])


def test_a_run_by_the_clock_is_replayed_at_its_own_times(pair: TinyPair) -> None:
    report = succeed(
        *command(pair, "--times", "clock", "--batch-size", 3, "--average-passes", 8),
        *("--latency-target", 9, "-p", "bandit", "-p", "marginal", "--json", "-"),
    ).json()
    assert report["times"] == "clock"
    for entry in report["runs"]:
        assert entry["identical_cycles"], entry
        assert entry["identical_ledgers"], entry
        assert entry["replayed_ms"] == pytest.approx(entry["measured_ms"])


@pytest.mark.parametrize("drafter", ["lookup", "model"])
def test_replay_is_exact_for_a_policy_that_looks_inside_the_draft(
    pair: TinyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drafter: str
) -> None:
    name = f"rule_{drafter}"
    install(tmp_path, monkeypatch, {f"sure-{drafter}": f"{name}:WhileConfident"}, name)
    report = succeed(
        *command(pair, "--drafter", pair.drafter if drafter == "model" else drafter),
        *("-p", f"sure-{drafter}:threshold=0.3,longest=8", "--json", "-"),
    ).json()
    assert report["runs"][0]["identical_cycles"]


def test_replay_is_exact_for_a_policy_that_takes_hints(
    pair: TinyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, {"where-sure": "rule_hinted:WhereSure"}, "rule_hinted")
    report = succeed(
        *command(pair, "--drafter", pair.drafter), "-p", "where-sure", "--json", "-"
    ).json()
    assert report["runs"][0]["identical_cycles"]


@pytest.mark.parametrize("options", [("--max-draft-tokens", 0), ("--max-draft-tokens", 1)])
def test_short_drafts(pair: TinyPair, options: tuple[object, ...]) -> None:
    succeed(*command(pair, *options, "-p", "ewma", "-p", "bandit"))


def test_measured_costs(pair: TinyPair, tmp_path: Path) -> None:
    costs = tmp_path / "costs.json"
    succeed(
        *("profile", "-o", costs, "--verifier", pair.verifier, "--drafter", pair.drafter),
        *("--batch-sizes", "1,2", "--contexts", "8,32", "--widths", "1,3,9", "--repeats", 1),
    )
    report = succeed(*command(pair, "--costs", costs, "--batch-size", 3, "--json", "-")).json()
    assert report["costs"].startswith("measured on")
    assert all(entry["identical_cycles"] for entry in report["runs"])


def test_the_table_says_that_all_is_well(pair: TinyPair) -> None:
    result = succeed(*command(pair, "--costs", "draft=0.2", "-p", "ewma", "--limit", 1))
    assert result.out.count("all identical") == 2
    assert result.err.splitlines()[1:] == []


@pytest.fixture
def other_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator goes its own way."""

    def other(policy: object, *arguments: Any, **options: Any) -> Any:
        return replay("fixed:tau=1", *arguments, **options)

    monkeypatch.setattr(live_runs, "replay", other)


def differing(pair: TinyPair, tmp_path: Path) -> tuple[Result, dict[str, Any]]:
    target = tmp_path / "report.json"
    result = run(*command(pair, "-p", "fixed:tau=3", "--json", target, "--limit", 2))
    assert result.code == 1
    (entry,) = json.loads(target.read_text(encoding="utf-8"))["runs"]
    return result, entry


@pytest.mark.usefixtures("other_replay")
def test_cycles_that_differ_are_told(pair: TinyPair, tmp_path: Path) -> None:
    result, entry = differing(pair, tmp_path)
    assert not entry["identical_cycles"]
    assert entry["identical_outputs"]
    first = entry["differences"][0]
    assert (first["id"], first["cycle"]) == ("a", 0)
    assert (first["live"][0], first["replayed"][0]) == (3, 1)
    assert "fixed:tau=3: a: cycle 0: live tau 3, " in result.err
    assert "2 differ" in result.out


def test_outputs_that_differ_are_told(
    pair: TinyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = live_runs.record_all

    def changed(*arguments: Any, **options: Any) -> TraceSet:
        traces = original(*arguments, **options)
        one, *rest = traces.sequences
        assert one.output_ids is not None
        ids = np.append(one.output_ids[:-1], (one.output_ids[-1] + 1) % 200)
        return TraceSet(traces.info, (dataclasses.replace(one, output_ids=ids), *rest))

    monkeypatch.setattr(module, "record_all", changed)
    result, entry = differing(pair, tmp_path)
    assert entry["identical_cycles"]
    assert not entry["identical_outputs"]
    (reason,) = entry["different_outputs"].values()
    assert reason.startswith("a real difference at output position 19: the scores lie ")
    assert f"fixed:tau=3: a: output differs: {reason}" in result.err


def test_a_tie_is_called_one(
    pair: TinyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tie = Divergence(position=4, plain_id=1, other_id=2, margin=1e-6, tolerance=1e-3)
    monkeypatch.setattr(verification, "explain_divergence", lambda *arguments, **options: tie)
    result, entry = differing(pair, tmp_path)
    assert set(entry["different_outputs"]) == {"a", "b"}
    assert "a: output differs: a tie within rounding at output position 4" in result.err


def test_nothing_to_validate_is_refused(pair: TinyPair) -> None:
    assert "nothing to replay" in refuse(*command(pair, "--drafter", "none"))
    assert "'nope'" in refuse(*command(pair, "--category", "nope"), code=1)
    assert "unknown policy" in refuse(*command(pair, "-p", "nope"))
