import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from adaptive_spec.traces import write_cycles, write_trace
from tests.cli.running import refuse, succeed
from tests.simulations.diagnosis.planting import logged, of_rule, texts
from tests.simulations.diagnosis.test_rivals import named
from tests.tiny_pair import TinyPair
from tests.traces.test_cycles import Cycle, Request

COSTS = ("--costs", "draft=0.125,verify=0.05")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "trace.parquet"
    write_trace(texts(0.25), path)
    return path


def test_a_fault_with_its_evidence_and_what_to_do(planted: Path) -> None:
    result = succeed("diagnose", planted, "--policy", "fixed:tau=10", *COSTS)
    words = " ".join(result.out.split())
    assert "1. tau too long" in words
    assert "lost (" in words
    assert re.search(r"- fastest constant tau: [345] ", words)
    assert "What to do: draft " in words
    assert "as served (fixed:tau=10)" in words


def test_what_is_healthy(planted: Path) -> None:
    assert "healthy\n" in succeed("diagnose", planted, "--policy", "fixed:tau=4", *COSTS).out
    assumed = succeed("diagnose", planted, "--policy", "fixed:tau=4").out
    assert "healthy, as far as can be told" in assumed
    assert "drafter too slow: no costs were given" in " ".join(assumed.split())


def test_json_has_all_of_it(planted: Path) -> None:
    found = succeed("diagnose", planted, "--policy", "fixed:tau=10", *COSTS, "--json", "-").json()
    assert not found["healthy"]
    [finding] = found["findings"]
    assert finding["name"] == "tau too long"
    low, high = finding["ci95"]
    assert 0 < low <= finding["lost"] <= high
    assert finding["share_of_served"] == pytest.approx(finding["lost"] / found["served"])
    assert {figure["what"] for figure in finding["evidence"]} > {"fastest constant tau"}
    assert found["time_unit"] == "plain verifier passes"


def test_promises_that_cannot_be_kept(planted: Path) -> None:
    out = succeed("diagnose", planted, "--policy", "fixed:tau=4", "--average-passes", "6").out
    assert "1. budget infeasible" in out


@pytest.fixture
def log(tmp_path: Path) -> Path:
    requests: dict[str, list[Cycle]] = {}
    for cycle in logged(texts(0.25), "fixed:tau=10"):
        fields: Any = {f.name: getattr(cycle, f.name, None) for f in dataclasses.fields(Cycle)}
        requests.setdefault(cycle.id, []).append(Cycle(**fields))
    finished = [Request(name, tuple(cycles)) for name, cycles in requests.items()]
    write_cycles(finished, tmp_path / "cycles.parquet", rule="typical (lossy)")
    return tmp_path / "cycles.parquet"


def test_a_log_is_diagnosed_at_its_own_times(log: Path) -> None:
    found = succeed("diagnose", log, "--json", "-").json()
    assert [one["name"] for one in found["findings"]] == [
        "output differs from plain decoding",
        "tau too long",
    ]
    assert found["policy"] == "as logged"
    assert "the log's own times" in found["costs"]
    for option in (("--policy", "auto"), ("--batch-size", "4")):
        assert "leave out --policy and --batch-size" in refuse("diagnose", log, *option)
    assert "cannot be replayed" in refuse("diagnose", log, log)


def test_what_verify_found_is_told_first(planted: Path, tmp_path: Path) -> None:
    path = tmp_path / "verify.json"
    run = {"policy": "auto", "holds": False, "divergences": [{"kind": "divergence", "position": 4}]}
    path.write_text(json.dumps({"rule": "greedy", "runs": [run]}), encoding="utf-8")
    arguments = ("diagnose", planted, "--policy", "fixed:tau=10", *COSTS)
    out = succeed(*arguments, "--verified", path).out
    assert out.index("1. output differs") < out.index("2. tau too long")
    for text, words in (
        ("[", "not JSON"),
        ("[]", "is not what `adaptive-spec verify --json` writes"),
        ('{"rule": "greedy", "runs": [3]}', "missing or malformed field"),
    ):
        path.write_text(text, encoding="utf-8")
        assert words in refuse(*arguments, "--verified", path)
    assert "cannot be read" in refuse(*arguments, "--verified", tmp_path / "none.json")


def test_two_drafters(planted: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    write_trace(named(texts(0.6), "small"), other)
    arguments = ("diagnose", planted, other, "--policy", "fixed:tau=3")
    result = succeed(*arguments, "--costs", "draft.synthetic=0.1,draft.small=0.1,verify=0.02")
    assert "all requests" in result.out
    assert " synthetic" in result.out
    found = succeed(*arguments, "--batch-size", 1, "--batch-size", 8, "--json", "-").json()
    assert [contest["pays"] for contest in found["contests"]] == ["synthetic"] * 2
    assert "draft.nobody" in refuse(*arguments, "--costs", "draft.nobody=0.1")
    assert "without promises" in refuse(*arguments, "--average-passes", "9")
    sampled = tmp_path / "sampled.parquet"
    write_trace(of_rule(texts(0.6), "coupled"), sampled)
    assert "rule of the two traces" in refuse("diagnose", planted, sampled)


def test_bad_input(planted: Path, pair: TinyPair, tmp_path: Path) -> None:
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(planted.read_bytes()[:-30])
    for path, words in (
        (tmp_path / "missing.parquet", "cannot be read"),
        (pair.prompts, "looks like JSON"),
        (cut, "truncated"),
        (pair.verifier, "folder without parts"),
    ):
        assert words in refuse("diagnose", path, code=1)
        assert words in refuse("diagnose", planted, path, code=1)
    for arguments, words in (
        (("--policy", "nope"), "unknown policy 'nope'"),
        (("--costs", "draft=nan"), "draft = nan"),
        (("--batch-size", "0"), "--batch-size"),
        (("--batch-size", "1", "--batch-size", "2"), "give it once"),
        (("--average-passes", "nan"), "average_passes = nan"),
    ):
        assert words in refuse("diagnose", planted, *arguments)
