from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConfigError, ConstantCosts, Controller, DrafterSpecError, make_policy
from adaptive_spec.decoding import (
    ComposedDrafter,
    DecodingEngine,
    DraftModelDrafter,
    ModelRunner,
    PromptLookupDrafter,
    early_exit_drafter,
)
from adaptive_spec.decoding.drafters import DraftRequest
from tests.tiny_models import perturbed, tiny_llama

REPEATING = [1, 2, 3, 4, 1, 2, 3]
NEW = [9, 8, 7, 6]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_llama(layers=2)


def pair(model: Any, slots: int = 2, context: int = 256) -> ComposedDrafter:
    twin = perturbed(model)
    twin.config.max_position_embeddings = context
    draft = DraftModelDrafter(ModelRunner(twin, slots=slots), "small")
    return ComposedDrafter([PromptLookupDrafter(), draft])


def test_what_a_composition_says_of_itself(model: Any) -> None:
    drafter = pair(model)
    assert drafter.spec == "lookup:max_ngram=7,min_ngram=1+small"
    assert drafter.names == ("lookup", "small")
    assert drafter.context_limit is None  # the lookup's
    assert drafter.signals == ("match_length", "top1_probability", "entropy", "margin")
    early = early_exit_drafter(model, 1, slots=1)
    models = ComposedDrafter([pair(model, context=30).components[1], early])
    assert models.context_limit == 256


def test_two_of_a_kind_are_called_by_their_whole_specs() -> None:
    long, short = PromptLookupDrafter(7, 4), PromptLookupDrafter(3, 1)
    assert ComposedDrafter([long, short]).names == (long.spec, short.spec)


def test_each_row_is_drafted_for_by_the_first_that_proposes(model: Any) -> None:
    drafter, texts = pair(model), [REPEATING, NEW]
    for row, text in enumerate(texts):
        drafter.begin(row, text)
    assert drafter.available([0, 1], texts).tolist() == [[True, True], [False, True]]
    np.testing.assert_equal(drafter.match_length([0, 1], texts), [[3, np.nan], [np.nan, np.nan]])
    draft = drafter.propose(DraftRequest([0, 1], texts, np.array([3, 2]), want_signals=True)).read()
    alone = (
        drafter.components[1]
        .propose(DraftRequest([1], [NEW], np.array([2]), want_signals=True))
        .read()
    )
    assert draft.token_ids == [[4, 1, 2], alone.token_ids[0]]
    assert draft.signals is not None
    assert alone.signals is not None
    assert draft.signals.match_length[0].tolist() == [3, 3, 3]
    assert np.isnan(draft.signals.match_length[1]).all()
    np.testing.assert_allclose(draft.signals.margin[1, :2], alone.signals.margin[0], rtol=1e-5)
    assert np.isnan(draft.signals.margin[0]).all()


def test_a_drafter_that_was_passed_over_catches_up(model: Any) -> None:
    drafter = pair(model)
    drafter.begin(0, REPEATING)
    text = list(REPEATING)
    for token in (4, 1, 5, 5):
        drafter.propose_by(np.array([0]), DraftRequest([0], [text], np.array([2])))
        text.append(token)
    late = drafter.propose_by(np.array([1]), DraftRequest([0], [text], np.array([4]))).token_ids
    fresh = pair(model)
    fresh.begin(1, text)
    assert (
        late == fresh.propose_by(np.array([1]), DraftRequest([1], [text], np.array([4]))).token_ids
    )


def test_a_drafter_drafts_no_further_than_its_context(model: Any) -> None:
    drafter = pair(model, context=6)
    drafter.begin(0, NEW)
    assert drafter.available([0], [NEW]).tolist() == [[False, True]]
    assert drafter.propose(DraftRequest([0], [NEW], np.array([5]))).num_tokens.tolist() == [2]
    drafter.begin(1, REPEATING)  # longer than the draft model's context
    assert drafter.available([1], [REPEATING]).tolist() == [[True, False]]
    assert drafter.propose(DraftRequest([1], [REPEATING], np.array([5]))).num_tokens.tolist() == [5]
    drafter.end(1)


def test_the_policy_is_asked_about_all_rows_and_sees_the_drafter_s_own(model: Any) -> None:
    drafter, texts = pair(model), [REPEATING, NEW]
    for row, text in enumerate(texts):
        drafter.begin(row, text)
    seen: list[tuple[int, list[bool], list[bool]]] = []

    def keep(depth: int, signals: Any) -> Any:
        match, margin = signals.match_length[:, -1], signals.margin[:, -1]
        seen.append((depth, np.isfinite(match).tolist(), np.isfinite(margin).tolist()))
        return np.array([depth < 2, True])

    draft = drafter.propose(DraftRequest([0, 1], texts, np.array([4, 3]), keep_drafting=keep))
    assert draft.num_tokens.tolist() == [2, 3]
    lookup, small = [True, False], [False, True]
    none = [False, False]
    assert seen == [(1, lookup, none), (2, lookup, none), (1, none, small), (2, none, small)]


def test_what_cannot_be_composed(model: Any) -> None:
    lookup = PromptLookupDrafter()
    for parts in ([], [lookup], [lookup, PromptLookupDrafter()]):
        with pytest.raises(DrafterSpecError, match="compose 2 to 8 drafters"):
            ComposedDrafter(parts)
    with pytest.raises(DrafterSpecError, match="cannot be composed themselves"):
        ComposedDrafter([pair(model), PromptLookupDrafter(3)])


def test_the_controller_must_know_the_drafters(model: Any) -> None:
    composed = pair(model)
    for names in (("drafter",), tuple(reversed(composed.names)), ("a", "b")):
        controller = Controller(make_policy("fixed"), costs=ConstantCosts(), drafters=names)
        with pytest.raises(ConfigError, match="was made for the drafters"):
            DecodingEngine(ModelRunner(model), composed, controller)


def test_a_lone_drafter_is_named_by_the_engine(model: Any) -> None:
    controller = Controller(make_policy("fixed"), costs=ConstantCosts())
    DecodingEngine(ModelRunner(model), PromptLookupDrafter(), controller)
    assert controller.drafters == ("lookup",)
