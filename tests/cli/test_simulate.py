import json
from pathlib import Path

import pytest

from tests.cli.running import refuse, succeed
from tests.cli.third_party import install


def test_policies_are_listed_in_the_order_given(trace: Path) -> None:
    report = succeed("simulate", trace, "-p", "ewma", "-p", "fixed:tau=2", "--json", "-").json()
    assert [entry["policy"] for entry in report["policies"]] == ["ewma", "fixed:tau=2"]
    assert report["costs"] == "draft=0.125,verify=0"
    for entry in report["policies"]:
        assert entry["tokens"] == 120
        assert entry["tokens_per_cycle"] == pytest.approx(120 / entry["cycles"])
        assert entry["passes_per_request"] == entry["cycles"] / 4
        assert entry["ended_by_budget"] == 0
        assert entry["engine_time"] == pytest.approx(entry["time"])


def test_the_table_shows_every_policy(trace: Path) -> None:
    result = succeed("simulate", trace)
    for name in ("fixed:tau=1", "fixed:tau=3", "fixed:tau=5", "ewma", "auto"):
        assert name in result.out
    assert "4 sequences, 120 tokens" in result.out
    assert "costs: draft=0.125,verify=0; time in plain verifier passes" in result.out


def test_json_can_go_to_a_file_beside_the_table(trace: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    assert "fixed:tau=1" in succeed("simulate", trace, "--json", target).out
    assert len(json.loads(target.read_text(encoding="utf-8"))["policies"]) == 5


@pytest.mark.parametrize("command", ["simulate", "compare"])
def test_hints_are_loaded_for_those_who_take_them(
    command: str, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"hinted_{command}"
    install(tmp_path, monkeypatch, {f"sure-{command}": f"{name}:WhereSure"}, name)
    options = ("--costs", "draft=0.1", "--json", "-")
    report = succeed(command, trace, "-p", f"sure-{command}", "-p", "fixed:tau=1", *options).json()
    hinted, fixed = report["policies"]
    # Without hints it would draft one token each time.
    assert hinted["cycles"] < fixed["cycles"]


def test_no_drafting_at_all(trace: Path) -> None:
    report = succeed("simulate", trace, "--max-draft-tokens", 0, "--json", "-").json()
    for entry in report["policies"]:
        assert (entry["cycles"], entry["num_draft_tokens"]) == (120, 0)
        assert entry["acceptance_rate"] is None


def test_concurrent_sequences_share_passes(trace: Path) -> None:
    command = ("simulate", trace, "-p", "fixed:tau=0", "--json", "-")
    alone = succeed(*command).json()["policies"][0]
    shared = succeed(*command, "--concurrency", 4).json()["policies"][0]
    assert shared["engine_time"] < alone["engine_time"]
    endless = succeed(*command, "--concurrency", 10**12).json()["policies"][0]
    assert endless == shared  # more places than sequences change nothing


def test_a_request_s_passes_are_limited(trace: Path) -> None:
    report = succeed("simulate", trace, "--max-passes", 3, "-p", "ewma", "--json", "-").json()
    (entry,) = report["policies"]
    assert entry["passes_per_request"] <= 3
    assert entry["ended_by_budget"] > 0


def test_an_impossible_average_is_said_to_be_so(trace: Path) -> None:
    assert "infeasible: no policy can keep 1 passes" in succeed(
        "simulate", trace, "--average-passes", 1
    ).err.replace("\n", " ")
    assert "infeasible" not in succeed("simulate", trace, "--average-passes", 1000).err


def test_the_seed_decides(trace: Path) -> None:
    command = ("simulate", trace, "-p", "bandit:algorithm=thompson", "--json", "-", "--seed")
    assert succeed(*command, 1) == succeed(*command, 1)


@pytest.mark.parametrize("seed", [-1, 1 << 32, "x"])
def test_a_wrong_seed_is_refused(trace: Path, seed: object) -> None:
    assert "--seed" in refuse("simulate", trace, "--seed", seed)


def test_concurrency_is_at_least_one(trace: Path) -> None:
    assert "--concurrency" in refuse("simulate", trace, "--concurrency", 0)
