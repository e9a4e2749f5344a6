"""Confidence: one temperature puts it right, and changes no choice."""

from typing import Any

import pytest
import torch

from adaptive_spec.decoding.trimmed_draft import own_weights
from adaptive_spec.distillation.calibration import calibrate
from adaptive_spec.distillation.distill import initial_draft
from adaptive_spec.distillation.evaluation import agreement
from adaptive_spec.distillation.texts import Text
from tests.tiny_models import VOCABULARY


@pytest.mark.parametrize("sharper", [0.85, 1.4])
def test_what_was_sharpened_is_put_right_again(
    verifier: Any, texts: list[Text], sharper: float
) -> None:
    layers, vocabulary = [0, 1], list(range(VOCABULARY))
    plain = initial_draft(verifier, layers, vocabulary)
    best = calibrate(plain, texts)
    other = initial_draft(verifier, layers, vocabulary)
    with torch.no_grad():
        own_weights(other)["model.norm.weight"].mul_(sharper)
    assert calibrate(other, texts) == pytest.approx(best * sharper, rel=0.03)
    weights = [own_weights(draft)["model.norm.weight"] for draft in (plain, other)]
    torch.testing.assert_close(*weights, rtol=0.03, atol=0.0)
    assert agreement(other, texts).top1 == agreement(plain, texts).top1


def test_layers_and_answers_that_were_sampled_count_for_nothing(
    verifier: Any, texts: list[Text]
) -> None:
    draft, same = (initial_draft(verifier, [0], list(range(VOCABULARY))) for _ in range(2))
    sampled = [Text(text.token_ids[::-1].copy(), text.answer_start, False) for text in texts]
    assert calibrate(draft, [*texts, *sampled]) == calibrate(same, texts)
    untouched = initial_draft(verifier, [0], list(range(VOCABULARY)))
    for name, value in own_weights(untouched).items():
        if "layers" in name:
            assert torch.equal(own_weights(draft)[name], value)
