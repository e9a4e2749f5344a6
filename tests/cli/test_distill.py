"""``adaptive-spec distill``."""

import json
from pathlib import Path

import pytest

from tests.cli.running import refuse, succeed
from tests.tiny_pair import TinyPair, write_prompts

SMALL = (
    "--answer-tokens", "1000", "--max-new-tokens", "16", "--layers", "0,-1", "--head-tokens", "150",
    "--epochs", "1", "--dtype", "float32", "--writing-batch", "32",
)  # fmt: skip


@pytest.fixture(scope="module")
def draft(pair: TinyPair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distilled") / "draft"
    asked = [{"id": str(i), "prompt": f"What is {i} and {i * i}?"} for i in range(200)]
    for one in asked[:9]:
        one["answer_to_read"] = "It is what it is."
    prompts = write_prompts(folder.parent / "prompts.jsonl", asked)
    (folder.parent / "more.txt").write_text("kettle " * 50)
    result = succeed(
        "distill", "-o", folder, "--verifier", pair.verifier, "--prompts", prompts, *SMALL,
        "--head-texts", folder.parent / "more.txt", "--json", folder / "r.json",
    )  # fmt: skip
    assert "Agreement with the verifier" in result.out
    return folder


def test_a_draft_comes_out(draft: Path) -> None:
    assert {path.name for path in draft.iterdir()} == {
        "README.md", "draft.json", "draft.safetensors", "r.json", "work",
    }  # fmt: skip
    found = json.loads((draft / "r.json").read_text())
    assert 0 <= found["top1"] <= 1
    assert len(found["by_depth"]) == 4


def test_the_card_tells_of_answers_and_texts_that_were_given(draft: Path) -> None:
    card = " ".join((draft / "README.md").read_text(encoding="utf-8").split())
    assert "200 prompts given by the user, 9 of which came with an answer" in card
    assert "counted in the answers and in 1 texts more" in card


def test_it_drafts_alone_and_in_a_composition(draft: Path, pair: TinyPair) -> None:
    for drafter in (str(draft), f"lookup+{draft}"):
        result = succeed(
            "verify", "--verifier", pair.verifier, "--drafter", drafter, "--prompts", pair.prompts,
            "--max-new-tokens", "12",
        )  # fmt: skip
        assert result.code == 0


def test_other_verifiers_refuse_it(draft: Path, pair: TinyPair) -> None:
    message = refuse("generate", "hello", "--verifier", pair.stranger, "--drafter", draft, code=1)
    assert "made for another verifier" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--layers", "0,x"), "give whole numbers"),
        (("--layers", "0,9"), "the verifier has 2"),
        (("--learning-rate", "0"), "above 0"),
        (("--target-temperature", "0"), "above 0"),
        (("--documents", "nowhere.txt"), "cannot be read"),
        (("--head-texts", "nowhere.txt"), "cannot be read"),
    ],
)
def test_bad_options_are_refused(
    options: tuple[str, str], words: str, pair: TinyPair, tmp_path: Path
) -> None:
    message = refuse(
        "distill", "-o", tmp_path / "draft", "--verifier", pair.verifier, *SMALL, *options
    )
    assert words in message


def test_a_draft_to_train_on_from_must_be_there(pair: TinyPair, tmp_path: Path) -> None:
    arguments = ("--verifier", pair.verifier, *SMALL, "--start-from", tmp_path / "nowhere")
    assert "cannot be read" in refuse("distill", "-o", tmp_path / "draft", *arguments, code=1)
    assert not (tmp_path / "draft").exists()
