"""A model's head in float32, where its layers run in fewer bits."""

from typing import Any

import torch
from torch import nn

from adaptive_spec.decoding.forward.linears import PiecewiseLinear


class Float32Head(nn.Module):
    """Logits in float32 of states in any precision; keeps float32 weights of its own.

    bfloat16 has 8 bits of precision: logits near 16 are multiples of 1/16, so that different ones
    become equal, and which token wins is left to its number. Here only the states are rounded so.
    """

    def __init__(self, head: nn.Linear) -> None:
        """Copies the weights of a head, in float32: 4 bytes each."""
        super().__init__()
        wide = nn.Linear(head.in_features, head.out_features, bias=False, device="meta")
        wide.weight = nn.Parameter(head.weight.detach().float(), requires_grad=False)
        wide.bias = None if head.bias is None else nn.Parameter(head.bias.detach().float(), False)
        self.wide = PiecewiseLinear(wide) if head.weight.device.type == "cpu" else wide

    @property
    def weight(self) -> torch.Tensor:
        """``[vocabulary, states]``, float32."""
        return self.wide.weight

    @property
    def bias(self) -> torch.Tensor | None:
        """``[vocabulary]``, float32."""
        return self.wide.bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """``[..., states] -> [..., vocabulary]``."""
        return self.wide(states.float())  # type: ignore[no-any-return]


def with_float32_head(model: Any) -> Any:
    """Gives a model a head in float32, in place; returns it.

    One whose head computes in float32 already is left as it is.

    Args:
      model: a transformers causal language model that nobody else needs unchanged.
    """
    head = model.get_output_embeddings()
    if head.weight.dtype != torch.float32:
        model.set_output_embeddings(Float32Head(head))
    return model


def has_float32_head(model: Any) -> bool:
    """Whether ``with_float32_head`` replaced the model's head."""
    return isinstance(model.get_output_embeddings(), Float32Head)
