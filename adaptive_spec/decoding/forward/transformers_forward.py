"""The general forward pass: the transformers model itself, with our cache as its own."""

import inspect
from typing import Any

import torch

from adaptive_spec.decoding.compatibility import attention_kind
from adaptive_spec.decoding.forward.base import Forward, Pass
from adaptive_spec.decoding.kv_cache import KVCache


class TransformersForward(Forward):
    """Calls the model with explicit positions, a mask for ragged rows, and our cache."""

    def __init__(self, model: Any) -> None:
        """Wraps a transformers causal language model that takes ``position_ids``."""
        self._model = model
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._additive = attention_kind(model.config) == "eager"

    def fill(self, tokens: Pass, cache: KVCache) -> None:
        self._run(self._model.base_model, tokens, cache)

    def logits(
        self, tokens: Pass, cache: KVCache, wanted: torch.Tensor | None = None
    ) -> torch.Tensor:
        whole: torch.Tensor
        if wanted is None or tokens.ids.shape[1] == 1:
            whole = self._run(self._model, tokens, cache).logits
            return whole
        if self._keeps_logits:
            whole = self._run(self._model, tokens, cache, logits_to_keep=wanted).logits
            return whole
        whole = self._run(self._model, tokens, cache).logits
        return whole.take_along_dim(wanted[..., None], dim=1)

    def _run(self, module: Any, tokens: Pass, cache: KVCache, **options: Any) -> Any:
        # A single row needs no mask of ours, and attention without one runs faster kernels.
        return module(
            input_ids=tokens.ids,
            attention_mask=None if tokens.is_single else self._mask(tokens),
            position_ids=tokens.positions,
            past_key_values=cache,
            use_cache=True,
            **options,
        )

    def _mask(self, tokens: Pass) -> torch.Tensor:
        """``[b, 1, width, reach]``, boolean or, for eager attention, added to the scores."""
        seen = tokens.visible()[:, None]
        if not self._additive:
            return seen
        dtype = self._model.dtype
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(
            ~seen, torch.finfo(dtype).min
        )
