"""Prompts: read from JSON Lines, and the few that the package ships."""

import importlib.resources
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from adaptive_spec._jsonl import read_objects, text_field
from adaptive_spec.errors import PromptError


@dataclass(frozen=True)
class Prompt:
    """One request.

    Attributes:
      id: unique in its file; ``prompt``: the user's text, not blank; ``category``: free label.
      answer_to_read: one that is there already, for a draft to learn from; usually none.
    """

    id: str
    prompt: str
    category: str = ""
    answer_to_read: str = ""


def read_prompts(
    path: str | Path, limit: int | None = None, categories: Collection[str] | None = None
) -> tuple[Prompt, ...]:
    """Prompts from a file of JSON Lines with ``id`` and ``prompt``.

    ``category`` and ``answer_to_read`` are optional, other keys are ignored. The whole file
    is checked, whatever is chosen from it.

    Args:
      path: the file.
      limit: most prompts to take, >= 1; None for all.
      categories: take prompts of these categories only; None for all.

    Raises:
      PromptError: the file or one of its lines is malformed, an id appears twice, or nothing is
        left after choosing.
    """
    if limit is not None and limit < 1:
        raise PromptError(f"prompts: limit = {limit}; it must be at least 1")
    prompts: dict[str, Prompt] = {}
    for where, record in read_objects(path, "prompts", PromptError):
        prompt = Prompt(
            text_field(record, "id", where, PromptError),
            text_field(record, "prompt", where, PromptError),
            text_field(record, "category", where, PromptError, default=""),
            text_field(record, "answer_to_read", where, PromptError, default=""),
        )
        if prompt.id in prompts:
            raise PromptError(f"{where}: id {prompt.id!r} appears twice; ids must be unique")
        prompts[prompt.id] = prompt
    wanted = {categories} if isinstance(categories, str) else set(categories or ())
    if categories is not None and not wanted:
        raise PromptError("prompts: categories is empty; name some, or give None for all")
    known = {prompt.category for prompt in prompts.values()}
    if not wanted <= known:
        raise PromptError(
            f"prompts {str(path)!r}: no prompts of category {sorted(wanted - known)}; "
            f"there are {sorted(known)}"
        )
    chosen = [p for p in prompts.values() if not wanted or p.category in wanted]
    return tuple(chosen[:limit])


def demo_prompts() -> tuple[Prompt, ...]:
    """The prompts that the package ships: edits, code, summaries, an extraction."""
    source = importlib.resources.files("adaptive_spec") / "data" / "demo_prompts.jsonl"
    with importlib.resources.as_file(source) as path:
        return read_prompts(path)
