"""Drafters by their specs, ready to be made for a verifier."""

from collections.abc import Callable
from typing import TypeAlias

from adaptive_spec.decoding.builtin import BUILTIN, draft_dir
from adaptive_spec.decoding.drafters.base import Drafter
from adaptive_spec.decoding.drafters.composed import ComposedDrafter
from adaptive_spec.decoding.drafters.draft_model import DraftModelDrafter
from adaptive_spec.decoding.drafters.early_exit import early_exit_drafter, early_exit_model
from adaptive_spec.decoding.drafters.prompt_lookup import PromptLookupDrafter
from adaptive_spec.decoding.drafters.specs import (
    ComposedSpec,
    DrafterSpec,
    LookupSpec,
    parse_drafter,
)
from adaptive_spec.decoding.drafters.synthetic import SyntheticDrafter
from adaptive_spec.decoding.forward import StaticShapes, prepare
from adaptive_spec.decoding.models import Verifier
from adaptive_spec.decoding.pretrained import load_model, load_tokenizer
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.decoding.trimmed_draft import is_draft_folder, load_draft
from adaptive_spec.decoding.vocabularies import (
    require_shared_special_tokens,
    require_shared_vocabulary,
)
from adaptive_spec.traces.synthetic import Hazards

MakeDrafter: TypeAlias = Callable[[int], Drafter | None]
"""Makes a drafter with so many rows."""


def load_drafter(
    spec: str, verifier: Verifier, *, shapes: StaticShapes | None = None
) -> MakeDrafter:
    """Loads what a drafter needs, once.

    Args:
      spec: "lookup", "early-exit:layers=10" (see ``DRAFTERS``), "builtin" (the draft model trained
        for the built-in verifier), "none", the folder of a draft made by ``adaptive-spec distill``,
        or a local folder or hub id of a smaller model with the verifier's vocabulary; or several
        with ``+`` between them, of which the first that proposes something is taken.
      verifier: the verifier.
      shapes: round passes of draft models up to these; None to run each as it is.

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
        makers = [_maker(component, verifier, shapes) for component in parsed.components]
        return lambda slots: ComposedDrafter([make(slots) for make in makers])
    return _maker(parsed, verifier, shapes)


def _maker(
    parsed: DrafterSpec, verifier: Verifier, shapes: StaticShapes | None
) -> Callable[[int], Drafter]:
    """Loads what one drafter needs."""
    if isinstance(parsed, str):
        return _model_drafter(parsed, verifier, shapes)
    if isinstance(parsed, LookupSpec):
        return lambda slots: PromptLookupDrafter(parsed.max_ngram, parsed.min_ngram)
    if isinstance(parsed, Hazards):
        return lambda slots: _synthetic_drafter(parsed, verifier, slots)
    early_exit_model(verifier.model, parsed.layers)  # refuses wrong values now
    return lambda slots: early_exit_drafter(
        verifier.model, parsed.layers, slots=slots, shapes=shapes
    )


def _synthetic_drafter(hazards: Hazards, verifier: Verifier, slots: int) -> Drafter:
    runner = verifier.runner(slots)
    return SyntheticDrafter(DraftModelDrafter(runner, "verifier"), hazards, runner.vocab_size)


def _model_drafter(
    name: str, verifier: Verifier, shapes: StaticShapes | None
) -> Callable[[int], Drafter]:
    if name == BUILTIN or is_draft_folder(name):
        draft = load_draft(draft_dir(name), verifier.model)
        prepare(draft.model)
        return lambda slots: DraftModelDrafter(
            ModelRunner(draft.model, slots=slots, shapes=shapes), name, token_ids=draft.token_ids
        )
    dtype = str(verifier.model.dtype).removeprefix("torch.")
    model = prepare(load_model(name, name, dtype, str(verifier.model.device)))
    tokenizer = load_tokenizer(name)
    shared = require_shared_vocabulary(name, model, tokenizer, verifier)
    require_shared_special_tokens(name, model, tokenizer, verifier)
    ModelRunner.check(model)
    return lambda slots: DraftModelDrafter(
        ModelRunner(model, slots=slots, shapes=shapes), name, vocab_size=shared
    )
