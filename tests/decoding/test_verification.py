import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import NumericsError
from adaptive_spec.decoding import explain_divergence
from adaptive_spec.decoding.verification import greedy_match, greedy_tokens
from tests.decoding.scripted import generate
from tests.tiny_models import tiny_llama

tokens = st.integers(0, 3)


def one_hot(own: list[list[int]]) -> torch.Tensor:
    """Logits whose argmax is ``own``, ``[B, width]``."""
    return torch.nn.functional.one_hot(torch.tensor(own), 4).float()


@given(st.data())
def test_accepts_what_the_verifier_would_have_written(data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 5))
    batch = data.draw(st.integers(1, 4))
    row = st.lists(tokens, min_size=width, max_size=width)
    own = data.draw(st.lists(row, min_size=batch, max_size=batch))
    drafts = [data.draw(st.lists(tokens, max_size=width - 1)) for _ in range(batch)]
    verdict = greedy_match(one_hot(own), drafts)
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
        greedy_match(logits, [[1, 2], []])
    verdict = greedy_match(logits, [[1], [0]])  # row 0's third logits follow padding
    np.testing.assert_array_equal(verdict.num_accepted_tokens, [1, 0])


def test_masked_logits_are_allowed() -> None:
    logits = one_hot([[1, 2]])
    logits[0, :, 0] = -float("inf")
    assert greedy_tokens(logits).tolist() == [[1, 2]]
    assert greedy_tokens(torch.full((1, 4), -float("inf"))).tolist() == [-1]


def test_divergence_tells_ties_from_errors() -> None:
    model = tiny_llama()
    plain = generate(model, [5, 6], 8)
    assert explain_divergence(model, [5, 6], plain, list(plain)) is None
    with torch.inference_mode():
        logits = model(torch.tensor([[5, 6, *plain[:3]]])).logits[0, -1]
    second = int(logits.topk(2).indices[1])
    margin = float(logits.max() - logits[second])
    other = [*plain[:3], second, *plain[4:]]
    found = explain_divergence(model, [5, 6], plain, other)
    assert found is not None
    assert (found.position, found.plain_id, found.other_id) == (3, plain[3], second)
    assert found.margin == pytest.approx(margin, rel=1e-5)
    assert not found.is_tie
    swapped = explain_divergence(model, [5, 6], other, plain, tolerance=margin * 1.01)
    assert swapped is not None
    assert swapped.is_tie


def test_output_that_ends_early_is_no_tie() -> None:
    found = explain_divergence(tiny_llama(), [5], [1, 2, 3], [1, 2])
    assert found is not None
    assert (found.position, found.plain_id, found.other_id) == (2, 3, None)
    assert not found.is_tie


def test_tie_between_two_that_are_not_the_largest_is_an_error() -> None:
    model = tiny_llama()
    with torch.no_grad():
        model.lm_head.weight[1] = model.lm_head.weight[0]
    with torch.inference_mode():
        best = int(model(torch.tensor([[5]])).logits[0, -1].argmax())
    assert best > 1
    found = explain_divergence(model, [5], [0], [1])
    assert found is not None
    assert not found.is_tie
