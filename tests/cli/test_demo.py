import json
from pathlib import Path
from typing import Any

import pytest

from adaptive_spec.cli import demo as module
from adaptive_spec.cli.live_runs import LiveRun, run_live
from adaptive_spec.cost_files import load_costs
from adaptive_spec.traces import read_cycles, read_trace
from tests.cli.running import refuse, run, succeed
from tests.tiny_pair import TinyPair


@pytest.fixture
def builtin(pair: TinyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny verifier in place of the built-in one."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "smollm2-135m-instruct-v1").symlink_to(pair.verifier)
    monkeypatch.setenv("ADAPTIVE_SPEC_CACHE", str(cache))
    return cache


SMALL = ("--limit", 2, "--max-new-tokens", 8)


@pytest.mark.usefixtures("builtin")
@pytest.mark.parametrize(
    ("drafter", "sampling", "rule"),
    [
        ("lookup", (), "greedy"),
        ("early-exit:layers=1", ("--temperature", 0.8), "coupled:temperature=0.8"),
    ],
)
def test_the_main_job(
    tmp_path: Path, drafter: str, sampling: tuple[object, ...], rule: str
) -> None:
    folder = tmp_path / "results"
    result = succeed("demo", "-o", folder, *SMALL, "--drafter", drafter, *sampling)
    for words in (
        "1. Profile:",
        "2. Watch: 'writing/1'",
        "3. Decode 2 prompts",
        "4. Compare on the trace",
        "clairvoyant",
        f"{folder / 'trace.parquet'}: the exact trace",
        "Done in ",
    ):
        assert words in result.out
    for policy in ("fixed:tau=3", "ewma", "auto"):
        assert f"{policy} done" in result.err
    assert " no " not in result.out.partition("4. Compare")[0].partition("3. Decode")[2]

    traces = read_trace(folder / "trace.parquet")
    assert [s.id for s in traces] == ["writing/1", "writing/2"]
    assert traces.info.rule == rule
    assert load_costs(folder / "costs.json").widths[-1] == 11
    assert len(json.loads((folder / "comparison.json").read_text())["policies"]) == 4
    for name in ("fixed", "ewma", "auto"):
        cycles = read_cycles(folder / f"cycles-{name}.parquet")
        assert sum(cycle.num_emitted_tokens for cycle in cycles) == traces.num_tokens
    # What it leaves is what other commands take.
    succeed("compare", folder / "trace.parquet", "--costs", folder / "costs.json")


@pytest.mark.usefixtures("builtin")
def test_a_run_that_does_not_hold_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> LiveRun:
        live = run_live(*arguments, **options)
        return live._replace(different_outputs={"writing/1": "a real difference"})

    monkeypatch.setattr(module, "run_live", broken)
    result = run("demo", "-o", tmp_path / "results", *SMALL, "--drafter", "lookup")
    assert result.code == 1
    assert "ewma: writing/1: output differs: a real difference" in result.err
    assert (tmp_path / "results" / "comparison.json").is_file()


def test_what_cannot_work_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("earlier", encoding="utf-8")
    assert "give the name of a folder" in refuse("demo", "-o", file)
    assert "is not a folder" in refuse("demo", "-o", file / "results")
    assert file.read_text(encoding="utf-8") == "earlier"
    assert "nothing to compare" in refuse("demo", "-o", tmp_path / "x", "--drafter", "none")
    assert "unknown drafter" in refuse("demo", "-o", tmp_path / "x", "--drafter", "nope")
    assert "--limit" in refuse("demo", "-o", tmp_path / "x", "--limit", 1)
    assert "--max-new-tokens" in refuse("demo", "-o", tmp_path / "x", "--max-new-tokens", 0)
    assert list(tmp_path.iterdir()) == [file]
