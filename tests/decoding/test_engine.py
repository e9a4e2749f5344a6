import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from adaptive_spec import ConfigError, Constraints, NumericsError, PassBudget
from adaptive_spec.decoding import (
    DecodingEngine,
    DraftModelDrafter,
    Event,
    Finished,
    ModelRunner,
    Request,
    StopRules,
    TokensEmitted,
)
from adaptive_spec.policy import Outcome, Policy
from tests.decoding.scripted import (
    DRAFTERS,
    Scripted,
    Stopping,
    assert_same,
    engine,
    generate,
    make_drafter,
    requests,
)
from tests.tiny_models import (
    byte_level_tokenizer,
    perturbed,
    tiny_gpt2,
    tiny_llama,
    tiny_mistral,
    tiny_qwen2,
)

POLICIES: list[Policy[Any, Any]] = [Scripted(tau) for tau in (0, 1, 3, 8, -1)]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_llama()


@pytest.fixture(scope="module")
def plain(model: Any) -> list[list[int]]:
    return [generate(model, r.prompt_ids, r.max_new_tokens) for r in requests(9)]


@pytest.mark.parametrize("batch_size", [1, 4, 8])
@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_output_equals_generate(
    model: Any, plain: list[list[int]], drafter: str, policy: Scripted, batch_size: int
) -> None:
    wanted = requests(9)
    run = engine(model, drafter, policy, batch_size)
    completions = run.complete(wanted)
    assert [c.id for c in completions] == [r.id for r in wanted]
    for request, completion, expected in zip(wanted, completions, plain, strict=True):
        assert_same(model, request.prompt_ids, expected, completion.token_ids)
        assert completion.finish_reason == "length"
        assert completion.prompt_tokens == len(request.prompt_ids)
        position = 0
        for cycle in completion.cycles:
            assert cycle.position == position
            assert cycle.context_tokens == len(request.prompt_ids) + position
            assert cycle.num_accepted_tokens <= cycle.num_draft_tokens <= cycle.tau
            assert len(cycle.agreement) == cycle.num_emitted_tokens
            assert cycle.batch_size <= batch_size
            if drafter != "lookup":
                assert cycle.num_draft_tokens == cycle.tau
            position += cycle.num_emitted_tokens
        assert position == len(completion.token_ids)
    if policy.tau != 0:
        assert sum(c.num_accepted_tokens for c in completions) > 0
        assert any(c.num_accepted_tokens < c.num_draft_tokens for c in completions)
    assert run.controller.running.size == 0
    assert run.verifier.cache.lengths == [0] * batch_size


@pytest.mark.parametrize("build", [tiny_gpt2, tiny_qwen2, tiny_mistral])
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_other_architectures_equal_generate(build: Any, drafter: str) -> None:
    model = build()
    wanted = requests(4)
    completions = engine(model, drafter, Scripted(), batch_size=3).complete(wanted)
    for request, completion in zip(wanted, completions, strict=True):
        expected = generate(model, request.prompt_ids, request.max_new_tokens)
        assert_same(model, request.prompt_ids, expected, completion.token_ids)


def test_without_drafter_each_cycle_emits_one_token(model: Any, plain: list[list[int]]) -> None:
    completions = engine(model, None, Scripted(tau=8), batch_size=3).complete(requests(9))
    assert [list(c.token_ids) for c in completions] == plain
    assert all(cycle.tau == 0 for c in completions for cycle in c.cycles)
    assert all(cycle.agreement == (-1,) for c in completions for cycle in c.cycles)


@pytest.mark.parametrize("drafter", DRAFTERS)
def test_stop_token_inside_an_accepted_block(drafter: str) -> None:
    model = tiny_llama(5)  # writes one token over and over, which prompt lookup foresees
    text = [7, 8, *generate(model, [7, 8], 40)]
    ended_inside = 0
    for prompt_tokens in range(2, 40, 2):
        prompt, rest = text[:prompt_tokens], text[prompt_tokens:]
        eos = rest[1]
        expected = rest[: rest.index(eos) + 1]
        run = engine(model, drafter, Scripted(tau=5), stop_rules=StopRules([eos]))
        (completion,) = run.complete([Request("a", prompt, 20)])
        assert_same(model, prompt, expected, completion.token_ids)
        assert completion.finish_reason == "eos"
        last = completion.cycles[-1]
        assert last.num_accepted_tokens <= last.num_emitted_tokens
        if last.num_emitted_tokens == last.num_accepted_tokens:
            ended_inside += 1
            assert last.agreement == (1,) * last.num_accepted_tokens
            assert last.num_draft_tokens == last.tau
    assert ended_inside > 0


