"""The built-in pair as vLLM can load it: two folders with safetensors.

The verifier is converted once into the user's cache anyway. The draft comes with a head that is cut
down to the tokens used most, which no serving stack loads: here its layers get the whole head back.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from adaptive_spec.decoding.builtin import BUILTIN, builtin_model_dir, cache_dir, draft_dir
from adaptive_spec.decoding.trimmed_draft import load_draft, own_weights

_DRAFT_FOLDER = "smollm2-135m-draft-whole-head-v1"


def verifier_folder() -> Path:
    """Folder of the verifier, with its tokenizer."""
    return builtin_model_dir()


def draft_folder() -> Path:
    """Folder of the draft: the built-in one's layers, and all of the verifier's head."""
    target = cache_dir() / _DRAFT_FOLDER
    if not (target / "model.safetensors").is_file():
        verifier = AutoModelForCausalLM.from_pretrained(verifier_folder(), dtype=torch.float32)
        whole_head_draft(verifier).save_pretrained(target)
        AutoTokenizer.from_pretrained(verifier_folder()).save_pretrained(target)
    return target


def whole_head_draft(verifier: Any) -> Any:
    """The built-in draft as a model like any other; it shares the verifier's embedding."""
    trimmed = load_draft(draft_dir(BUILTIN), verifier)
    config = trimmed.model.config
    config.vocab_size = verifier.config.vocab_size
    config.tie_word_embeddings = True
    whole: Any = type(verifier)(config).float()
    whole.set_input_embeddings(verifier.get_input_embeddings())
    whole.tie_weights()
    whole.load_state_dict(own_weights(trimmed), strict=False)
    return whole.eval()
