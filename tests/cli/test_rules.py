"""The sampling options of the commands."""

from pathlib import Path
from typing import Any

import pytest

from adaptive_spec.traces import read_trace
from tests.cli.running import refuse, succeed
from tests.tiny_pair import TinyPair


def generated(pair: TinyPair, *options: object) -> dict[str, Any]:
    report: dict[str, Any] = succeed(
        *("generate", "--verifier", pair.verifier, "--drafter", pair.drafter),
        *("--prompts", pair.prompts, "--max-new-tokens", 12, "--json", "-", *options),
    ).json()
    return report


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        ((), "greedy"),
        (("--temperature", 0), "greedy:temperature=0.0"),
        (("--repetition-penalty", 1.2), "greedy:repetition_penalty=1.2"),
        (("--temperature", 0.7, "--seed", 2), "rejection:temperature=0.7,seed=2"),
        (("--top-k", 5, "--top-p", 0.9, "--min-p", 0.1), "rejection:top_k=5,top_p=0.9,min_p=0.1"),
        (("--rule", "coupled", "--temperature", 0.7), "coupled:temperature=0.7"),
        (("--rule", "greedy", "--seed", 9), "greedy"),
    ],
)
def test_options_make_the_rule(pair: TinyPair, options: tuple[object, ...], spec: str) -> None:
    report = generated(pair, *options)
    assert report["rule"] == spec
    assert report["lossless"]


def test_coupled_text_is_reproducible(pair: TinyPair) -> None:
    def answers(*options: object) -> list[list[int]]:
        report = generated(pair, "--rule", "coupled", "--temperature", 1, *options)
        return [c["token_ids"] for c in report["completions"]]

    one = answers("--policy", "fixed:tau=5")
    assert one == answers("--policy", "ewma", "--batch-size", 3)
    assert one != answers("--seed", 1)


def test_lossy_text_is_labelled(pair: TinyPair, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    cycles = tmp_path / "cycles.parquet"
    result = succeed(
        *("generate", "--verifier", pair.verifier, "--drafter", pair.drafter, "--rule", "typical"),
        *("--prompts", pair.prompts, "--max-new-tokens", 8, "--json", "-", "--cycles", cycles),
    )
    assert not result.json()["lossless"]
    assert "the rule 'typical' is lossy" in result.err
    assert b"(lossy)" in pq.read_schema(cycles).metadata[b"adaptive-spec"]


def test_sampled_text_is_recorded_and_validated(pair: TinyPair, tmp_path: Path) -> None:
    models = ("--verifier", pair.verifier, "--drafter", pair.drafter, "--prompts", pair.prompts)
    common = (*models, "--max-new-tokens", 16, "--temperature", 0.8, "--seed", 5)
    trace = tmp_path / "trace.parquet"
    succeed("record", "-o", trace, *common)
    assert read_trace(trace).info.rule == "coupled:temperature=0.8,seed=5"
    report = succeed("validate", *common, "-p", "ewma", "--json", "-").json()
    assert report["runs"][0]["identical_cycles"]
    assert report["runs"][0]["identical_outputs"]


@pytest.mark.usefixtures("unloaded")
def test_bad_options_are_refused(pair: TinyPair, tmp_path: Path) -> None:
    demo = ("demo", "-o", tmp_path / "results")
    for command in (
        ("generate", "x"),
        ("record", "-o", tmp_path / "t.parquet"),
        ("validate",),
        demo,
    ):
        assert "temperature = -1.0; it must be" in refuse(*command, "--temperature", -1)
        assert "top_p = 2.0" in refuse(*command, "--top-p", 2)
        assert "would change nothing" in refuse(*command, "--rule", "greedy", "--top-k", 3)
        assert "did you mean 'rejection'" in refuse(*command, "--rule", "rejecton")
    for command in (("record", "-o", tmp_path / "t.parquet"), ("validate",), demo):
        message = refuse(*command, "--rule", "rejection", "--temperature", 1)
        assert "use the rule 'coupled'" in message
