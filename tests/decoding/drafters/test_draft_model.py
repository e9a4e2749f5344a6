from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_spec._arrays import BoolArray
from adaptive_spec.decoding import Draft, DraftModelDrafter, ModelRunner
from adaptive_spec.decoding.drafters import DraftRequest
from adaptive_spec.policy import DraftSignals
from tests.tiny_models import VOCABULARY, tiny_llama

MODEL = tiny_llama(layers=2)
tokens = st.integers(0, VOCABULARY - 1)


def drafter(slots: int = 3, **options: Any) -> DraftModelDrafter:
    runner = ModelRunner(MODEL, slots=slots, capacity_tokens=64)
    return DraftModelDrafter(runner, "tiny", **options)


def expected(text: list[int], count: int) -> list[int]:
    text, start = list(text), len(text)
    for _ in range(count):
        with torch.inference_mode():
            text.append(int(MODEL(torch.tensor([text]), use_cache=False).logits[0, -1].argmax()))
    return text[start:]


def fresh(text: list[int], tau: int) -> Draft:
    other = drafter(1)
    other.begin(0, text)
    return other.propose(DraftRequest([0], [text], np.array([tau]))).read()


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_proposals_stay_those_of_a_fresh_drafter(data: st.DataObject) -> None:
    """Full and partial acceptance, rejection, and plain stretches of any length, row by row."""
    mine = drafter()
    texts = [data.draw(st.lists(tokens, min_size=1, max_size=6)) for _ in range(3)]
    for row, text in enumerate(texts):
        mine.begin(row, text)
    for _ in range(data.draw(st.integers(1, 6))):
        rows = sorted(data.draw(st.sets(st.integers(0, 2), min_size=1)))
        tau = np.array([data.draw(st.integers(0, 5)) for _ in rows])
        draft = mine.propose(DraftRequest(rows, [texts[row] for row in rows], tau)).read()
        assert draft.num_tokens.tolist() == tau.tolist()
        assert draft.signals is None
        for row, count, proposal in zip(rows, tau.tolist(), draft.token_ids, strict=True):
            if count:
                assert proposal == fresh(texts[row], count).token_ids[0]
            accepted = data.draw(st.integers(0, count))
            more = data.draw(st.lists(tokens, min_size=1, max_size=1 if count else 30))
            texts[row] = texts[row] + proposal[:accepted] + more
        mine.runner.cache.check_integrity()
    mine.end(1)
    mine.begin(1, [4, 5])
    assert mine.propose(DraftRequest([1], [[4, 5]], np.array([4]))).read().token_ids == [
        expected([4, 5], 4)
    ]


def test_catching_up_takes_one_pass_and_no_longer_than_what_is_missing() -> None:
    mine = drafter(1)
    widths: list[int] = []
    MODEL.model.embed_tokens.register_forward_pre_hook(
        lambda _, args: widths.append(args[0].shape[1])
    )
    text = list(range(10))
    mine.begin(0, text)
    (proposal,) = mine.propose(DraftRequest([0], [text], np.array([3]))).read().token_ids
    assert widths == [9, 1, 1, 1]
    widths.clear()
    text = [*text, *proposal, 7]  # full acceptance: the last proposal and the bonus token
    mine.propose(DraftRequest([0], [text], np.array([1])))
    assert widths == [2]
    widths.clear()
    text = [*text, *range(20)]  # whatever was proposed, then twenty cycles without drafting
    mine.propose(DraftRequest([0], [text], np.array([1])))
    assert widths == [20]
    MODEL.model.embed_tokens._forward_pre_hooks.clear()


def test_signals_are_those_of_the_softmax() -> None:
    mine = drafter()
    texts = [[1, 2, 3], [9], [5, 5]]
    for row, text in enumerate(texts):
        mine.begin(row, text)
    tau = np.array([4, 0, 2])
    draft = mine.propose(DraftRequest([0, 1, 2], texts, tau, want_signals=True)).read()
    assert draft.signals is not None
    for i, (text, proposal) in enumerate(zip(texts, draft.token_ids, strict=True)):
        assert len(proposal) == tau[i]
        for depth in range(4):
            values = [s[i, depth] for s in draft.signals]
            if depth >= tau[i]:
                assert np.isnan(values).all()
                continue
            with torch.inference_mode():
                logits = MODEL(torch.tensor([[*text, *proposal[:depth]]])).logits[0, -1].double()
            p = logits.softmax(-1)
            top = logits.topk(2).values
            wanted = [p.max(), -(p * p.log()).sum(), top[0] - top[1]]
            np.testing.assert_allclose(values[:3], [float(w) for w in wanted], rtol=1e-4)
            assert np.isnan(values[3])
    assert draft.signals.entropy.shape == (3, 4)


def test_drafting_stops_where_told() -> None:
    mine = drafter()
    texts = [[1, 2, 3], [9], [5, 5]]
    for row, text in enumerate(texts):
        mine.begin(row, text)
    asked: list[tuple[int, DraftSignals]] = []
    stops = {1: [True, True, True], 2: [False, True, True], 3: [True, True, False]}

    def keep(depth: int, signals: DraftSignals) -> BoolArray:
        asked.append((depth, DraftSignals(*(array.copy() for array in signals))))
        return np.array(stops[depth])

    draft = mine.propose(DraftRequest([0, 1, 2], texts, np.array([5, 1, 4]), keep_drafting=keep))
    assert draft.num_tokens.tolist() == [2, 1, 3]
    assert [depth for depth, _ in asked] == [1, 2, 3]
    assert draft.signals is not None
    for depth, signals in asked:
        np.testing.assert_array_equal(signals.margin, draft.signals.margin[:, :depth])
    known = ~np.isnan(draft.signals.margin)
    np.testing.assert_array_equal(known, np.arange(5) < np.array([[2], [1], [3]]))
    for text, proposal in zip(texts, draft.token_ids, strict=True):
        assert proposal == expected(text, len(proposal))
    again = mine.propose(DraftRequest([0, 1, 2], texts, np.array([5, 1, 4]))).read()
    assert again.token_ids == [expected(text, n) for text, n in zip(texts, (5, 1, 4), strict=True)]


def test_tokens_beyond_the_shared_vocabulary_are_not_proposed() -> None:
    text = [1, 2, 3]
    best = expected(text, 1)[0]
    mine = drafter(vocab_size=best)
    mine.begin(0, text)
    (proposal,) = mine.propose(DraftRequest([0], [text], np.array([3]))).read().token_ids
    assert max(proposal) < best


@pytest.mark.parametrize("tau", [[0, 0], [0, 2]])
def test_rows_that_do_not_draft_are_left_alone(tau: list[int]) -> None:
    mine = drafter(2)
    mine.begin(0, [1, 2, 3])
    mine.begin(1, [4])
    draft = mine.propose(DraftRequest([0, 1], [[1, 2, 3, 4], [4]], np.array(tau)))
    assert draft.num_tokens.tolist() == tau
    assert mine.runner.length(0) == 2


def test_ending_a_row_twice_is_harmless() -> None:
    mine = drafter(1)
    mine.end(0)
    mine.begin(0, [1, 2])
    mine.end(0)
    mine.end(0)
    assert mine.runner.length(0) == 0