def test_stop_strings_equal_generate() -> None:
    tokenizer = byte_level_tokenizer()
    model = tiny_llama(vocab_size=len(tokenizer))
    reasons = set()
    for request in requests(3):
        text = tokenizer.decode(generate(model, request.prompt_ids, 24))
        for stop in ["not in there", *{text[i : i + 2] for i in range(0, len(text), 5)}]:
            if "\ufffd" in stop:  # half a character cannot be typed
                continue
            expected = generate(
                model, request.prompt_ids, 24, stop_strings=[stop, "never"], tokenizer=tokenizer
            )
            rules = StopRules(stop_strings=[str(stop), "never"], tokenizer=tokenizer)
            run = engine(model, "draft-model", Scripted(), stop_rules=rules)
            (completion,) = run.complete([dataclasses.replace(request, max_new_tokens=24)])
            assert list(completion.token_ids) == expected
            reasons.add(completion.finish_reason)
    assert reasons == {"stop", "length"}


@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_context_is_filled_to_its_last_position(build: Any, drafter: str) -> None:
    model = build(context=48)
    wanted = [Request(str(p), list(range(p)), 1000) for p in (47, 46, 40, 13)]
    completions = engine(model, drafter, Scripted(), batch_size=3).complete(wanted)
    for request, completion in zip(wanted, completions, strict=True):
        room = 48 - len(request.prompt_ids)
        assert list(completion.token_ids) == generate(model, request.prompt_ids, room)
        assert completion.finish_reason == "length"


def test_drafter_with_a_shorter_context_stops_drafting_at_its_end(model: Any) -> None:
    short = perturbed(tiny_llama(context=32))
    wanted = [Request(str(p), list(range(p)), 20) for p in (40, 32, 31, 20)]
    drafter = DraftModelDrafter(ModelRunner(short, slots=2), "short")
    completions = engine(model, drafter, Scripted(tau=5), batch_size=2).complete(wanted)
    for request, completion in zip(wanted, completions, strict=True):
        assert list(completion.token_ids) == generate(model, request.prompt_ids, 20)
        for cycle in completion.cycles:
            room = max(32 - cycle.context_tokens, 0)
            assert cycle.tau == min(5, room, 20 - cycle.position - 1)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(
    ("drafter", "policy"),
    [
        ("draft-model", Stopping(8)),
        ("early-exit", Stopping(-1)),
        ("lookup", Stopping(8, threshold=1.5, signal="match_length")),
    ],
)
def test_policies_that_look_inside_the_draft_stop_it(
    model: Any, plain: list[list[int]], drafter: str, policy: Stopping, batch_size: int
) -> None:
    run = engine(model, drafter, policy, batch_size, record_signals=True)
    completions = run.complete(requests(9))
    assert [list(c.token_ids) for c in completions] == plain
    cycles = [cycle for c in completions for cycle in c.cycles]
    stopped = [c for c in cycles if 0 < c.num_draft_tokens < c.tau]
    assert stopped
    for cycle in cycles:
        assert cycle.signals is not None
        values = getattr(cycle.signals, policy.signal)
        assert values.shape == (cycle.num_draft_tokens,)
        assert (values[:-1] > policy.threshold).all()
    for cycle in stopped:
        assert cycle.signals is not None
        assert getattr(cycle.signals, policy.signal)[-1] <= policy.threshold


def test_policy_is_shown_signals_over_the_full_width(model: Any) -> None:
    seen: list[Outcome] = []

    class Watching(Stopping):
        def update(self, state: Any, outcome: Outcome) -> Any:
            seen.append(outcome)
            return state

    engine(model, "draft-model", Watching(), 3).complete(requests(4))
    for outcome in seen:
        assert outcome.signals is not None
        known = ~np.isnan(outcome.signals.top1_probability)
        depth = np.arange(outcome.cycle.max_draft_tokens)
        assert (known == (depth < outcome.num_draft_tokens[:, None])).all()


def test_budget_ends_a_request_with_the_text_so_far(model: Any, plain: list[list[int]]) -> None:
    run = engine(
        model, "draft-model", Scripted(tau=0), 3, constraints=Constraints(PassBudget(max_passes=4))
    )
    completions = run.complete(requests(9))
    assert {c.finish_reason for c in completions} >= {"budget"}
    for completion, expected in zip(completions, plain, strict=True):
        assert list(completion.token_ids) == expected[: len(completion.token_ids)]
        assert len(completion.cycles) <= 4
        if len(completion.token_ids) == len(expected):
            assert completion.finish_reason == "length"


