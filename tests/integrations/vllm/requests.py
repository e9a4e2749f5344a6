"""Requests of several kinds: long prompts that are read in pieces, repeated ones, short ones."""

from typing import Any

import numpy as np

from adaptive_spec.prompts import demo_prompts
from tests.integrations.vllm.tiny import VOCABULARY


def of_tokens(max_tokens: int, count: int = 12) -> list[dict[str, Any]]:
    """For the tiny pair; every fourth prompt is the first one again."""
    rng = np.random.default_rng(0)
    lengths = [150, 4, 20, 90]
    prompts = [rng.integers(VOCABULARY, size=lengths[i % 4]).tolist() for i in range(count)]
    return [
        {
            "prompt": {"prompt_token_ids": prompts[0 if i % 4 == 3 else i]},
            "sampling": {"max_tokens": max_tokens, "detokenize": False},
        }
        for i in range(count)
    ]


def in_template(text: str) -> str:
    """A user's message as the built-in verifier is given it."""
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


def of_texts(max_tokens: int) -> list[dict[str, Any]]:
    """For the built-in pair; some end by a word, or have to obey a grammar."""
    texts = [prompt.prompt for prompt in demo_prompts()][:3]
    requests: list[dict[str, Any]] = [
        {"prompt": in_template(text), "sampling": {"max_tokens": max_tokens}} for text in texts
    ]
    grammar = {"regex": "In [0-9]{4} and in [0-9]{4}", "max_tokens": max_tokens}
    requests.append({"prompt": in_template("Name a year."), "sampling": grammar})
    stopped = {"stop": ["five"], "max_tokens": max_tokens}
    requests.append({"prompt": in_template("Count to ten, in words."), "sampling": stopped})
    return requests


def wishing(requests: list[dict[str, Any]], index: int, **wishes: Any) -> list[dict[str, Any]]:
    """The same requests, one of which wishes for something."""
    changed = [*requests]
    request = requests[index]
    sampling = {**request["sampling"], "extra_args": {"adaptive_spec": wishes}}
    changed[index] = {**request, "sampling": sampling}
    return changed
