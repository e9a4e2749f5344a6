"""The benchmark against transformers, on a tiny pair: that it measures what it says."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.llama_cpp import LlamaCpp
from tests.benchmarks.transformers_ratio import main, ratio, report
from tests.tiny_pair import save_tiny_pair

pytestmark = pytest.mark.filterwarnings("ignore")  # generate's own, about options it is passed


@pytest.mark.parametrize("drafter", ["early-exit:layers=1", "the drafter"])
def test_every_way_gives_the_same_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], drafter: str
) -> None:
    pair = save_tiny_pair(tmp_path)
    path = str(pair.drafter) if drafter == "the drafter" else drafter
    results = tmp_path / "results.json"
    options = ["--verifier", str(pair.verifier), "--drafter", path, "--json", str(results)]
    options += ["--prompts", str(pair.prompts), "--dtype", "float32", "--new-tokens", "6"]
    main([*options, "--limit", "1"])
    first: dict[str, Any] = json.loads(results.read_text())["measured"]
    main([*options, "--limit", "2"])
    result = json.loads(results.read_text())
    assert list(result["measured"]) == ["a", "b"]
    assert result["measured"]["a"] == first["a"]  # not measured again
    assert len(result["pairs"]) == 6
    for found in result["measured"].values():
        assert len({tuple(way["tokens"]) for way in found.values()}) == 1
    printed = capsys.readouterr()
    assert "2/2 b" in printed.err
    assert printed.out.count("2/2") == 11
    with pytest.raises(SystemExit, match="other settings"):
        main([*options, "--policy", "fixed:tau=2"])


def test_llama_cpp_is_asked_for_with_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no node_modules/node-llama-cpp"):
        LlamaCpp(tmp_path, new_tokens=1)
    with pytest.raises(SystemExit, match="weights of `--verifier builtin` only"):
        main(["--llama-cpp", str(tmp_path), "--verifier", "mine"])


def test_ratios_are_of_sums_per_token() -> None:
    measured = [
        {"a": {"seconds": 1.0, "tokens": [1, 2]}, "b": {"seconds": 3.0, "tokens": [1, 2]}},
        {"a": {"seconds": 1.0, "tokens": [1]}, "b": {"seconds": 3.0, "tokens": [1, 2, 3]}},
    ]
    value, low, high = ratio(measured, "a", "b")
    assert value == pytest.approx(2.5 / 1.5)
    assert low <= value <= high
    assert low == pytest.approx(1.0)
    assert high == pytest.approx(3.0)
    lines = report(measured, [("a", "b")])
    assert lines[1].endswith("1/2")