def test_events_arrive_as_tokens_are_verified(model: Any) -> None:
    called: list[TokensEmitted] = []
    run = engine(model, "draft-model", Scripted(tau=3), 2, on_tokens=called.append)
    events: list[Event] = list(run.run(requests(3)))
    emitted = [event for event in events if isinstance(event, TokensEmitted)]
    assert emitted == called
    for event in events:
        if isinstance(event, Finished):
            done = event.completion
            parts = [e for e in emitted if e.id == done.id]
            assert sum((e.token_ids for e in parts), ()) == done.token_ids
            assert [e.num_accepted for e in parts] == [c.num_accepted_tokens for c in done.cycles]
            assert [e.num_draft_tokens for e in parts] == [c.num_draft_tokens for c in done.cycles]


def test_free_slots_go_to_the_next_request_lowest_first(model: Any) -> None:
    run = engine(model, None, Scripted(tau=0), batch_size=2)
    lengths = {"a": 3, "b": 1, "c": 1, "d": 2}
    wanted = [Request(name, [5, 6], length) for name, length in lengths.items()]
    order = [e.id for e in run.run(wanted) if isinstance(e, TokensEmitted)]
    assert "".join(order) == "ab" + "ac" + "ad" + "d"


@pytest.mark.parametrize("after", [0, 1, 7])
def test_closing_early_frees_everything_and_counts_nothing(model: Any, after: int) -> None:
    run = engine(model, "draft-model", Scripted(tau=3), 3)
    events = run.run(requests(5))
    for _ in range(after):
        next(events)
    finished = run.controller.ledger.requests
    events.close()  # type: ignore[attr-defined]
    assert run.controller.running.size == 0
    assert run.controller.ledger.requests == finished
    assert run.verifier.cache.lengths == [0, 0, 0]
    assert isinstance(run.drafter, DraftModelDrafter)
    assert run.drafter.runner.cache.lengths == [0, 0, 0]
    wanted = requests(2)
    for request, completion in zip(wanted, run.complete(wanted), strict=True):
        expected = generate(model, request.prompt_ids, request.max_new_tokens)
        assert list(completion.token_ids) == expected


def test_cost_model_times_make_decisions_repeatable(model: Any) -> None:
    told: list[Outcome] = []

    class Watching(Scripted):
        def update(self, state: Any, outcome: Outcome) -> Any:
            told.append(outcome)
            return state

    engine(model, "draft-model", Watching(tau=3), measured_times=False).complete(requests(1))
    assert all(o.verify_ms.tolist() == [1.0] for o in told)
    assert [o.draft_ms[0] for o in told] == [0.125 * o.num_draft_tokens[0] for o in told]
    told.clear()
    (completion,) = engine(model, "draft-model", Watching(tau=3)).complete(requests(1))
    assert [o.verify_ms[0] for o in told] == [c.verify_ms for c in completion.cycles]
    assert [o.draft_ms[0] for o in told] == [c.draft_ms for c in completion.cycles]
    assert all((c.draft_ms == 0) == (c.tau == 0) for c in completion.cycles)


def test_nan_logits_are_refused_and_leave_no_trace() -> None:
    model = tiny_llama()
    run = engine(model, "lookup", Scripted(tau=2), 2)
    short, long = Request("short", [5], 6), Request("long", list(range(30)), 6)
    expected = [c.token_ids for c in run.complete([short, long])]
    weight = model.model.layers[1].mlp.down_proj.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(float("nan"))
    with pytest.raises(NumericsError, match="verifier"):
        run.complete([long, short])  # leaves NaN where the short one's row will not be written
    with torch.no_grad():
        weight.copy_(kept)
    assert [c.token_ids for c in run.complete([short, long])] == expected


def test_nan_logits_of_the_draft_model_are_refused(model: Any) -> None:
    broken = perturbed(model)
    with torch.no_grad():
        broken.lm_head.weight.fill_(float("inf"))
    drafter = DraftModelDrafter(ModelRunner(broken), "broken")
    with pytest.raises(NumericsError, match="draft model"):
        engine(model, drafter, Scripted(tau=2)).complete(requests(1))


def test_settings_out_of_range_are_refused(model: Any) -> None:
    run = engine(model, None, Scripted(), 2)
    for batch_size in (0, 3):
        with pytest.raises(ConfigError, match="batch_size"):
            DecodingEngine(run.verifier, None, run.controller, batch_size=batch_size)


def test_two_runs_cannot_share_rows(model: Any) -> None:
    run = engine(model, make_drafter("lookup", model, 1), Scripted())
    first = run.run(requests(2))
    next(first)
    with pytest.raises(ConfigError, match="already"):
        next(run.run(requests(1)))
    assert len([e for e in first if isinstance(e, Finished)]) == 2
