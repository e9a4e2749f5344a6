"""A tiny pair of models, and calls of ``generate`` with it."""

import copy
import functools
from typing import Any

import torch

from tests.tiny_models import perturbed, tiny_llama

PROMPT = (1, 2, 3, 4, 5, 1, 2, 3)
NEW_TOKENS = 16
DRAFTERS = ("assistant", "lookup", "early-exit")


@functools.cache
def model() -> Any:
    return tiny_llama(0)


@functools.cache
def draft() -> Any:
    return perturbed(tiny_llama(0))  # of its own: the model may be hooked or driven at the time


def own_draft(tau: int) -> Any:
    """The draft model as transformers drafts a constant number of tokens with it."""
    assistant = copy.copy(draft())
    settings = copy.deepcopy(assistant.generation_config)
    settings.num_assistant_tokens = tau
    settings.num_assistant_tokens_schedule = "constant"
    settings.assistant_confidence_threshold = 0
    assistant.generation_config = settings
    return assistant


def drafts_by(drafter: str) -> dict[str, Any]:
    """What a call of ``generate`` says of its drafter."""
    return {
        "assistant": {"assistant_model": draft()},
        "lookup": {"prompt_lookup_num_tokens": 4},
        "early-exit": {"assistant_early_exit": 2},
    }[drafter]


def generate(*, prompt: Any = PROMPT, verifier: Any = None, seed: int = 0, **options: Any) -> Any:
    """What ``generate`` returns; greedy unless told otherwise."""
    ids = torch.tensor([list(prompt)])
    torch.manual_seed(seed)
    return (verifier or model()).generate(
        ids,
        **{
            "attention_mask": torch.ones_like(ids),
            "max_new_tokens": NEW_TOKENS,
            "pad_token_id": 0,
            "do_sample": False,
            **options,
        },
    )


def tokens(output: Any) -> list[int]:
    found: list[int] = output[0].tolist()
    return found
