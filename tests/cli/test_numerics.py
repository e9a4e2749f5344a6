"""Options of how models compute, and what they promise."""

import pytest

from tests.cli.running import refuse, succeed
from tests.tiny_pair import TinyPair


def models(pair: TinyPair) -> tuple[object, ...]:
    return ("--verifier", pair.verifier, "--drafter", pair.drafter, "--device", "cpu")


def test_one_width_and_float32_logits_are_named(pair: TinyPair) -> None:
    """In bfloat16, where passes of several widths would round differently."""
    report = succeed(
        *("verify", *models(pair), "--prompts", pair.prompts, "--max-new-tokens", 40),
        *("--dtype", "bfloat16", "--verify-width", 8, "--float32-logits", "--json", "-"),
        *("--max-draft-tokens", 7, "-p", "fixed:tau=4", "-p", "ewma"),
    ).json()
    assert report["numerics"] == "bfloat16, cpu, sdpa, float32 logits, passes of 8 tokens"
    assert [run["identical"] for run in report["runs"]] == [4, 4]


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("command", ["generate", "validate", "verify"])
def test_a_width_that_drafts_do_not_fit_into_is_refused(pair: TinyPair, command: str) -> None:
    message = refuse(command, *models(pair), "--verify-width", 8)
    assert message.startswith("--verify-width 8: drafts of up to 10 tokens ")
    assert "need 11" in message


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("command", ["generate", "validate", "verify"])
def test_graphs_need_a_cuda_device(pair: TinyPair, command: str) -> None:
    message = refuse(command, *models(pair), "--cuda-graphs")
    assert message == ("--cuda-graphs: device 'cpu' has none; give a CUDA device, or leave it out")


def test_a_profile_is_of_the_width_that_passes_have(pair: TinyPair, tmp_path: object) -> None:
    result = succeed(
        *("profile", "-o", f"{tmp_path}/costs.json", *models(pair), "--verify-width", 9),
        *("--batch-sizes", 1, "--contexts", 16, "--widths", "1,9", "--repeats", 1),
    )
    assert "verify 9" in result.out
