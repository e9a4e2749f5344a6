"""Which transformers models the decoding core can drive, and why not the others."""

from typing import Any

from adaptive_spec.errors import ModelLoadError


def require_supported(model: Any) -> None:
    """Refuses a model whose attention, positions or cache the core cannot drive.

    Raises:
      ModelLoadError: with the reason, and what to do about it.
    """
    reason = unsupported_reason(model)
    if reason is not None:
        raise ModelLoadError(
            f"{type(model).__name__} ({_name(model)}): {reason}; the decoding core drives causal "
            "language models with full attention in every layer (Llama, Qwen2, GPT-2 and the like)"
        )


def unsupported_reason(model: Any) -> str | None:
    """One sentence on why the core cannot drive this model; None where it can."""
    config = model.config
    if getattr(config, "is_encoder_decoder", False):
        return "it is an encoder-decoder model"
    if getattr(model, "_is_stateful", False):
        return "it keeps a recurrent state, which cannot be rolled back to an earlier token"
    if model.get_output_embeddings() is None or model.base_model is model:
        return "it has no language-model head"
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    kinds |= set(getattr(config, "attention_layers", None) or ()) - {"global"}  # GPT-Neo
    if kinds:
        return f"some of its layers are {', '.join(sorted(map(str, kinds)))}"
    for field in ("sliding_window", "attention_chunk_size"):
        window = getattr(config, field, None)
        if window is not None and window < context_limit(config):
            return f"its attention is limited ({field} = {window})"
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in ("dynamic", "longrope"):
        return f"its positions depend on the batch's longest row (rope_type {rope['rope_type']})"
    attention = attention_kind(config)
    if attention not in ("sdpa", "eager"):
        return (
            f"attention {attention!r} takes no ragged masks; load with attn_implementation='sdpa'"
        )
    return None


def attention_kind(config: Any) -> str | None:
    """Name of the attention implementation that a model was loaded with."""
    return getattr(config, "_attn_implementation", None)


def context_limit(config: Any) -> int:
    """Most tokens that the model's positions can tell apart."""
    limit = getattr(config, "max_position_embeddings", None)
    return int(limit) if limit else 1 << 30


def _name(model: Any) -> str:
    return str(getattr(model, "name_or_path", "") or model.config.model_type)
