"""Verifiers by name, with their tokenizers, ready for the decoding core."""

from dataclasses import dataclass
from typing import Any

from adaptive_spec.decoding.builtin import BUILTIN, builtin_model_dir
from adaptive_spec.decoding.forward import (
    StaticShapes,
    has_float32_head,
    prepare,
    with_float32_head,
)
from adaptive_spec.decoding.pretrained import (
    load_model,
    load_tokenizer,
    one_line,
    parse_target,
)
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.errors import ConfigError, ModelLoadError, PromptError

__all__ = ["BUILTIN", "Verifier", "builtin_model_dir", "load_verifier"]


@dataclass(frozen=True)
class Verifier:
    """A verifier and its tokenizer.

    Attributes:
      name: as asked for; ``model``: transformers model; ``tokenizer``: its tokenizer.
      eos_token_ids: tokens that end a sequence.
      shapes: what its passes are rounded up to; None to run each as it is.
    """

    name: str
    model: Any
    tokenizer: Any
    eos_token_ids: tuple[int, ...]
    shapes: StaticShapes | None = None

    @property
    def numerics(self) -> str:
        """dtype, device, attention and shapes: outputs are the same only where these are."""
        parts = [
            str(self.model.dtype).removeprefix("torch."),
            self.model.device.type,
            self.model.config._attn_implementation,  # noqa: SLF001 - its only name
        ]
        if has_float32_head(self.model):
            parts.append("float32 logits")
        if self.shapes is not None:
            parts.append(f"passes of {' or '.join(map(str, self.shapes.widths))} tokens")
        return ", ".join(parts)

    def runner(self, slots: int = 1, longest_tokens: int | None = None) -> ModelRunner:
        """Runs it over rows of a cache, in its shapes.

        Args:
          slots: rows, >= 1.
          longest_tokens: most tokens that a row will come to hold, prompt included; None where not
            known. In static shapes the cache then has its final size at once: growing changes them.
        """
        if self.shapes is None or longest_tokens is None:
            return ModelRunner(self.model, slots=slots, shapes=self.shapes)
        return ModelRunner(
            self.model,
            slots=slots,
            capacity_tokens=longest_tokens + self.shapes.widths[-1],
            shapes=self.shapes,
        )

    def encode(self, prompt: str, *, chat_template: bool = True) -> list[int]:
        """Tokens of a prompt, as one user message in the chat template or as plain text.

        Raises:
          ConfigError: the tokenizer has no chat template.
          PromptError: the prompt has no tokens.
        """
        if not chat_template:
            ids = self.tokenizer(prompt)["input_ids"]
        elif self.tokenizer.chat_template is None:
            raise ConfigError(
                f"{self.name}: its tokenizer has no chat template; use --no-chat-template"
            )
        else:
            ids = self._in_chat_template(prompt)
        if not ids:
            raise PromptError(f"prompt {prompt!r}: it has no tokens")
        return list(ids)

    def _in_chat_template(self, prompt: str) -> list[int]:
        message = [{"role": "user", "content": prompt}]
        try:
            ids: list[int] = self.tokenizer.apply_chat_template(
                message, add_generation_prompt=True, return_dict=True
            )["input_ids"]
        except Exception as error:  # templates are programs, and fail in their own ways
            raise ConfigError(
                f"{self.name}: its chat template refuses a single user message "
                f"({one_line(error)}); use --no-chat-template"
            ) from error
        return ids

    def decode(self, token_ids: list[int] | tuple[int, ...]) -> str:
        """Text of output tokens, without special tokens."""
        text: str = self.tokenizer.decode(list(token_ids), skip_special_tokens=True)
        return text


def load_verifier(
    name: str = BUILTIN,
    *,
    dtype: str = "float32",
    device: str | None = None,
    prepared: bool = True,
    float32_logits: bool = False,
    shapes: StaticShapes | None = None,
) -> Verifier:
    """Loads a verifier and its tokenizer.

    Args:
      name: "builtin", a local folder, or an id on the Hugging Face hub.
      dtype: float32, bfloat16 or float16. Outputs are exactly those of plain decoding in float32.
      device: torch device; None for the first CUDA device if there is one, else the CPU.
      prepared: whether its weights are rearranged for decoding (see ``forward.prepare``), or stay
        as transformers loads them.
      float32_logits: compute logits in float32 where ``dtype`` is another (docs/gpu.md).
      shapes: round its passes up to these; None to run each as it is.

    Raises:
      ConfigError: unknown dtype or device.
      ModelLoadError: not found, cannot be loaded, or cannot be driven by the decoding core.
    """
    parse_target(dtype, device)  # before a conversion
    path = str(builtin_model_dir()) if name == BUILTIN else name
    model = load_model(path, name, dtype, device)
    if prepared:
        prepare(model)
    if float32_logits:
        with_float32_head(model)
    ModelRunner.check(model)
    tokenizer = load_tokenizer(path)
    if tokenizer is None:
        raise ModelLoadError(f"{name}: no tokenizer there; save it beside the weights")
    return Verifier(name, model, tokenizer, _eos_token_ids(model, tokenizer), shapes)


def _eos_token_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    found = getattr(model.generation_config, "eos_token_id", None)
    if found is None:
        found = model.config.eos_token_id
    if found is None:
        found = tokenizer.eos_token_id
    if found is None:
        return ()
    return tuple(found) if isinstance(found, list | tuple) else (int(found),)
