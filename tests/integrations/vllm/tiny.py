"""A tiny verifier with random weights, and a draft that is much like it, as vLLM can load them."""

import copy
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.tiny_models import perturbed

VOCABULARY = 128


def save_tiny_pair(folder: Path) -> tuple[Path, Path]:
    """Folders of the verifier and of its draft, whose tokens are the words w0, w1, ..."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,  # the least that vLLM's attention on CPUs takes
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    verifier = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for weight in verifier.parameters():
            weight.mul_(4.0 if weight.dim() > 1 else 1.0)  # so that it does not repeat one token
    words = Tokenizer(WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
    models: dict[str, Any] = {"verifier": verifier, "draft": perturbed(copy.deepcopy(verifier))}
    for name, model in models.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder / "verifier", folder / "draft"
