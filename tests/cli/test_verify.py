from typing import Any

import pytest

from adaptive_spec.decoding.verification import GreedyMatch, RejectionSampling, Verdict
from adaptive_spec.decoding.verification.base import Block, verdict
from tests.cli.running import refuse, run, succeed
from tests.tiny_pair import TinyPair


def command(pair: TinyPair, *more: object) -> tuple[object, ...]:
    return (
        *("verify", "--verifier", pair.verifier, "--drafter", pair.drafter),
        *("--prompts", pair.prompts, "--max-new-tokens", 16, *more),
    )


@pytest.mark.parametrize("rule", [(), ("--rule", "coupled", "--temperature", 0.7, "--seed", 3)])
def test_lossless_rules_pass(pair: TinyPair, rule: tuple[object, ...]) -> None:
    report = succeed(*command(pair, *rule, "--batch-size", 3, "--json", "-")).json()
    assert report["rule"] == ("coupled:temperature=0.7,seed=3" if rule else "greedy")
    assert [entry["policy"] for entry in report["runs"]] == ["fixed:tau=4", "auto"]
    for entry in report["runs"]:
        assert entry["holds"]
        assert entry["identical"] == entry["outputs"] == 4


def test_rejection_sampling_passes(pair: TinyPair) -> None:
    result = succeed(*command(pair, "--temperature", 0.7, "--draws", 3, "-p", "fixed:tau=3"))
    assert "rejection:temperature=0.7" in result.out
    assert "probability 0.001 at most" in " ".join(result.out.split())
    assert "192" in result.out


def accepting_all(self: Any, logits: Any, block: Block) -> Verdict:
    """A wrong rule."""
    draft = block.draft.read()
    return verdict(draft.num_tokens, logits[:, -1].argmax(-1).numpy(), draft.token_ids)


def test_a_real_divergence_is_told(pair: TinyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GreedyMatch, "verify", accepting_all)
    result = run(*command(pair, "-p", "fixed:tau=4", "--json", "-"))
    assert result.code == 1
    (entry,) = result.json()["runs"]
    assert not entry["holds"]
    first = entry["divergences"][0]
    assert first["kind"] == "divergence"
    assert first["rule"] == "greedy"
    assert first["margin"] > first["tolerance"] == 0.001
    assert first["top2_margin"] == pytest.approx(first["block_top2_margin"], abs=1e-3)
    where = f"{first['id']}: real divergence at output position {first['position']}: "
    assert f"fixed:tau=4: {where}{first['plain_id']} in plain decoding" in result.err
    assert "rule greedy" in result.err


def test_a_tie_is_no_failure(pair: TinyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GreedyMatch, "verify", accepting_all)
    result = succeed(*command(pair, "-p", "fixed:tau=4", "--tolerance", 1000, "--limit", 2))
    assert "a tie within rounding at output position" in result.err


def test_a_wrong_distribution_is_told(pair: TinyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RejectionSampling, "verify", accepting_all)
    result = run(*command(pair, "--temperature", 1.5, "--draws", 4, "-p", "fixed:tau=3"))
    assert result.code == 1
    assert "real divergence: the sampled tokens are not distributed as the verifier's" in result.err


def test_what_cannot_be_verified_is_refused(pair: TinyPair) -> None:
    assert "lossy by design" in refuse(*command(pair, "--rule", "typical"))
    assert "nothing to verify" in refuse(*command(pair, "--drafter", "none"))
    assert "unknown policy" in refuse(*command(pair, "-p", "nope"))
    assert "--false-alarm-rate" in refuse(*command(pair, "--false-alarm-rate", 0))
    assert "verification rule 'nope'" in refuse(*command(pair, "--rule", "nope"))
    message = refuse(*command(pair, "--temperature", 1, "--limit", 1, "--draws", 1))
    assert "too few for a test" in message


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--draws", 4), "--draws 4: means nothing under the rule 'greedy'"),
        (("--false-alarm-rate", 0.001), "--false-alarm-rate 0.001: means nothing"),
        (("--rule", "coupled", "--temperature", 1, "--draws", 2), "under the rule 'coupled'"),
        (("--temperature", 1, "--tolerance", 0.1), "--tolerance 0.1: means nothing"),
    ],
)
def test_options_of_the_other_check_are_refused(
    pair: TinyPair, options: tuple[object, ...], message: str
) -> None:
    assert message in refuse(*command(pair, *options))
