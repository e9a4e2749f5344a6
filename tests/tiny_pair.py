"""A tiny model pair on disk, with a real tokenizer: what loads models runs in seconds."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tiny_models import byte_level_tokenizer, perturbed, tiny_llama

CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)

PROMPTS = (
    {"id": "a", "prompt": "the story: stop, the end. the story", "category": "story"},
    {"id": "b", "prompt": "don't stop the stop", "category": "story"},
    {"id": "c", "prompt": "abcabcabcabc", "category": "letters"},
    {"id": "d", "prompt": "What is the end of the story?", "category": "question"},
)


@dataclass(frozen=True)
class TinyPair:
    """Folders with weights and tokenizer, and a file of prompts.

    Attributes:
      verifier: 2 layers; ``drafter``: agrees with it mostly; ``stranger``: another vocabulary.
      bare: the verifier without any tokenizer.
      prompts: JSON Lines, four prompts in three categories.
    """

    verifier: Path
    drafter: Path
    stranger: Path
    bare: Path
    prompts: Path


def save_tiny_pair(folder: Path) -> TinyPair:
    """Writes the pair into an empty folder."""
    pair = TinyPair(
        folder / "verifier",
        folder / "drafter",
        folder / "stranger",
        folder / "bare",
        folder / "prompts.jsonl",
    )
    tokenizer: Any = byte_level_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE
    sizes = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    model = tiny_llama(7, layers=2, context=4096, **sizes)
    for path, saved in ((pair.verifier, model), (pair.drafter, perturbed(model, 0.02))):
        saved.save_pretrained(path)
        tokenizer.save_pretrained(path)
    model.save_pretrained(pair.bare)
    other: Any = byte_level_tokenizer()
    other.add_tokens(["another token"])
    tiny_llama(3, layers=1, vocab_size=len(other)).save_pretrained(pair.stranger)
    other.save_pretrained(pair.stranger)
    write_prompts(pair.prompts, PROMPTS)
    return pair


def write_prompts(path: Path, prompts: Any) -> Path:
    """Writes prompts as JSON Lines."""
    path.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts), encoding="utf-8")
    return path
