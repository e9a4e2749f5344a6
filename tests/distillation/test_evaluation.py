"""Agreement of a draft with the verifier on texts kept aside."""

from typing import Any

import numpy as np
import pytest

from adaptive_spec.distillation.distill import initial_draft
from adaptive_spec.distillation.evaluation import agreement
from adaptive_spec.distillation.texts import Text
from tests.tiny_models import VOCABULARY


def test_the_verifier_agrees_with_itself(verifier: Any, texts: list[Text]) -> None:
    draft = initial_draft(verifier, [0, 1, 2], list(range(VOCABULARY)))
    found = agreement(draft, texts)
    assert found.top1 == 1.0
    assert found.by_depth == (1.0, 1.0, 1.0, 1.0)
    assert found.num_tokens == sum(text.token_ids.size - text.answer_start for text in texts)


def test_tokens_outside_its_part_of_the_vocabulary_are_never_hit(
    verifier: Any, texts: list[Text]
) -> None:
    answers = np.concatenate([text.token_ids[text.answer_start :] for text in texts])
    most = int(np.bincount(answers).argmax())
    kept = [token for token in range(VOCABULARY) if token != most]
    draft = initial_draft(verifier, [0, 1, 2], kept)
    assert agreement(draft, texts).top1 == pytest.approx(float((answers != most).mean()))


def test_sampled_answers_are_left_out(verifier: Any, texts: list[Text]) -> None:
    draft = initial_draft(verifier, [0, 1], list(range(VOCABULARY)))
    sampled = [Text(text.token_ids[::-1].copy(), text.answer_start, False) for text in texts]
    assert agreement(draft, [*texts, *sampled]) == agreement(draft, texts)


def test_bins_hold_all_tokens(verifier: Any, texts: list[Text]) -> None:
    found = agreement(initial_draft(verifier, [0], list(range(VOCABULARY))), texts)
    assert sum(count for _, count, _ in found.calibration) == found.num_tokens
