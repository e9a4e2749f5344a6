"""What a policy that takes hints is shown before each draft: by one pass over the whole text."""

from typing import Any

import numpy as np
import pytest
import torch

from adaptive_spec._arrays import FloatArray
from adaptive_spec.decoding.token_signals import token_signals
from adaptive_spec.hints import Hints
from adaptive_spec.integrations.transformers import adaptive
from adaptive_spec.policy import Outcome
from tests.decoding.looking_back import Watchful
from tests.integrations.transformers.pair import (
    PROMPT,
    draft,
    drafts_by,
    generate,
    model,
    tokens,
)

LONG = {"max_new_tokens": 40}


class Hinted(Watchful):
    """Random drafts; takes hints, and neither looks back nor inside."""

    takes_hints = True
    looks_back = False


def served(drafter: str, **options: Any) -> tuple[list[int], list[Outcome]]:
    policy = Hinted()
    with adaptive(model(), policy, max_draft_tokens=5):
        text = tokens(generate(**drafts_by(drafter), **{**LONG, **options}))
    return text, policy.told


def hints(outcomes: list[Outcome]) -> list[Hints]:
    """Before each cycle, in order."""
    shown = [outcome.cycle.hints for outcome in outcomes]
    assert all(one is not None for one in shown)
    return [one for one in shown if one is not None]


def said_by(judge: Any, text: list[int]) -> FloatArray:
    """Signals of a model at each token of the text but the first, by the tokens before it."""
    with torch.no_grad():
        said: FloatArray = (
            token_signals(judge(torch.tensor([text])).logits[0, :-1]).double().numpy()
        )
    return said


@pytest.mark.parametrize("drafter", ["assistant", "lookup", "early-exit"])
def test_how_sure_the_verifier_was_of_the_newest_token(drafter: str) -> None:
    text, outcomes = served(drafter)
    _, entropy, margin = said_by(model(), text).T
    for outcome, shown in zip(outcomes, hints(outcomes), strict=True):
        emitted = int(outcome.cycle.emitted_tokens[0])
        if emitted == 0:
            assert np.isnan(shown.verifier_entropy).all()
            continue
        newest = len(PROMPT) + emitted - 2
        assert shown.verifier_entropy[0] == pytest.approx(entropy[newest], abs=1e-4)
        assert shown.verifier_margin[0] == pytest.approx(margin[newest], abs=1e-4)


def test_how_sure_the_drafter_was_when_it_last_drafted() -> None:
    text, outcomes = served("assistant")
    sure, last = said_by(draft(), text)[:, 0], np.nan
    for outcome, shown in zip(outcomes, hints(outcomes), strict=True):
        assert shown.draft_probability[0, 0] == pytest.approx(last, abs=1e-4, nan_ok=True)
        drafted, emitted = int(outcome.num_draft_tokens[0]), int(outcome.num_emitted_tokens[0])
        if drafted:
            judged = int(outcome.cycle.emitted_tokens[0]) + min(drafted, emitted) - 1
            last = sure[len(PROMPT) + judged - 1]
    assert not np.isnan(last)


def test_what_a_lookup_matches() -> None:
    text, outcomes = served("lookup")
    for outcome, shown in zip(outcomes, hints(outcomes), strict=True):
        known = text[: len(PROMPT) + int(outcome.cycle.emitted_tokens[0])]
        sizes = [
            size
            for size in (1, 2)  # transformers' max_matching_ngram_size
            for end in range(size, len(known))
            if known[end - size : end] == known[-size:]
        ]
        expected = max(sizes, default=np.nan)
        assert shown.match_length[0, 0] == pytest.approx(expected, nan_ok=True)
        assert np.isnan(shown.draft_probability).all()


def test_processed_scores_are_no_hint() -> None:
    _, outcomes = served("assistant", do_sample=True, temperature=0.7)
    assert all(np.isnan(shown.verifier_entropy).all() for shown in hints(outcomes))
    assert any(not np.isnan(shown.draft_probability).all() for shown in hints(outcomes))


def test_the_text_stays_that_of_plain_decoding() -> None:
    assert served("assistant")[0] == tokens(generate(**LONG))
