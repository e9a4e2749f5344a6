"""Requests of several kinds: long prompts that are read in pieces, repeated ones, short ones."""

from typing import Any

from adaptive_spec.prompts import demo_prompts

_TURN = "<|im_start|>{}\n{}<|im_end|>\n"


def in_template(text: str) -> str:
    """A user's message as the built-in verifier is given it."""
    return _TURN.format("user", text) + "<|im_start|>assistant\n"


def mixed(max_tokens: int) -> list[dict[str, Any]]:
    """Twelve requests: eight prompts, one of them twice more, three with something of their own."""
    texts = [prompt.prompt for prompt in demo_prompts()]
    requests: list[dict[str, Any]] = [
        {"prompt": in_template(text), "sampling": {"max_tokens": max_tokens}}
        for text in (*texts, texts[0], texts[0])
    ]
    requests.append(
        {
            "prompt": in_template("Name a year."),
            "sampling": {"max_tokens": max_tokens, "regex": "In [0-9]{4} and in [0-9]{4}"},
        }
    )
    requests.append(
        {
            "prompt": in_template("Count from one to ten, in words."),
            "sampling": {"max_tokens": max_tokens, "stop": ["five"]},
        }
    )
    return requests


def wishing(requests: list[dict[str, Any]], index: int, **wishes: Any) -> list[dict[str, Any]]:
    """The same requests, one of which wishes for something."""
    changed = [*requests]
    request = requests[index]
    sampling = {**request["sampling"], "extra_args": {"adaptive_spec": wishes}}
    changed[index] = {**request, "sampling": sampling}
    return changed
