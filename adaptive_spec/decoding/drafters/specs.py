"""What a drafter spec says, before anything is loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from adaptive_spec._specs import build, split_spec, unknown_name
from adaptive_spec.decoding.builtin import BUILTIN
from adaptive_spec.decoding.drafters.composed import SEPARATOR
from adaptive_spec.decoding.drafters.prompt_lookup import PromptLookupDrafter
from adaptive_spec.errors import DrafterSpecError
from adaptive_spec.policy import MAX_DRAFTERS
from adaptive_spec.traces.synthetic import NAME as SYNTHETIC
from adaptive_spec.traces.synthetic import Hazards


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
