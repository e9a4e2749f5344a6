"""What a policy is told of drafts: every bit that can be known, and none that is not so."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from transformers.generation.candidate_generator import PromptLookupCandidateGenerator

from adaptive_spec.integrations.transformers import adaptive
from adaptive_spec.policy import Cycle, Decision, Outcome, State
from adaptive_spec.traces import run_lengths_of
from tests.decoding.looking_back import Watchful
from tests.decoding.scripted import Scripted, Stopping
from tests.integrations.transformers.pair import PROMPT, draft, generate, model, tokens

LONG = {"max_new_tokens": 50}
REPEATING = (7, 8, 9, 7, 8, 4, 9, 7, 8)


def drafter_runs(text: list[int], prompt_tokens: int) -> np.ndarray:
    """Run length at each output position, by one pass of the draft model over the whole text."""
    with torch.no_grad():
        expected = draft()(torch.tensor([text])).logits[0, :-1].argmax(-1).tolist()
    agrees = np.array(expected[prompt_tokens - 1 :]) == np.array(text[prompt_tokens:])
    return run_lengths_of(agrees)


def lookup_runs(text: list[int], prompt_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for transformers' lookup, asked at every position; and whether it had an answer."""
    lookup: Any = PromptLookupCandidateGenerator(num_output_tokens=99, max_length=10_000)
    runs, proposes = [], []
    for end in range(prompt_tokens, len(text)):
        found, _ = lookup.get_candidates(torch.tensor([text[:end]]))
        copied = found[0, end:].tolist()
        pairs = list(zip(copied, text[end:], strict=False))
        runs.append(next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs)))
        proposes.append(bool(copied))
    return np.array(runs), np.array(proposes)


def told(outcomes: list[Outcome]) -> Iterator[tuple[int, int, int, bool]]:
    """Position, tokens known from there on, run length as told, whether anything is proposed."""
    for outcome in outcomes:
        assert outcome.runs is not None
        position, seen = outcome.runs.position[0], outcome.runs.seen[0, 0]
        for column in np.flatnonzero(seen).tolist():
            at = int(position[column])
            known = int(outcome.runs.known[0, 0]) - at
            length = int(outcome.runs.length[0, 0, column])
            yield at, known, length, bool(outcome.runs.proposes[0, 0, column])


def test_an_assistant_tells_of_every_token_that_it_read() -> None:
    policy = Watchful()
    with adaptive(model(), policy, max_draft_tokens=5) as run:
        text = tokens(generate(assistant_model=draft(), **LONG))
    truth = drafter_runs(text, len(PROMPT))
    facts = list(told(policy.told))
    assert run.statistics.fallback_passes > 5
    assert len({at for at, *_ in facts}) > 40
    for at, known, length, proposes in facts:
        assert length == min(truth[at], known)
        assert proposes


def test_an_assistant_reads_to_the_very_end_without_drafting() -> None:
    policy = Reader()
    with adaptive(model(), policy) as run:
        text = tokens(generate(assistant_model=draft()))
    assert text == tokens(generate())
    assert run.statistics.drafted == 0
    assert policy.told[-1].runs is not None
    assert policy.told[-1].runs.known[0, 0] == len(text) - len(PROMPT)
    truth = drafter_runs(text, len(PROMPT))
    assert all(length == min(truth[at], known) for at, known, length, _ in told(policy.told))


class Reader(Watchful):
    """Drafts nothing, and reads everything."""

    def decide(self, state: State[Any, Any], cycle: Cycle) -> Decision:
        return Decision(cycle.clip(np.zeros(1)), catch_up=np.ones(1, np.bool_))


def test_after_a_pause_the_assistant_drafts_as_if_it_had_never_been_refused() -> None:
    policy = Watchful()
    with adaptive(model(), policy, max_draft_tokens=5):
        text = tokens(generate(assistant_model=draft(), **LONG))
    truth = drafter_runs(text, len(PROMPT))
    for outcome in policy.told:
        drafted = int(outcome.num_draft_tokens[0])
        position = int(outcome.cycle.emitted_tokens[0])
        assert outcome.num_accepted_tokens[0] == min(truth[position], drafted)


