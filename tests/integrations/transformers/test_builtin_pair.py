"""The adapter on the built-in models: their text, by transformers, whatever the policy does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from adaptive_spec.integrations.transformers import adaptive, adaptive_generate
from tests.decoding.scripted import Scripted
from tests.integrations.vllm.pair import whole_head_draft

PROMPT = "List three words that rhyme with light, then list the three words again."
NEW_TOKENS = 12


@pytest.fixture(scope="module")
def builtin(weights: Path) -> tuple[Any, Any, Any]:
    """The verifier, its draft, and a prompt."""
    model = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(weights)
    messages = [{"role": "user", "content": PROMPT}]
    inputs = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    return model, whole_head_draft(model), inputs


def test_greedy_text_is_that_of_plain_decoding(builtin: tuple[Any, Any, Any]) -> None:
    model, draft, inputs = builtin
    options = {**inputs, "max_new_tokens": NEW_TOKENS, "do_sample": False}
    plain = model.generate(**options)
    with adaptive(model, "auto") as run:
        assert torch.equal(model.generate(**options, prompt_lookup_num_tokens=4), plain)
    assert run.statistics.accepted > 0
    with adaptive(model, Scripted()) as run:
        assert torch.equal(model.generate(**options, assistant_model=draft), plain)
    assert run.statistics.accepted > 0
    assert run.statistics.requests == 1


def test_sampled_text_is_transformers_own_at_a_constant_tau(
    builtin: tuple[Any, Any, Any],
) -> None:
    model, draft, inputs = builtin
    settings = draft.generation_config
    settings.num_assistant_tokens, settings.num_assistant_tokens_schedule = 3, "constant"
    settings.assistant_confidence_threshold = 0
    options = {**inputs, "max_new_tokens": NEW_TOKENS, "do_sample": True, "temperature": 0.7}
    torch.manual_seed(1)
    own = model.generate(**options, assistant_model=draft)
    given = adaptive_generate("fixed:tau=3", assistant_model=draft)
    torch.manual_seed(1)
    assert torch.equal(model.generate(**options, custom_generate=given), own)
    assert given.run.statistics.drafted > 0
