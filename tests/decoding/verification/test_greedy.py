from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import NoRepeatNGramLogitsProcessor

from adaptive_spec import ConfigError, NumericsError
from adaptive_spec.decoding.draft import Draft
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.verification import GREEDY, Block, GreedyMatch, Verdict, greedy_tokens
from tests.decoding.scripted import DRAFTERS, Scripted, engine, generate, requests
from tests.tiny_models import tiny_llama

tokens = st.integers(0, 3)


def one_hot(own: list[list[int]]) -> torch.Tensor:
    """Logits whose argmax is ``own``, ``[B, width]``."""
    return torch.nn.functional.one_hot(torch.tensor(own), 4).float()


def judged(logits: torch.Tensor, drafts: list[list[int]], **options: Any) -> Verdict:
    seeds = np.zeros(len(drafts), np.uint64)
    return GREEDY.verify(logits, Block([[0]] * len(drafts), Draft(drafts), seeds, **options))


@given(st.data())
def test_accepts_what_the_verifier_would_have_written(data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 5))
    batch = data.draw(st.integers(1, 4))
    row = st.lists(tokens, min_size=width, max_size=width)
    own = data.draw(st.lists(row, min_size=batch, max_size=batch))
    drafts = [data.draw(st.lists(tokens, max_size=width - 1)) for _ in range(batch)]
    verdict = judged(one_hot(own), drafts)
    for choice, draft, count, emitted in zip(
        own, drafts, verdict.num_accepted_tokens, verdict.token_ids, strict=True
    ):
        expected = 0
        while expected < len(draft) and draft[expected] == choice[expected]:
            expected += 1
        assert count == expected
        assert emitted == [*draft[:expected], choice[expected]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_numbers_are_refused_where_they_count(bad: float) -> None:
    logits = one_hot([[1, 2, 3], [1, 2, 3]])
    logits[0, 2, 1] = bad
    with pytest.raises(NumericsError, match="not finite"):
        judged(logits, [[1, 2], []])
    verdict = judged(logits, [[1], [0]])  # row 0's third logits follow padding
    np.testing.assert_array_equal(verdict.num_accepted_tokens, [1, 0])


@given(st.data())
def test_certainty_is_of_the_place_behind_what_is_accepted(data: st.DataObject) -> None:
    width, batch = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    row = st.lists(tokens, min_size=width, max_size=width)
    own = data.draw(st.lists(row, min_size=batch, max_size=batch))
    drafts = [data.draw(st.lists(tokens, max_size=width - 1)) for _ in range(batch)]
    sharpness = torch.arange(1.0, batch * width + 1).view(batch, width, 1)
    verdict = judged(one_hot(own) * sharpness, drafts, wants_certainty=True)
    plain = judged(one_hot(own), drafts)
    assert plain.certainty is None
    assert verdict.token_ids == plain.token_ids
    assert verdict.certainty is not None
    margin = sharpness[np.arange(batch), plain.num_accepted_tokens, 0].numpy()
    np.testing.assert_allclose(verdict.certainty.margin, margin, rtol=1e-6)
    p = np.exp(margin) / (np.exp(margin) + 3)
    entropy = -p * np.log(p) - (1 - p) * np.log((1 - p) / 3)
    np.testing.assert_allclose(verdict.certainty.entropy, entropy, rtol=1e-3)


def test_masked_logits_are_allowed() -> None:
    logits = one_hot([[1, 2]])
    logits[0, :, 0] = -float("inf")
    assert greedy_tokens(logits).tolist() == [[1, 2]]
    assert greedy_tokens(torch.full((1, 4), -float("inf"))).tolist() == [-1]


@pytest.mark.parametrize(
    "given", [{"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.1}]
)
def test_parameters_without_effect_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"{next(iter(given))}=.*would change nothing"):
        GreedyMatch(SamplingParameters(**given))


@pytest.mark.parametrize("drafter", DRAFTERS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"repetition_penalty": 1.3}, {"repetition_penalty": 1.3}),
        ({"processors": (NoRepeatNGramLogitsProcessor(2),)}, {"no_repeat_ngram_size": 2}),
    ],
)
def test_processors_that_read_the_text_equal_generate(
    drafter: str, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    model, wanted = tiny_llama(), requests(4)
    rule = GreedyMatch(SamplingParameters(**ours))
    for policy in (Scripted(tau=4), Scripted()):
        completions = engine(model, drafter, policy, 3, rule=rule).complete(wanted)
        for request, completion in zip(wanted, completions, strict=True):
            expected = generate(model, request.prompt_ids, request.max_new_tokens, **theirs)
            assert list(completion.token_ids) == expected
        if drafter != "lookup":  # what it proposes is what is penalised
            assert sum(c.num_accepted_tokens for c in completions) > 0
