from typing import Any

import pytest
import torch
from torch import nn
from transformers import GraniteConfig, GraniteForCausalLM

from adaptive_spec.decoding.forward import (
    LlamaForward,
    TransformersForward,
    choose_forward,
)
from tests.tiny_models import (
    VOCABULARY,
    tiny_gpt2,
    tiny_llama,
    tiny_mistral,
    tiny_qwen2,
    tiny_qwen3,
)


@pytest.mark.parametrize("build", [tiny_llama, tiny_mistral, tiny_qwen2, tiny_qwen3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_models_built_like_llama_run_lean(build: Any, dtype: torch.dtype) -> None:
    assert isinstance(choose_forward(build().to(dtype)), LlamaForward)


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    ],
    ids=lambda rope: str(rope["rope_type"]),
)
def test_kinds_of_rotary_positions(rope: dict[str, Any]) -> None:
    model = tiny_llama(rope_parameters={**rope, "rope_theta": 1e4})
    assert isinstance(choose_forward(model), LlamaForward)


def eager() -> Any:
    model = tiny_llama()
    model.set_attn_implementation("eager")
    return model


def hooked() -> Any:
    model = tiny_llama()
    model.model.layers[1].mlp.register_forward_hook(lambda *_: None)
    return model


def patched() -> Any:
    model = tiny_llama()
    attention = model.model.layers[0].self_attn
    attention.forward = attention.forward
    return model


def extended() -> Any:
    model = tiny_llama()
    model.model.layers[2].mlp.gate = nn.Linear(32, 1)
    return model


def other_norm() -> Any:
    model = tiny_llama()
    model.model.norm = nn.LayerNorm(32)
    return model


def scaled_residuals() -> Any:
    """The same modules as a Llama's, put together otherwise."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = GraniteConfig(
        vocab_size=VOCABULARY, num_attention_heads=4, residual_multiplier=0.5, **sizes
    )
    return GraniteForCausalLM(config).eval()


@pytest.mark.parametrize(
    "build", [tiny_gpt2, eager, hooked, patched, extended, other_norm, scaled_residuals]
)
def test_other_models_run_through_transformers(build: Any) -> None:
    assert isinstance(choose_forward(build()), TransformersForward)


def test_same_modules_put_together_otherwise_are_told_by_their_logits() -> None:
    assert LlamaForward.fits(scaled_residuals())


def test_adapters_within_linear_layers_keep_working() -> None:
    class Adapted(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.inner(states) + 0.5 * states.mean(-1, keepdim=True)
            return found

    model = tiny_llama()
    attention = model.model.layers[0].self_attn
    attention.q_proj = Adapted(attention.q_proj)
    assert isinstance(choose_forward(model), LlamaForward)
