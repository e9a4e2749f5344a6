"""The benchmark without vLLM: turns, rounds that are kept, and ratios."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.vllm.benchmark import Settings, as_table, ratios, run_rounds

SETTINGS = Settings("ngram", 4, "auto", "draft=0", False, (1, 16), 8)


class Engines:
    """Pretends to run engines: 2 s without speculation, 1 s with, and half that with a policy."""

    def __init__(self, lasts: int = 99) -> None:
        self.begun: list[Mapping[str, Any]] = []
        self.runs: list[Sequence[Mapping[str, Any]]] = []
        self._lasts = lasts

    def __call__(self, llm: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> list[float]:
        if len(self.begun) == self._lasts:
            raise KeyboardInterrupt
        self.begun.append(llm)
        self.runs.append(runs)
        whole = 1.0 if llm else 2.0
        return [whole / 2 if "configuration" in run else whole for run in runs]


def test_everybody_takes_a_turn_in_every_round(tmp_path: Path) -> None:
    engines = Engines()
    run_rounds(SETTINGS, 2, tmp_path / "rounds.json", engines)
    assert [bool(llm) for llm in engines.begun] == [True, False, False, True]
    assert engines.begun[0]["speculative_config"]["prompt_lookup_max"] == 4
    for runs in engines.runs[::3]:
        assert "configuration" in runs[0]  # the engine is set up with the policy's scheduler
        at = [run.get("concurrency") for run in runs[1:]]
        assert at == [1, 1, 1, 16, 16, 16]
        assert len(runs[4]["requests"]) == 16
        tables = [run["table"] for run in runs if "table" in run]
        assert tables == [[4] * 5 + [2] * 4 + [0] * 8] * 2


def test_rounds_that_are_done_are_not_run_again(tmp_path: Path) -> None:
    into = tmp_path / "rounds.json"
    with pytest.raises(KeyboardInterrupt):
        run_rounds(SETTINGS, 3, into, Engines(lasts=3))
    assert len(json.loads(into.read_text(encoding="utf-8"))["rounds"]) == 1
    engines = Engines()
    rounds = run_rounds(SETTINGS, 3, into, engines)
    assert len(engines.begun) == 4
    found = {(one["concurrency"], one["contestant"]): one["ratio"] for one in ratios(rounds)}
    assert found == {
        (batch, name): pytest.approx(ratio)
        for batch in (1, 16)
        for name, ratio in (("auto", 0.25), ("static 4", 0.5), ("table", 0.5), ("none", 1.0))
    }
    assert as_table(ratios(rounds)).splitlines()[2].startswith("| 1 | 0.25 (0.25 to 0.25) | 0.50")


def test_rounds_of_other_settings_are_not_put_together(tmp_path: Path) -> None:
    into = tmp_path / "rounds.json"
    run_rounds(SETTINGS, 1, into, Engines())
    other = Settings("ngram", 5, "auto", "draft=0", False, (1, 16), 8)
    with pytest.raises(ValueError, match="has rounds of"):
        run_rounds(other, 1, into, Engines())


def test_what_was_learned_goes_on_where_that_is_asked_for(tmp_path: Path) -> None:
    learns = Settings("ngram", 4, "auto", "draft=0", True, (1,), 8)
    ours = learns.contestants(tmp_path / "x.npz")["auto"]["configuration"]
    assert ours["operation"]["checkpoint"] == str(tmp_path / "x.npz")
