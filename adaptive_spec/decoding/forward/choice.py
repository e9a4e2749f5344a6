"""Which forward pass runs a model: the lean one where it fits and gives the same logits."""

import weakref
from typing import Any

import torch

from adaptive_spec.decoding.forward.base import Forward, Pass
from adaptive_spec.decoding.forward.llama_forward import LlamaForward
from adaptive_spec.decoding.forward.transformers_forward import TransformersForward
from adaptive_spec.decoding.kv_cache import KVCache
from adaptive_spec.decoding.transfer import to_device

TOLERANCE = {torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 1e-1}
"""Largest difference of logits, over their largest magnitude, that rounding explains."""

_ROWS = [0, 2]
_WIDTHS = ([4, 1], [3, 5], [1, 1])  # of passes that follow one another

_agrees: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()


def choose_forward(model: Any) -> Forward:
    """The forward pass for a model; the first call for one runs a few tokens through both.

    Args:
      model: a transformers causal language model that the core supports, in evaluation mode.
    """
    general = TransformersForward(model)
    if not LlamaForward.fits(model):
        return general
    lean = LlamaForward(model)
    if model not in _agrees:
        _agrees[model] = _same_logits(model, lean, general)
    return lean if _agrees[model] else general


def _same_logits(model: Any, lean: Forward, general: Forward) -> bool:
    try:
        found, expected = _logits(model, lean), _logits(model, general)
    except Exception:  # noqa: BLE001 - whatever a model does wrong, `ModelRunner.check` reports
        return False
    allowed = TOLERANCE.get(model.dtype, 1e-1)
    return bool((found - expected).abs().amax() <= allowed * expected.abs().amax())


@torch.inference_mode()
def _logits(model: Any, forward: Forward) -> torch.Tensor:
    """Logits of each row's last token, over ragged passes, ``[passes, rows, V]``."""
    embedding = model.get_input_embeddings().weight
    cache = KVCache(model.config.num_hidden_layers, 3, 64)
    found = []
    for i, widths in enumerate(_WIDTHS):
        ids = [
            [(7 + 31 * row + 13 * (i + j) ** 2) % embedding.shape[0] for j in range(max(widths))]
            for row in _ROWS
        ]
        with cache.writing(_ROWS, widths) as starts:
            wanted = to_device([[width - 1] for width in widths], embedding.device)
            tokens = Pass.ragged(to_device(ids, embedding.device), starts, widths)
            found.append(forward.logits(tokens, cache, wanted)[:, 0])
    return torch.stack(found)
