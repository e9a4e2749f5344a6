"""What of transformers the adapter hangs on, and which settings it does not serve.

The two methods named here are private. They are compared with the form in which they were known to
work, so that a release that changes them is refused before anything is generated.
"""

import inspect
from typing import Any

import transformers
from transformers.generation import candidate_generator

from adaptive_spec.decoding.compatibility import context_limit
from adaptive_spec.errors import ConfigError

CANDIDATES = "_get_candidate_generator"
"""The method that makes a candidate generator: what the adapter wraps."""
LOOP = "_assisted_decoding"
"""The loop that drafts and verifies, which nothing here replaces."""
_KNOWN = "5.23"

_PARAMETERS = {
    CANDIDATES: (
        "self",
        "generation_config",
        "input_ids",
        "inputs_tensor",
        "logits_processor",
        "model_kwargs",
        "assistant_model",
        "target_tokenizer",
        "assistant_tokenizer",
    ),
    LOOP: (
        "self",
        "input_ids",
        "logits_processor",
        "stopping_criteria",
        "generation_config",
        "synced_gpus",
        "streamer",
        "inputs_tensor",
        "assistant_model",
        "assistant_tokenizer",
        "tokenizer",
        "model_kwargs",
    ),
}

_SHARED_CACHE = ("Gemma4Assistant", "Gemma4UnifiedAssistant")
"""Draft models that read the verifier's cache."""

_WHY_NOT = {
    "assistant_tokenizer": (
        "tau would count the assistant's tokens, while passes verify the model's; use an assistant "
        "with the model's own tokenizer, or prompt lookup"
    ),
    "assistant_ensemble_weight": (
        "it accepts tokens that the model would not have chosen; leave it out"
    ),
    "use_mtp": "its heads draft a fixed number of tokens; use another drafter",
    "speculation_type": "its drafts are blocks of a fixed size; use another drafter",
    "assistant_model": "this one drafts a fixed number of tokens; use one with a cache of its own",
}


def require_model(model: Any, max_draft_tokens: int) -> None:
    """Refuses what is no transformers model, has other extension points, or has no room for drafts.

    Raises:
      ConfigError: with the reason, and what to do about it.
    """
    for name, known in _PARAMETERS.items():
        method = getattr(type(model), name, None)
        if method is None:
            raise ConfigError(
                f"{type(model).__name__} has no {name}: it is not a transformers model that "
                f"generates, or transformers {transformers.__version__} generates otherwise; the "
                f"adapter is made for transformers {_KNOWN}"
            )
        found = tuple(inspect.signature(method).parameters)
        if found != known:
            raise ConfigError(
                f"{name} of transformers {transformers.__version__} takes "
                f"({', '.join(found)}), the adapter knows ({', '.join(known)}); install "
                f"transformers=={_KNOWN}.*, or a newer adaptive-spec"
            )
    limit = context_limit(model.config.get_text_config(decoder=True))
    if max_draft_tokens >= limit:
        raise ConfigError(
            f"max_draft_tokens = {max_draft_tokens}; {type(model).__name__} has {limit} positions, "
            f"so that at most {limit - 1} are allowed"
        )


def require_settings(
    settings: Any, batch_size: int, assistant: Any, assistant_tokenizer: Any
) -> None:
    """Refuses calls of ``generate`` that a policy cannot drive, or that are not lossless.

    Args:
      settings: the call's ``GenerationConfig``.
      batch_size: sequences in the call.
      assistant: its draft model, if any.
      assistant_tokenizer: that one's tokenizer, if given.

    Raises:
      ConfigError: with the reason, and what to do about it.
    """
    if batch_size > 1:
        raise ConfigError(
            f"generate: {batch_size} sequences; transformers speculates for one at a time: call it "
            "once for each, or use adaptive_spec.decoding.DecodingEngine for batches"
        )
    refused = {
        "assistant_tokenizer": assistant_tokenizer is not None,
        "assistant_ensemble_weight": _setting(settings, "assistant_ensemble_weight") is not None,
        "use_mtp": bool(_setting(settings, "use_mtp")),
        "speculation_type": _setting(settings, "speculation_type") == "dflash",
        "assistant_model": type(assistant).__name__.startswith(_SHARED_CACHE),
    }
    for name in (name for name, is_set in refused.items() if is_set):
        raise ConfigError(f"generate: {name} is not served under a policy: {_WHY_NOT[name]}")


def _setting(settings: Any, name: str) -> Any:
    """A setting that came with a later release than others; None where there is none."""
    return getattr(settings, name, None)


def require_attributes(candidates: Any, names: tuple[str, ...]) -> None:
    """Refuses a candidate generator that is not made as the adapter knows it.

    Raises:
      ConfigError: a name that it lacks.
    """
    missing = [name for name in names if not hasattr(candidates, name)]
    if missing:
        raise ConfigError(
            f"{type(candidates).__name__} of transformers {transformers.__version__} has no "
            f"{missing[0]}, by which drafts are steered; install transformers=={_KNOWN}.*"
        )


def grow_masks(assistant_kwargs: dict[str, Any], length: int, is_encoder_decoder: bool) -> None:
    """Stretches masks and positions of an assistant that has read nothing yet, in place.

    transformers does so only once the assistant has a cache: it never lets it wait.
    """
    for name in ("_prepare_attention_mask", "_prepare_position_ids"):
        getattr(candidate_generator, name)(assistant_kwargs, length, is_encoder_decoder)
    candidate_generator._prepare_token_type_ids(assistant_kwargs, length)  # noqa: SLF001
