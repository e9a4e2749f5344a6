"""Prompts that cannot be decoded: each is named at once, the others go on, the command fails."""

from typing import TYPE_CHECKING

from adaptive_spec.cli.live import Pair
from adaptive_spec.cli.output import note
from adaptive_spec.errors import AdaptiveSpecError, PromptError
from adaptive_spec.prompts import Prompt

if TYPE_CHECKING:
    from adaptive_spec.decoding.requests import Request


class Failures:
    """The prompts of one command that failed.

    Attributes:
      errors: by id, in the order in which they failed.
    """

    def __init__(self, prompts: tuple[Prompt, ...]) -> None:
        """Begins with none of these prompts."""
        self._prompts = prompts
        self.errors: dict[str, AdaptiveSpecError] = {}

    def requests(self, pair: Pair, max_new_tokens: int, chat_template: bool) -> "list[Request]":
        """The prompts as requests, but for those that have no tokens."""
        found = []
        for prompt in self._prompts:
            try:
                found += pair.requests((prompt,), max_new_tokens, chat_template)
            except PromptError as error:
                self.add(prompt.id, error)
        return found

    def add(self, name: str, error: AdaptiveSpecError) -> None:
        """Takes note of a prompt that failed."""
        self.errors[name] = error
        if len(self._prompts) > 1:
            note(f"[{name}] failed: {error}")

    def as_list(self) -> list[dict[str, str]]:
        """What failed and why, for JSON."""
        return [{"id": name, "error": str(error)} for name, error in self.errors.items()]

    def raise_any(self) -> None:
        """Ends the command with an error if there was one.

        Raises:
          AdaptiveSpecError: the only prompt's own error, or how many of them failed.
        """
        if not self.errors:
            return
        if len(self._prompts) == 1:
            raise next(iter(self.errors.values()))
        raise PromptError(
            f"{len(self.errors)} of {len(self._prompts)} prompts failed, for the reasons above: "
            f"{', '.join(self.errors)}; all others are done"
        )
