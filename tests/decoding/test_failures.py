"""What goes wrong with one request, or in one cycle, leaves the others as they would have been."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from adaptive_spec import (
    AdaptiveSpecError,
    ConstantCosts,
    ContextLengthError,
    Controller,
    NumericsError,
    PromptError,
)
from adaptive_spec.decoding import (
    Completion,
    ComposedDrafter,
    DecodingEngine,
    Drafter,
    DraftModelDrafter,
    Failed,
    Finished,
    ModelRunner,
    PromptLookupDrafter,
    Request,
    TokensEmitted,
)
from adaptive_spec.errors import DeviceMemoryError, DrafterError
from tests.decoding.faults import POISON, Passes, poisoned
from tests.decoding.scripted import DRAFTERS, Scripted, engine, generate
from tests.tiny_models import perturbed, tiny_llama

MODEL = poisoned(tiny_llama())
DRAFT = poisoned(perturbed(tiny_llama()))  # agrees with it mostly
GOOD = [Request(f"r{i}", [(3 * i + j) % 50 for j in range(2 + 5 * i)], 12 - i) for i in range(5)]
PLAIN = {r.id: generate(MODEL, r.prompt_ids, r.max_new_tokens) for r in GOOD}


def start(
    proposes: Drafter | str | None, policy: Any, batch_size: int, **options: Any
) -> DecodingEngine:
    """An engine over the poisoned models."""
    if proposes == "draft-model":
        proposes = DraftModelDrafter(ModelRunner(DRAFT, slots=batch_size), proposes)
    return engine(MODEL, proposes, policy, batch_size, **options)


def assert_others_are_plain(outcomes: list[Completion | Failed], failed: dict[str, Any]) -> None:
    """All but the failed ones (id: error) are as plain decoding has them."""
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            assert isinstance(outcome.error, failed[outcome.request.id]), outcome
        else:
            assert list(outcome.token_ids) == PLAIN[outcome.id]
    assert sum(isinstance(o, Failed) for o in outcomes) == len(failed)


def assert_nothing_is_left(run: DecodingEngine) -> None:
    assert run.controller.running.size == 0
    assert run.running_ids == ()
    runners = [run.verifier]
    if isinstance(run.drafter, DraftModelDrafter):
        runners.append(run.drafter.runner)
    for runner in runners:
        assert runner.cache.lengths == [0] * runner.slots
        layers: list[Any] = list(runner.cache.layers)
        buffers = [
            b for layer in layers if layer.is_initialized for b in (layer.keys, layer.values)
        ]
        assert all(bool(buffer.isfinite().all()) for buffer in buffers)


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        (Request("bad", list(range(40)), 1), ContextLengthError, "40 tokens.*context 32"),
        (Request("bad", [1] * 32, 1), ContextLengthError, "32 tokens"),
        (Request("bad", [1, 61], 1), PromptError, "1 to 61.*0 to 60"),
        (Request("bad", [-1], 1), PromptError, "-1"),
        (Request("bad", [0.5], 1), PromptError, "float64 with 1 dimensions"),  # type: ignore[list-item]
        (Request("bad", [[1]], 1), PromptError, "int64 with 2 dimensions"),  # type: ignore[list-item]
        (Request("good", [1], 1), PromptError, "two requests"),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_bad_request_fails_alone(
    bad: Request, error: type[AdaptiveSpecError], match: str, batch_size: int
) -> None:
    model = tiny_llama(context=32)
    run = engine(model, "lookup", Scripted(), batch_size)
    wanted = [Request("good", [1, 2], 4), bad, Request("better", [3, 4], 4)]
    first, failed, last = run.outcomes(wanted)
    for outcome, request in ((first, wanted[0]), (last, wanted[2])):
        assert isinstance(outcome, Completion)
        assert list(outcome.token_ids) == generate(model, request.prompt_ids, 4)
    assert isinstance(failed, Failed)
    assert (failed.request, failed.token_ids) == (bad, ())
    with pytest.raises(error, match=match):
        raise failed.error
    assert run.controller.ledger.requests == 2
    with pytest.raises(error, match=match):
        run.complete(wanted)
    assert_nothing_is_left(run)


def test_a_request_given_twice_fails_the_second_time() -> None:
    (request,) = GOOD[:1]
    for batch_size in (1, 2):
        first, second = start(None, Scripted(0), batch_size).outcomes([request] * 2)
        assert isinstance(first, Completion)
        assert isinstance(second, Failed)


@pytest.mark.parametrize("drafter", DRAFTERS)
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_nan_in_one_row_fails_that_request(drafter: str, batch_size: int) -> None:
    run = start(drafter, Scripted(tau=2), batch_size)
    wanted = [*GOOD[:2], Request("nan", [5, POISON, *range(30)], 9), *GOOD[2:]]
    outcomes = run.outcomes(wanted)
    assert_others_are_plain(outcomes, {"nan": NumericsError})
    failed = outcomes[2]
    assert isinstance(failed, Failed)
    assert "request 'nan'" in str(failed.error)
    assert_nothing_is_left(run)
    assert run.controller.ledger.requests == len(GOOD)


def test_a_cycle_taken_back_counts_no_pass() -> None:
    run = start(None, Scripted(0), 4)
    run.outcomes([*GOOD, Request("nan", [POISON], 3)])
    assert run.controller.ledger.passes == sum(map(len, PLAIN.values()))


def test_nan_of_the_draft_model_fails_that_request() -> None:
    sound = tiny_llama()
    drafter = DraftModelDrafter(ModelRunner(DRAFT, slots=3), "poisoned")
    run = engine(sound, drafter, Scripted(2), 3)
    bad = Request("nan", [5, POISON], 9)
    outcomes = run.outcomes([GOOD[0], bad, GOOD[1]])
    for request, outcome in zip([GOOD[0], GOOD[1]], [outcomes[0], outcomes[2]], strict=True):
        assert isinstance(outcome, Completion)
        assert list(outcome.token_ids) == generate(
            sound, request.prompt_ids, request.max_new_tokens
        )
    assert isinstance(outcomes[1], Failed)
    assert "draft model" in str(outcomes[1].error)
    assert_nothing_is_left(run)


@pytest.mark.parametrize("drafter", DRAFTERS)
@pytest.mark.parametrize("which", ["verifier", "drafter"])
def test_memory_that_ends_in_the_middle_of_a_batch(drafter: str, which: str) -> None:
    run = start(drafter, Scripted(tau=3), 4)
    if which == "verifier":
        watched = run.verifier
    elif isinstance(run.drafter, DraftModelDrafter):
        watched = run.drafter.runner
    else:
        return
    passes = Passes(watched, lambda rows, widths: len(rows) > 2)
    assert_others_are_plain(run.outcomes(GOOD), {})
    assert max(len(widths) for widths in passes.widths) <= 2
    assert run.batch_limit == 2
    assert_nothing_is_left(run)
    assert run.controller.ledger.requests == len(GOOD)


def test_the_youngest_wait_and_go_on_where_they_were() -> None:
    run = start("draft-model", Scripted(tau=1), 4)
    passes = Passes(run.verifier)
    emitted: dict[str, list[int]] = {}
    for i, event in enumerate(run.run(GOOD[:4])):
        if i == 6:
            passes.fails = lambda rows, widths: len(rows) > 1
        if isinstance(event, TokensEmitted):
            emitted.setdefault(event.id, []).extend(event.token_ids)
    assert emitted == {r.id: PLAIN[r.id] for r in GOOD[:4]}
    assert run.batch_limit == 1


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_sequence_too_large_even_alone_fails_alone(batch_size: int) -> None:
    run = start("lookup", Scripted(tau=2), batch_size)
    most = len(GOOD[4].prompt_ids) + 2
    lengths = run.verifier.cache.lengths
    passes = Passes(run.verifier, lambda rows, widths: max(lengths[row] for row in rows) > most)
    outcomes = run.outcomes(GOOD)
    assert_others_are_plain(outcomes, {"r4": DeviceMemoryError})
    failed = outcomes[4]
    assert isinstance(failed, Failed)
    assert "lower max_new_tokens, batch_size" in str(failed.error)
    assert list(failed.token_ids) == PLAIN["r4"][: len(failed.token_ids)]
    assert 0 < len(failed.token_ids) < len(PLAIN["r4"])
    passes.fails = lambda rows, widths: False
    assert_others_are_plain(run.outcomes(GOOD), {})


@pytest.mark.parametrize("alone", [False, True])
def test_memory_that_ends_while_prompts_are_read(alone: bool) -> None:
    """With the others, or even alone where the prompt is the longest."""
    run = start("draft-model", Scripted(tau=2), 4)
    longest = len(GOOD[4].prompt_ids) - 1

    def fails(rows: Sequence[int], widths: Sequence[int]) -> bool:
        return max(widths) >= longest if alone else len(rows) > 1 and max(widths) > 4

    Passes(run.verifier, fails)
    outcomes = run.outcomes(GOOD)
    assert_others_are_plain(outcomes, {"r4": DeviceMemoryError} if alone else {})
    assert all(isinstance(o, Failed) or o.reused_prefix_tokens == 0 for o in outcomes)
    assert run.batch_limit == 4
    assert_nothing_is_left(run)


class Refusing(PromptLookupDrafter):
    """Cannot begin prompts with a certain token."""

    def begin(self, row: int, prompt_ids: Sequence[int]) -> None:
        if POISON in prompt_ids:
            raise KeyError(POISON)
        super().begin(row, prompt_ids)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_drafter_that_cannot_begin_fails_that_request(batch_size: int) -> None:
    run = start(Refusing(max_ngram=3), Scripted(tau=2), batch_size)
    outcomes = run.outcomes([*GOOD[:2], Request("refused", [5, POISON], 9), *GOOD[2:]])
    assert_others_are_plain(outcomes, {"refused": DrafterError})
    failed = outcomes[2]
    assert isinstance(failed, Failed)
    assert failed.token_ids == ()
    message = "request 'refused': the drafter lookup:max_ngram=3,min_ngram=1 could not begin "
    assert str(failed.error) == f"{message}(KeyError: {POISON})"
    assert_nothing_is_left(run)
    assert run.controller.ledger.requests == len(GOOD)


def test_other_errors_end_the_run_and_free_everything() -> None:
    class Broken(Scripted):
        def decide(self, state: Any, cycle: Any) -> Any:
            if cycle.emitted_tokens.max() > 3:
                raise ZeroDivisionError
            return super().decide(state, cycle)

    run = start("draft-model", Broken(tau=1), 3)
    with pytest.raises(ZeroDivisionError):
        run.complete(GOOD)
    assert_nothing_is_left(run)


def test_a_callback_that_raises_frees_everything() -> None:
    def callback(event: TokensEmitted) -> None:
        if event.id == "r1":
            raise KeyError(event.id)

    run = start("draft-model", Scripted(tau=1), 3, on_tokens=callback)
    with pytest.raises(KeyError):
        run.complete(GOOD)
    assert_nothing_is_left(run)


@pytest.mark.parametrize("drafter", DRAFTERS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_cancelled_requests_end_with_the_text_so_far(drafter: str, batch_size: int) -> None:
    run = start(drafter, Scripted(tau=1), batch_size)
    cancelled = {}
    for event in run.run(GOOD):
        if isinstance(event, TokensEmitted) and event.id == "r1":
            run.cancel("r1")  # in its middle
            run.cancel("r3")  # before it began
            run.cancel("r0")  # maybe it is done
            run.cancel("nobody")
        elif isinstance(event, Finished):
            done = event.completion
            assert list(done.token_ids) == PLAIN[done.id][: len(done.token_ids)]
            if done.finish_reason == "cancelled":
                cancelled[done.id] = len(done.token_ids)
            else:
                assert len(done.token_ids) == len(PLAIN[done.id])
    assert {"r1", "r3"} <= set(cancelled) <= {"r0", "r1", "r3"}
    assert 0 < cancelled["r1"] < len(PLAIN["r1"])
    assert (batch_size > 1) or cancelled["r3"] == 0
    assert run.controller.ledger.requests == len(GOOD) - len(cancelled)
    assert_nothing_is_left(run)
    assert_others_are_plain(run.outcomes(GOOD), {})  # forgotten with the run


def test_cancelling_from_another_thread() -> None:
    run = start(None, Scripted(0), 2)
    events = run.run([Request("endless", [1], 200), GOOD[0]])
    next(events)
    thread = threading.Thread(target=run.cancel, args=("endless",))
    thread.start()
    thread.join()
    done = {e.completion.id: e.completion for e in events if isinstance(e, Finished)}
    assert done["endless"].finish_reason == "cancelled"
    assert list(done["r0"].token_ids) == PLAIN["r0"]


def test_requests_are_read_when_there_is_room_and_no_sooner() -> None:
    read: list[str] = []

    def source() -> Iterator[Request]:
        for request in GOOD:
            read.append(request.id)
            yield request

    run = start(None, Scripted(0), 2)
    finished = 0
    for event in run.run(source()):
        finished += isinstance(event, Finished)
        assert len(read) <= 2 + finished
        assert len(run.running_ids) <= 2
    assert len(read) == finished == len(GOOD)


def test_requests_may_come_while_others_run() -> None:
    waiting: list[Request] = [GOOD[0]]
    run = start("lookup", Scripted(tau=2), 3)

    def source() -> Iterator[Request | None]:
        while waiting or run.running_ids:
            yield waiting.pop() if waiting else None

    later = list(GOOD[1:])
    done = {}
    for event in run.run(source()):
        if isinstance(event, TokensEmitted) and later:
            waiting.append(later.pop())
        elif isinstance(event, Finished):
            done[event.completion.id] = list(event.completion.token_ids)
    assert done == PLAIN


def test_a_source_that_raises_ends_the_run() -> None:
    def source() -> Iterator[Request]:
        yield GOOD[0]
        raise OSError("the queue is gone")

    run = start("draft-model", Scripted(tau=2), 2)
    with pytest.raises(OSError, match="queue"):
        list(run.run(source()))
    assert_nothing_is_left(run)


def test_draft_models_survive_a_pass_that_failed_in_their_middle() -> None:
    run = start("draft-model", Scripted(tau=4), 2)
    assert isinstance(run.drafter, DraftModelDrafter)
    count = [0]

    def every_fifth(rows: Any, widths: Any) -> bool:
        count[0] += 1
        return len(rows) == 2 and count[0] % 5 == 0

    Passes(run.drafter.runner, every_fifth)
    assert_others_are_plain(run.outcomes(GOOD), {})


@pytest.mark.parametrize("batch_size", [1, 4])
def test_composed_drafters_fail_and_recover_as_others_do(batch_size: int) -> None:
    runner = ModelRunner(DRAFT, slots=batch_size)
    parts = [PromptLookupDrafter(max_ngram=3), DraftModelDrafter(runner, "draft")]
    drafter = ComposedDrafter(parts)
    run = DecodingEngine(
        ModelRunner(MODEL, slots=batch_size),
        drafter,
        Controller(Scripted(3), costs=ConstantCosts(), max_draft_tokens=8, drafters=drafter.names),
        batch_size=batch_size,
    )
    Passes(runner, lambda rows, widths: len(rows) > 2)
    outcomes = run.outcomes([*GOOD[:2], Request("nan", [5, POISON], 9), *GOOD[2:]])
    assert_others_are_plain(outcomes, {"nan": NumericsError})
    assert_nothing_is_left(run)
    assert runner.cache.lengths == [0] * batch_size
