"""Rearranging a model's weights, once and in place, for passes over small blocks of tokens.

On a CPU a pass over few tokens is bound by reading weights, and the libraries' general kernels are
not at their best for the 1 to 10 rows of speculative decoding. `tests/benchmarks/test_linears.py`
shows what packing gains: in bfloat16 it pays for every layer and any number of rows; in float32 it
costs a little for one row and gains much from 4 rows on, for large matrices only. Blocks of 2 to 9
tokens are what a speculative cycle verifies, hence the threshold below.

A head that is tied to the embedding stays as it is, for packing it would keep both in memory; in
float32 it is computed in pieces, which needs no memory.
"""

from typing import Any

import torch
from torch import nn

from adaptive_spec.decoding.forward.linears import (
    PackedLinear,
    Part,
    PiecewiseLinear,
    can_pack,
)
from adaptive_spec.decoding.forward.llama_forward import LlamaForward

_LEAST_FLOAT32_WEIGHTS = 1 << 20


def prepare(model: Any) -> Any:
    """Packs a model's linear layers, in place; returns it.

    The model works as before, through transformers too (though slower there), but its layers'
    weights can no longer be read, saved, trained or moved. Nothing happens to models on other
    devices than the CPU, to other dtypes than float32 and bfloat16, to models that are not built
    like Llama, and where torch was built without oneDNN. Memory: no weight is kept twice.

    Args:
      model: a transformers causal language model that nobody else needs unchanged.
    """
    weight: torch.Tensor = model.get_input_embeddings().weight
    if weight.device.type != "cpu" or not LlamaForward.fits(model) or not can_pack(weight.dtype):
        return model
    for layer in model.base_model.layers:
        _pack_together(layer.self_attn, ("q_proj", "k_proj", "v_proj"))
        _pack_together(layer.self_attn, ("o_proj",))
        _pack_together(layer.mlp, ("gate_proj", "up_proj"))
        _pack_together(layer.mlp, ("down_proj",))
    if getattr(model.lm_head, "weight", None) is not weight:
        _pack_together(model, ("lm_head",))
    elif weight.dtype == torch.float32:
        model.lm_head = PiecewiseLinear(model.lm_head)
    return model


def num_weights(module: nn.Module) -> int:
    """Elements of all weights, packed ones included."""
    packed = sum(m.num_weights for m in module.modules() if isinstance(m, PackedLinear))
    return packed + sum(parameter.numel() for parameter in module.parameters())


def _pack_together(parent: Any, names: tuple[str, ...]) -> None:
    """Replaces children by one packed layer, where that pays."""
    linears: list[Any] = [getattr(parent, name) for name in names]
    if any(type(linear) is not nn.Linear for linear in linears):  # prepared before, or adapted
        return
    elements = sum(linear.weight.numel() for linear in linears)
    if linears[0].weight.dtype == torch.float32 and elements < _LEAST_FLOAT32_WEIGHTS:
        return
    packed = PackedLinear(linears)
    if len(names) == 1:
        setattr(parent, names[0], packed)
        return
    for i, name in enumerate(names):
        setattr(parent, name, Part(packed, i))
