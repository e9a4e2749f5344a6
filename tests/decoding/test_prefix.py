"""Prompts are read together, and what several begin with is read once."""

from typing import Any

import pytest

from adaptive_spec.decoding import DraftModelDrafter, Finished, ModelRunner, Request
from adaptive_spec.decoding.prefix import LEAST_SHARED_TOKENS, common_prefix, read_prompts
from tests.decoding.faults import Passes
from tests.decoding.scripted import DRAFTERS, Scripted, engine, generate
from tests.tiny_models import tiny_llama

SYSTEM = [(7 * i * i + 3) % 61 for i in range(40)]
MODEL = tiny_llama()


def questions(count: int, new_tokens: int = 5) -> list[Request]:
    """Requests with one system prompt, questions of 1 to ``count`` tokens, told apart at once."""
    return [
        Request(f"q{i}", [*SYSTEM, *range(i, 2 * i + 1)], new_tokens + i % 3) for i in range(count)
    ]


def assert_plain(requests: list[Request], completions: Any) -> None:
    for request, completion in zip(requests, completions, strict=True):
        expected = generate(MODEL, request.prompt_ids, request.max_new_tokens)
        assert list(completion.token_ids) == expected, request.id


def test_common_prefix() -> None:
    assert common_prefix([1, 2, 3], [1, 2, 4]) == 2
    assert common_prefix([1, 2, 3], [1, 2]) == 2
    assert common_prefix([], [1]) == 0


@pytest.mark.parametrize("drafter", DRAFTERS)
@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_one_system_prompt_is_read_once(drafter: str, batch_size: int) -> None:
    run = engine(MODEL, drafter, Scripted(tau=0), batch_size)
    verifier, wanted = Passes(run.verifier), questions(8)
    completions = run.complete(wanted)
    own = sum(len(r.prompt_ids) - len(SYSTEM) for r in wanted)
    cycles = sum(len(c.cycles) for c in completions)
    assert verifier.tokens - cycles <= len(SYSTEM) + own
    assert [c.reused_prefix_tokens for c in completions] == [0] + [len(SYSTEM)] * 7
    assert_plain(wanted, completions)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_draft_model_reads_it_once_too(batch_size: int) -> None:
    run = engine(MODEL, "draft-model", Scripted(tau=3), batch_size)
    assert isinstance(run.drafter, DraftModelDrafter)
    drafter, wanted = Passes(run.drafter.runner), questions(8)
    assert_plain(wanted, run.complete(wanted))
    before = [widths for widths in drafter.widths if max(widths.values()) > 8]
    assert sum(len(widths) for widths in before) == 1, "one row read the system prompt"


def test_an_answer_is_not_read_again_when_the_dialogue_goes_on() -> None:
    run = engine(MODEL, "draft-model", Scripted(tau=3), 2)
    answers: list[list[int]] = []

    def dialogue() -> Any:
        yield Request("first", SYSTEM, 12)
        while not answers:
            yield None
        yield Request("second", [*SYSTEM, *answers[0], 5, 6], 4)

    done = {}
    for event in run.run(dialogue()):
        if isinstance(event, Finished):
            done[event.completion.id] = event.completion
            answers.append(list(event.completion.token_ids))
    assert done["second"].reused_prefix_tokens == len(SYSTEM) + 12 - 1
    expected = generate(MODEL, [*SYSTEM, *answers[0], 5, 6], 4)
    assert list(done["second"].token_ids) == expected


def test_a_running_sequence_is_copied_from_while_it_goes_on() -> None:
    run = engine(MODEL, "draft-model", Scripted(tau=2), 2)
    wanted = [
        Request("long", SYSTEM, 30),
        *(Request(f"short{i}", [*SYSTEM, i], 3) for i in range(4)),
    ]
    completions = run.complete(wanted)
    assert_plain(wanted, completions)
    assert [c.reused_prefix_tokens for c in completions[1:]] == [
        len(SYSTEM) - 1,
        *[len(SYSTEM)] * 3,
    ]


def test_a_few_tokens_are_not_worth_a_copy() -> None:
    runner = ModelRunner(MODEL, slots=3)
    held: dict[int, list[int]] = {}
    short = SYSTEM[: LEAST_SHARED_TOKENS - 1]
    reused = read_prompts(runner, held, {0: [*short, 1], 1: [*short, 2]})
    assert reused == {0: 0, 1: 0}
    assert read_prompts(runner, held, {2: [*short, 3]}) == {2: 0}
    assert read_prompts(runner, held, {1: [*short, 4]}) == {1: len(short)}, "it lies there already"


def test_a_row_that_is_overwritten_is_no_source_any_more() -> None:
    runner = ModelRunner(MODEL, slots=2)
    held: dict[int, list[int]] = {}
    one, other = [1, *SYSTEM], [2, *SYSTEM]
    read_prompts(runner, held, {0: one, 1: other})
    assert read_prompts(runner, held, {0: [*other, 5], 1: [*one, 5]}) == {0: len(other), 1: 0}
    assert runner.cache.lengths == [len(one) + 1] * 2
    plain = ModelRunner(MODEL, slots=2)
    plain.prefill_rows([0, 1], [[*other, 5], [*one, 5]])
    difference = runner.append([0, 1], [[6], [6]]) - plain.append([0, 1], [[6], [6]])
    assert float(difference.abs().max()) < 5e-5


def test_prompts_of_different_lengths_share_passes_up_to_a_bound() -> None:
    runner = ModelRunner(MODEL, slots=4, prefill_chunk_tokens=24)
    passes, texts = Passes(runner), [SYSTEM[:30], [], SYSTEM[3:8], SYSTEM[5:20]]
    runner.prefill_rows([0, 1, 2, 3], texts)
    assert runner.cache.lengths == [30, 0, 5, 15]
    assert passes.widths[0] == {0: 8, 2: 5, 3: 8}
    assert max(len(p) * max(p.values()) for p in passes.widths) <= 24
    assert passes.tokens == 50
    for row, text in enumerate(texts):
        single = ModelRunner(MODEL)
        expected = single.append([0], [[*text, 9]], last_only=True)
        got = runner.append([row], [[9]])
        assert float((got - expected).abs().max()) < 5e-5


def test_more_rows_than_a_pass_may_hold_take_turns() -> None:
    runner = ModelRunner(MODEL, slots=3, prefill_chunk_tokens=2)
    runner.prefill_rows([0, 1, 2], [[1, 2, 3], [4], [5, 6]])
    assert runner.cache.lengths == [3, 1, 2]


def test_prompts_admitted_together_are_read_in_one_pass() -> None:
    run = engine(MODEL, "draft-model", Scripted(tau=0), 4)
    assert isinstance(run.drafter, DraftModelDrafter)
    verifier, drafter = Passes(run.verifier), Passes(run.drafter.runner)
    wanted = [Request(str(i), list(range(i, 3 * i + 2)), 3) for i in range(4)]
    completions = run.complete(wanted)
    assert verifier.widths[0] == {row: 2 * row + 1 for row in range(4)}
    assert drafter.widths == [verifier.widths[0]]
    assert len({c.prefill_ms for c in completions}) == 1
    assert_plain(wanted, completions)