def test_a_lookup_tells_of_every_position() -> None:
    policy = Watchful()
    with adaptive(model(), policy, max_draft_tokens=5):
        output = generate(prompt=REPEATING, prompt_lookup_num_tokens=3, **LONG)
    text = tokens(output)
    truth, proposes = lookup_runs(text, len(REPEATING))
    assert proposes.any()
    assert truth.any()
    facts = list(told(policy.told))
    assert len({at for at, *_ in facts}) > 40
    for at, known, length, does_propose in facts:
        assert length == min(truth[at], known)
        assert does_propose == proposes[at]


@pytest.mark.parametrize("options", [{"do_sample": True}, {"no_repeat_ngram_size": 2}], ids=str)
def test_what_depends_on_tau_or_on_processors_is_not_told(options: dict[str, Any]) -> None:
    policy = Watchful()
    with adaptive(model(), policy):
        generate(assistant_model=draft(), **options)
    assert policy.told
    assert all(outcome.runs is None for outcome in policy.told)


@pytest.mark.parametrize("source", ["assistant", "lookup"])
def test_sampling_tells_the_chance_of_every_tested_token(source: str) -> None:
    policy = Watchful()
    drafter = {"assistant_model": draft()} if source == "assistant" else {}
    if source == "lookup":
        drafter = {"prompt_lookup_num_tokens": 3}
    with adaptive(model(), policy, max_draft_tokens=4):
        generate(prompt=REPEATING, do_sample=True, top_k=30, **drafter, **LONG)
    some = [outcome for outcome in policy.told if outcome.num_draft_tokens[0] > 0]
    assert some
    for outcome in some:
        chance = outcome.acceptance_probability
        assert chance is not None
        tested = int(outcome.num_accepted_tokens[0] + outcome.rejected[0])
        assert np.isnan(chance[0, tested:]).all()
        assert ((chance[0, :tested] >= 0) & (chance[0, :tested] <= 1)).all()


@dataclass(frozen=True)
class Attentive(Stopping):
    """Keeps the signals it was shown."""

    told: list[Outcome] = field(default_factory=list, compare=False)

    def update(self, state: State[Any, Any], outcome: Outcome) -> State[Any, Any]:
        self.told.append(outcome)
        return state


def test_signals_are_of_the_assistants_own_logits_and_stop_the_draft() -> None:
    policy = Attentive(tau=6, threshold=0.4)
    with adaptive(model(), policy, max_draft_tokens=6) as run:
        text = tokens(generate(assistant_model=draft(), do_sample=True, temperature=0.3, **LONG))
    assert 0 < run.statistics.drafted < 6 * run.statistics.passes
    with torch.no_grad():
        logits = draft()(torch.tensor([text])).logits[0]
    top = logits.softmax(-1).amax(-1).numpy()
    for outcome in policy.told:
        assert outcome.signals is not None
        said = outcome.signals.top1_probability[0]
        drafted = int(outcome.num_draft_tokens[0])
        begin = len(PROMPT) + int(outcome.cycle.emitted_tokens[0]) - 1
        count = min(int(outcome.num_accepted_tokens[0]) + 1, drafted)
        np.testing.assert_allclose(said[:count], top[begin : begin + count], atol=1e-4)
        assert (said[: drafted - 1] > 0.4).all()
        assert np.isnan(said[drafted:]).all()
        if 0 < drafted < outcome.tau[0]:
            assert said[drafted - 1] <= 0.4


def test_where_nobody_looks_nothing_is_listened_to() -> None:
    heard = []
    handle = draft().register_forward_hook(lambda *_: heard.append(len(draft()._forward_hooks)))
    try:
        with adaptive(model(), Scripted(3)):
            generate(assistant_model=draft())
    finally:
        handle.remove()
    assert set(heard) == {1}  # its own alone
    assert not draft()._forward_hooks
