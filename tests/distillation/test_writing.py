"""What a verifier writes: prompts of its own, tasks, and answers."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from adaptive_spec.decoding.models import Verifier, load_verifier
from adaptive_spec.distillation.passages import Sources
from adaptive_spec.distillation.texts import Text
from adaptive_spec.distillation.writing import Writing, template_around, write_part
from adaptive_spec.errors import ConfigError, DistillError
from tests.tiny_pair import save_tiny_pair

SETTINGS = Writing(part_size=16, batch_size=8, prompt_tokens=200, max_new_tokens=12)


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    return load_verifier(str(save_tiny_pair(tmp_path_factory.mktemp("pair")).verifier))


def plain(texts: list[Text]) -> list[Any]:
    return [(t.token_ids.tolist(), t.answer_start, t.is_greedy) for t in texts]


def test_a_part_is_written_alike_again_and_differs_from_the_next(verifier: Verifier) -> None:
    first = plain(write_part(verifier, SETTINGS, 0, Sources(), []))
    assert first
    assert first == plain(write_part(verifier, SETTINGS, 0, Sources(), []))
    assert first != plain(write_part(verifier, SETTINGS, 1, Sources(), []))


def test_batch_size_changes_nothing(verifier: Verifier) -> None:
    alone = dataclasses.replace(SETTINGS, batch_size=1)
    assert plain(write_part(verifier, SETTINGS, 0, Sources(), [])) == plain(
        write_part(verifier, alone, 0, Sources(), [])
    )


def test_prompts_stand_in_the_chat_template(verifier: Verifier) -> None:
    before, after = template_around(verifier)
    for text in write_part(verifier, SETTINGS, 0, Sources(), []):
        prompt = text.token_ids[: text.answer_start].tolist()
        assert prompt[: len(before)] == before
        assert prompt[-len(after) :] == after


def test_tasks_quote_what_was_written(verifier: Verifier) -> None:
    before, _ = template_around(verifier)
    marked = verifier.tokenizer("unmistakable passage")["input_ids"]
    written = [Text(np.array([*before, *marked]), len(before), True)]
    tasks = dataclasses.replace(SETTINGS, task_share=1.0)
    texts = write_part(verifier, tasks, 0, Sources(), written)
    assert texts
    for text in texts:
        assert "unmistakable passage" in verifier.decode(text.token_ids.tolist())


def test_answers_that_are_there_are_read_once(verifier: Verifier) -> None:
    prompts = [[i, i + 1] for i in range(5, 25)]
    answers = [[60, 61, 62, 0] if i % 2 else [] for i in range(20)]
    sources = Sources(prompts, answers)
    first, second = (write_part(verifier, SETTINGS, i, sources, []) for i in (0, 1))
    for text in first + second[:4]:
        start = text.token_ids[: text.answer_start].tolist()
        given = answers[prompts.index(start)]
        if given:
            assert text.token_ids[text.answer_start :].tolist() == given
            assert not text.is_greedy
    assert sum(60 in text.token_ids[text.answer_start :] for text in first) >= 8
    again = [t for t in second if t.token_ids[: t.answer_start].tolist() in prompts[:12]]
    assert again
    for text in again:
        assert text.token_ids[text.answer_start :].tolist() != [60, 61, 62, 0]


def test_there_is_an_answer_for_each_prompt_or_for_none() -> None:
    with pytest.raises(ConfigError, match="answers: 1 for 2 prompts"):
        Sources(prompts=[[1], [2]], answers=[[3]])


def test_given_prompts_are_taken_in_turn_and_sampled_when_they_come_again(
    verifier: Verifier,
) -> None:
    prompts = [[i, i + 1] for i in range(5, 25)]
    settings = dataclasses.replace(SETTINGS, sampled_share=0.0)
    first, second = (write_part(verifier, settings, i, Sources(prompts), []) for i in (0, 1))
    starts = [text.token_ids[: text.answer_start].tolist() for text in first + second]
    expected = prompts + prompts[:12]
    assert len(starts) > 25
    assert starts == [start for start in expected if start in starts][: len(starts)]
    assert all(text.is_greedy for text in first)
    assert starts[-1] in prompts[:12]
    again = [t for t in second if t.token_ids[: t.answer_start].tolist() in prompts[:12]]
    assert not any(text.is_greedy for text in again)


def test_greedy_answers_are_the_verifiers_own(verifier: Verifier) -> None:
    import torch

    settings = dataclasses.replace(SETTINGS, sampled_share=0.0, part_size=3)
    for text in write_part(verifier, settings, 0, Sources([[5, 6], [7, 8], [9, 3]]), []):
        start = text.answer_start
        with torch.inference_mode():
            logits = verifier.model(input_ids=torch.from_numpy(text.token_ids)[None]).logits[0]
        assert logits[start - 1 : -1].argmax(-1).tolist() == text.token_ids[start:].tolist()


def test_without_a_chat_template_prompts_must_be_given(verifier: Verifier) -> None:
    class Bare:
        chat_template = None

    bare = dataclasses.replace(verifier, tokenizer=Bare())
    with pytest.raises(ConfigError, match="--prompts"):
        write_part(bare, SETTINGS, 0, Sources(), [])


def test_a_verifier_that_ends_no_prompt_is_told_of(verifier: Verifier) -> None:
    endless = dataclasses.replace(verifier, eos_token_ids=())
    with pytest.raises(DistillError, match="give it prompts"):
        write_part(endless, SETTINGS, 0, Sources(), [])


@pytest.mark.parametrize(
    "field",
    [{"part_size": 0}, {"max_new_tokens": 3}, {"task_share": 1.5}, {"temperature": 0.0}],
    ids=str,
)
def test_bad_settings_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(field))):
        dataclasses.replace(SETTINGS, **field)
