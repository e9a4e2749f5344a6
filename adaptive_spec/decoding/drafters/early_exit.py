"""Early exit: the verifier's own first layers, with its final norm and head, as the draft model."""

import copy
from typing import Any

from torch import nn

from adaptive_spec.decoding.drafters.draft_model import DraftModelDrafter
from adaptive_spec.decoding.forward import StaticShapes
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.errors import DrafterSpecError


def early_exit_model(model: Any, layers: int) -> Any:
    """A model that runs only the first layers of ``model``, and shares all of its weights.

    Args:
      model: a transformers causal language model; stays as it is.
      layers: layers to run, 1 to one fewer than it has.

    Raises:
      DrafterSpecError: a number of layers out of range, or a model whose layers are not found.
    """
    total = model.config.num_hidden_layers
    if not 1 <= layers < total:
        raise DrafterSpecError(
            f"early exit: layers = {layers}; the verifier has {total}, allowed are 1 to {total - 1}"
        )
    base = model.base_model
    stacks = [
        name
        for name, child in base.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == total
    ]
    if base is model or len(stacks) != 1:
        raise DrafterSpecError(
            f"early exit: {type(model).__name__} has no single list of {total} layers to cut; "
            "use prompt lookup or a draft model"
        )
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    short_base = _shallow_copy(base, config)
    setattr(short_base, stacks[0], nn.ModuleList(list(getattr(base, stacks[0]))[:layers]))
    short = _shallow_copy(model, config)
    setattr(short, model.base_model_prefix, short_base)
    return short


def early_exit_drafter(
    model: Any, layers: int, *, slots: int, shapes: StaticShapes | None = None
) -> DraftModelDrafter:
    """A drafter that runs the verifier's first ``layers`` layers; arguments as of ``ModelRunner``.

    Raises:
      DrafterSpecError: as ``early_exit_model``.
    """
    short = early_exit_model(model, layers)
    runner = ModelRunner(short, slots=slots, shapes=shapes)
    return DraftModelDrafter(runner, f"early-exit:layers={layers}")


def _shallow_copy(module: Any, config: Any) -> Any:
    """A module with the same children, which can be replaced without touching the original."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)  # noqa: SLF001  (nn.Module has no public way)
    twin.config = config
    return twin
