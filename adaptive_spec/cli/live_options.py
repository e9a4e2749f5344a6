"""The options of the commands that run models: which models, and on which prompts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from adaptive_spec.cli import options
from adaptive_spec.cli.live import Pair, prompts_from
from adaptive_spec.errors import ConfigError, DrafterSpecError
from adaptive_spec.prompts import Prompt

if TYPE_CHECKING:
    from adaptive_spec.decoding.requests import Request


@dataclass(frozen=True)
class ModelOptions:
    """Which models, and how they compute."""

    verifier: options.VerifierOption = "builtin"
    drafter: options.DrafterOption = options.AUTO
    dtype: options.DtypeOption = "float32"
    device: options.DeviceOption = None
    float32_logits: Annotated[
        bool,
        typer.Option(
            "--float32-logits",
            help="Compute the verifier's logits in float32, where --dtype is another.",
            rich_help_panel=options.MODELS,
        ),
    ] = False
    verify_width: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1025,
            help="Run all the verifier's passes over so many tokens, so that those over fewer "
            "round alike; at least one more than --max-draft-tokens.",
            rich_help_panel=options.MODELS,
        ),
    ] = None
    cuda_graphs: Annotated[
        bool,
        typer.Option(
            "--cuda-graphs",
            help="Run passes in few shapes, each captured as a CUDA graph. CUDA devices only.",
            rich_help_panel=options.MODELS,
        ),
    ] = False

    def require_drafter(self, purpose: str) -> None:
        """Refuses to go without a drafter where there would be nothing left to do.

        Raises:
          DrafterSpecError: there is none.
        """
        if self.drafter == "none":
            raise DrafterSpecError(f"--drafter none leaves nothing to {purpose}; try lookup")

    def require_room(self, max_draft_tokens: int) -> None:
        """Refuses drafts that do not fit into passes of a fixed width.

        Raises:
          ConfigError: they do not.
        """
        if self.verify_width is not None and self.verify_width <= max_draft_tokens:
            raise ConfigError(
                f"--verify-width {self.verify_width}: drafts of up to {max_draft_tokens} tokens "
                f"(--max-draft-tokens) need {max_draft_tokens + 1}; make it wider, or the drafts "
                "shorter"
            )

    def load(self) -> Pair:
        """Loads both models, as ``Pair.load``."""
        return Pair.load(
            self.verifier,
            self.drafter,
            self.dtype,
            self.device,
            float32_logits=self.float32_logits,
            verify_width=self.verify_width,
            cuda_graphs=self.cuda_graphs,
        )


@dataclass(frozen=True)
class PromptOptions:
    """Which prompts, and how they are decoded."""

    prompts: options.PromptsOption = None
    limit: options.LimitOption = None
    category: options.CategoryOption = None
    max_new_tokens: options.MaxNewTokensOption = 64
    batch_size: options.BatchSizeOption = 1
    chat_template: options.ChatTemplateOption = True

    def chosen(self) -> tuple[Prompt, ...]:
        """The prompts, as ``prompts_from``."""
        return prompts_from(self.prompts, self.limit, self.category)

    def requests(self, pair: Pair, prompts: tuple[Prompt, ...]) -> "list[Request]":
        """Prompts as requests."""
        return pair.requests(prompts, self.max_new_tokens, self.chat_template)
