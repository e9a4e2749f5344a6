"""Models, tokenizers and drafters by name, ready for the decoding core."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from adaptive_spec._specs import build, split_spec, unknown_name
from adaptive_spec.decoding.builtin import BUILTIN, builtin_model_dir, draft_dir
from adaptive_spec.decoding.drafters.base import Drafter
from adaptive_spec.decoding.drafters.composed import SEPARATOR, ComposedDrafter
from adaptive_spec.decoding.drafters.draft_model import DraftModelDrafter
from adaptive_spec.decoding.drafters.early_exit import early_exit_drafter, early_exit_model
from adaptive_spec.decoding.drafters.prompt_lookup import PromptLookupDrafter
from adaptive_spec.decoding.drafters.synthetic import SyntheticDrafter
from adaptive_spec.decoding.forward.packing import prepare
from adaptive_spec.decoding.pretrained import (
    load_model,
    load_tokenizer,
    one_line,
    parse_target,
)
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.decoding.trimmed_draft import is_draft_folder, load_draft
from adaptive_spec.errors import (
    ConfigError,
    DrafterSpecError,
    ModelLoadError,
    PromptError,
    VocabularyMismatchError,
)
from adaptive_spec.policy import MAX_DRAFTERS
from adaptive_spec.traces.synthetic import NAME as SYNTHETIC
from adaptive_spec.traces.synthetic import Hazards

__all__ = [
    "BUILTIN",
    "DRAFTERS",
    "ComposedSpec",
    "EarlyExitSpec",
    "LookupSpec",
    "MakeDrafter",
    "Verifier",
    "builtin_model_dir",
    "load_drafter",
    "load_verifier",
    "parse_drafter",
]

MakeDrafter: TypeAlias = Callable[[int], Drafter | None]
"""Makes a drafter with so many rows."""


@dataclass(frozen=True)
class LookupSpec:
    """Prompt lookup: copies what followed the longest recent n-gram the last time.

    Attributes:
      max_ngram, min_ngram: longest and shortest match, in tokens.
    """

    max_ngram: int = 7
    min_ngram: int = 1


@dataclass(frozen=True)
class EarlyExitSpec:
    """Early exit: the verifier's own first layers.

    Attributes:
      layers: layers to run, 1 to one fewer than the verifier has.
    """

    layers: int = 10


DrafterSpec: TypeAlias = LookupSpec | EarlyExitSpec | Hazards | str
"""What a drafter is made from; a model is given by its name."""

DRAFTERS: dict[str, type[Any]] = {
    "lookup": LookupSpec,
    "early-exit": EarlyExitSpec,
    SYNTHETIC: Hazards,
}


@dataclass(frozen=True)
class ComposedSpec:
    """Several drafters, tried in this order."""

    components: tuple[DrafterSpec, ...]


@dataclass(frozen=True)
class Verifier:
    """A verifier and its tokenizer.

    Attributes:
      name: as asked for; ``model``: transformers model; ``tokenizer``: its tokenizer.
      eos_token_ids: tokens that end a sequence.
    """

    name: str
    model: Any
    tokenizer: Any
    eos_token_ids: tuple[int, ...]

    @property
    def numerics(self) -> str:
        """dtype, device and attention: outputs are the same only where these are."""
        dtype = str(self.model.dtype).removeprefix("torch.")
        attention = self.model.config._attn_implementation  # noqa: SLF001 - its only name
        return f"{dtype}, {self.model.device.type}, {attention}"

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
) -> Verifier:
    """Loads a verifier and its tokenizer.

    Args:
      name: "builtin", a local folder, or an id on the Hugging Face hub.
      dtype: float32, bfloat16 or float16. Outputs are exactly those of plain decoding in float32.
      device: torch device; None for the first CUDA device if there is one, else the CPU.
      prepared: whether its weights are rearranged for decoding (see ``forward.prepare``), or stay
        as transformers loads them.

    Raises:
      ConfigError: unknown dtype or device.
      ModelLoadError: not found, cannot be loaded, or cannot be driven by the decoding core.
    """
    parse_target(dtype, device)  # before a conversion
    path = str(builtin_model_dir()) if name == BUILTIN else name
    model = load_model(path, name, dtype, device)
    if prepared:
        prepare(model)
    ModelRunner.check(model)
    tokenizer = load_tokenizer(path)
    if tokenizer is None:
        raise ModelLoadError(f"{name}: no tokenizer there; save it beside the weights")
    return Verifier(name, model, tokenizer, _eos_token_ids(model, tokenizer))


def load_drafter(spec: str, verifier: Verifier) -> MakeDrafter:
    """Loads what a drafter needs, once.

    Args:
      spec: "lookup", "early-exit:layers=10" (see ``DRAFTERS``), "builtin" (the draft model trained
        for the built-in verifier), "none", the folder of a draft made by ``adaptive-spec distill``,
        or a local folder or hub id of a smaller model with the verifier's vocabulary; or several
        with ``+`` between them, of which the first that proposes something is taken.
      verifier: the verifier.

    Returns:
      A function that makes drafters with so many rows (None for "none"), which share the weights.

    Raises:
      DrafterSpecError: unknown name or field, or a value out of range.
      VocabularyMismatchError: a model whose tokens are not the verifier's, or mark other places.
      ModelLoadError: as ``load_verifier``.
    """
    parsed = parse_drafter(spec)
    if parsed is None:
        return lambda slots: None
    if isinstance(parsed, ComposedSpec):
        makers = [_maker(component, verifier) for component in parsed.components]
        return lambda slots: ComposedDrafter([make(slots) for make in makers])
    return _maker(parsed, verifier)


def _maker(parsed: DrafterSpec, verifier: Verifier) -> Callable[[int], Drafter]:
    """Loads what one drafter needs."""
    if isinstance(parsed, str):
        return _model_drafter(parsed, verifier)
    if isinstance(parsed, LookupSpec):
        return lambda slots: PromptLookupDrafter(parsed.max_ngram, parsed.min_ngram)
    if isinstance(parsed, Hazards):
        return lambda slots: _synthetic_drafter(parsed, verifier, slots)
    early_exit_model(verifier.model, parsed.layers)  # refuses wrong values now
    return lambda slots: early_exit_drafter(verifier.model, parsed.layers, slots=slots)


def _synthetic_drafter(hazards: Hazards, verifier: Verifier, slots: int) -> Drafter:
    runner = ModelRunner(verifier.model, slots=slots)
    return SyntheticDrafter(DraftModelDrafter(runner, "verifier"), hazards, runner.vocab_size)


def parse_drafter(spec: str) -> ComposedSpec | DrafterSpec | None:
    """What a drafter spec says, before anything is loaded: a model is given by its name.

    Raises:
      DrafterSpecError: unknown name or field, or a value out of range for any verifier; drafters
        that cannot be composed.
    """
    if spec == "none":
        return None
    parts = spec.split(SEPARATOR)
    if len(parts) == 1 or Path(spec).is_dir():
        return _parse_one(spec)
    if "none" in map(str.strip, parts):
        raise DrafterSpecError(f"drafter {spec!r}: 'none' stands alone; leave it out")
    components = tuple(_parse_one(part.strip()) for part in parts)
    if len(set(components)) < len(components) or len(components) > MAX_DRAFTERS:
        raise DrafterSpecError(
            f"drafter {spec!r}: compose 2 to {MAX_DRAFTERS} drafters, all of them different"
        )
    return ComposedSpec(components)


def _parse_one(spec: str) -> DrafterSpec:
    if spec == BUILTIN:
        return spec
    known = spec.partition(":")[0].strip() in DRAFTERS
    looks_like_a_model = spec.count("/") == 1 and ":" not in spec
    if spec and not known and (Path(spec).is_dir() or looks_like_a_model):
        return spec
    name, fields = split_spec(spec, DrafterSpecError)
    if name not in DRAFTERS:
        raise DrafterSpecError(
            unknown_name("drafter", name, [*DRAFTERS, BUILTIN, "none"])
            + "; or give the folder or hub id of a model, or several with + between them"
        )
    parsed: LookupSpec | EarlyExitSpec | Hazards = build(
        DRAFTERS[name], name, fields, DrafterSpecError
    )
    if isinstance(parsed, LookupSpec):
        PromptLookupDrafter(parsed.max_ngram, parsed.min_ngram)  # refuses wrong values
    return parsed


def _model_drafter(name: str, verifier: Verifier) -> Callable[[int], Drafter]:
    if name == BUILTIN or is_draft_folder(name):
        draft = load_draft(draft_dir(name), verifier.model)
        prepare(draft.model)
        return lambda slots: DraftModelDrafter(
            ModelRunner(draft.model, slots=slots), name, token_ids=draft.token_ids
        )
    dtype = str(verifier.model.dtype).removeprefix("torch.")
    model = prepare(load_model(name, name, dtype, str(verifier.model.device)))
    tokenizer = load_tokenizer(name)
    shared = _require_shared_vocabulary(name, model, tokenizer, verifier)
    _require_shared_special_tokens(name, model, tokenizer, verifier)
    ModelRunner.check(model)
    return lambda slots: DraftModelDrafter(ModelRunner(model, slots=slots), name, vocab_size=shared)


def _require_shared_vocabulary(name: str, model: Any, tokenizer: Any, verifier: Verifier) -> int:
    """The number of tokens both models know; logits may be padded beyond it."""
    ours, theirs = verifier.model.config.vocab_size, model.config.vocab_size
    fix = "choose a drafter with the verifier's tokenizer, or --drafter lookup"
    if tokenizer is not None:
        here, there = verifier.tokenizer.get_vocab(), tokenizer.get_vocab()
        if here != there:
            same = sum(1 for token, index in there.items() if here.get(token) == index)
            raise VocabularyMismatchError(
                f"drafter {name} and verifier {verifier.name} have different vocabularies "
                f"({len(there)} and {len(here)} tokens, {same} in common); {fix}"
            )
    elif ours != theirs:
        raise VocabularyMismatchError(
            f"drafter {name} has {theirs} tokens and verifier {verifier.name} has {ours}; {fix}"
        )
    return int(min(ours, theirs))


def _require_shared_special_tokens(
    name: str, model: Any, tokenizer: Any, verifier: Verifier
) -> None:
    """Refuses a drafter that begins or ends texts with other tokens; none of ours is ever padding.

    Such a drafter was made for another kind of text: a base model beside one with a chat template.
    """
    for role in ("bos", "eos"):
        ours = _special_ids(role, verifier.model, verifier.tokenizer)
        theirs = _special_ids(role, model, tokenizer)
        if ours and theirs and not ours & theirs:
            raise VocabularyMismatchError(
                f"drafter {name} has {role} token {_listed(theirs)}, verifier {verifier.name} has "
                f"{_listed(ours)}; choose a drafter trained with the verifier's special tokens, or "
                f"give it the verifier's {role}_token_id"
            )


def _special_ids(role: str, model: Any, tokenizer: Any) -> set[int]:
    """All ids that model and tokenizer name for a role."""
    sources = (tokenizer, model.config, model.generation_config)
    ids: set[int] = set()
    for found in (getattr(source, f"{role}_token_id", None) for source in sources):
        ids.update(found if isinstance(found, list | tuple) else () if found is None else (found,))
    return ids


def _listed(ids: set[int]) -> str:
    return " or ".join(map(str, sorted(ids)))


def _eos_token_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    found = getattr(model.generation_config, "eos_token_id", None)
    if found is None:
        found = model.config.eos_token_id
    if found is None:
        found = tokenizer.eos_token_id
    if found is None:
        return ()
    return tuple(found) if isinstance(found, list | tuple) else (int(found),)
