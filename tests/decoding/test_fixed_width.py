"""In bfloat16, too, one width for all passes gives plain decoding's text, token for token."""

from typing import Any

import pytest
import torch

from adaptive_spec.decoding import DecodingEngine, ModelRunner
from adaptive_spec.decoding.forward import StaticShapes, has_float32_head, with_float32_head
from adaptive_spec.decoding.models import Verifier
from tests.decoding.scripted import DRAFTERS, Scripted, controller, make_drafter, requests
from tests.tiny_models import tiny_gpt2, tiny_llama

WIDTH = 9  # of the scripted policy's longest draft, 8 tokens, and the token before it
WANTED = requests(5, new_tokens=30)
LONGEST = max(len(r.prompt_ids) + r.max_new_tokens for r in WANTED)


def texts(model: Any, drafter: str | None, shapes: StaticShapes | None) -> list[tuple[int, ...]]:
    """Decodes plainly without a drafter, else with drafts of all lengths."""
    verifier = Verifier("tiny", model, None, (), shapes)
    engine = DecodingEngine(
        verifier.runner(1, LONGEST),
        None if drafter is None else make_drafter(drafter, model, 1),
        controller(Scripted(0 if drafter is None else -1)),
    )
    done = [completion.token_ids for completion in engine.complete(WANTED)]
    if shapes is not None:
        assert engine.verifier.cache.generation == 0  # of its final size from the first
    return done


@pytest.mark.parametrize("float32_logits", [False, True])
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_texts_are_those_of_plain_decoding_at_the_same_width(
    drafter: str, float32_logits: bool
) -> None:
    model = tiny_llama().to(torch.bfloat16)
    if float32_logits:
        with_float32_head(model)
    shapes = StaticShapes.fixed(WIDTH)
    assert texts(model, drafter, shapes) == texts(model, None, shapes)


@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2])
def test_a_float32_head_tells_logits_apart(build: Any) -> None:
    model = build().to(torch.bfloat16)
    text = [3, 1, 4, 1, 5]
    plain = ModelRunner(model).append([0], [text])
    states = model.base_model(input_ids=torch.tensor([text])).last_hidden_state
    weight = model.get_output_embeddings().weight
    expected = states.float() @ weight.float().T
    assert with_float32_head(model) is model
    assert has_float32_head(model)
    ModelRunner.check(model)
    found = ModelRunner(model).append([0], [text])
    assert (plain.dtype, found.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(found, expected[None].detach(), atol=2e-2, rtol=2e-2)
    assert not torch.equal(found, found.bfloat16().float())  # more than bfloat16 can say
    assert model.dtype == torch.bfloat16


def test_a_float32_model_keeps_its_head() -> None:
    model = tiny_llama()
    head = model.lm_head
    assert with_float32_head(model).lm_head is head
    assert not has_float32_head(model)
