"""Tiny models with random weights: a second of decoding with them shows what a real pair does."""

import copy
from typing import Any

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 61


def tiny_llama(seed: int = 0, *, layers: int = 3, context: int = 256, **options: Any) -> Any:
    """A Llama of hidden size 32 with grouped key/value heads."""
    config = LlamaConfig(**{**_sizes(layers, context), "num_key_value_heads": 2, **options})
    return _initialised(LlamaForCausalLM(config), seed)


def tiny_qwen2(seed: int = 0, *, layers: int = 3, context: int = 256) -> Any:
    """A Qwen2, with biases in its projections."""
    config = Qwen2Config(**_sizes(layers, context), num_key_value_heads=2)
    return _initialised(Qwen2ForCausalLM(config), seed)


def tiny_qwen3(seed: int = 0, *, layers: int = 3, context: int = 256) -> Any:
    """A Qwen3: heads wider than its hidden size asks for, with norms of their own."""
    config = Qwen3Config(**_sizes(layers, context), num_key_value_heads=2, head_dim=12)
    return _initialised(Qwen3ForCausalLM(config), seed)


def tiny_mistral(seed: int = 0, *, context: int = 256, sliding_window: int | None = None) -> Any:
    """A Mistral."""
    config = MistralConfig(
        **_sizes(3, context), num_key_value_heads=2, sliding_window=sliding_window
    )
    return _initialised(MistralForCausalLM(config), seed)


def tiny_gpt2(seed: int = 0, *, layers: int = 3, context: int = 128) -> Any:
    """A GPT-2: learned positions, whose table ends at the context."""
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=layers,
        n_head=4,
        n_positions=context,
        bos_token_id=None,
        eos_token_id=None,
    )
    return _initialised(GPT2LMHeadModel(config), seed)


def perturbed(model: Any, scale: float = 0.04, seed: int = 1) -> Any:
    """A copy whose weights are off by some noise: it agrees with the model most of the time."""
    twin = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in twin.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.add_(noise * weight.std(correction=0) * scale)
    return twin


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer as Llama 3, Qwen and SmolLM have; characters may span tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the stop of the story: stop, the end. don't stop"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")


def _sizes(layers: int, context: int) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": context,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def _initialised(model: Any, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # The default of 0.02 would leave all logits nearly equal, and biases at zero.
            if weight.ndim > 1 or name.endswith("bias"):
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.25)
    return model.eval()
