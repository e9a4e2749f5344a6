"""Linear layers rearranged for small blocks of tokens: packed together, or taken in pieces."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

_PACKED_ROWS = 16  # rows of input that the packed layout is laid out for

_PIECE = 512
_PIECEWISE_ROWS = range(4, 13)


class PackedLinear(nn.Module):
    """Linear layers over the same input as one, in oneDNN's blocked layout for the CPU.

    Attributes:
      sizes: outputs of each layer, which lie side by side.
      num_weights: elements of weights and biases. They cannot be read, saved or trained.
    """

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        """Copies the weights of layers of one input size, all with biases or all without."""
        super().__init__()
        self.sizes = [linear.out_features for linear in linears]
        weight = torch.cat([linear.weight.detach() for linear in linears])
        biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
        self._bias = torch.cat(biases) if biases else None
        self._weight = pack(weight)
        self.num_weights = weight.numel() + sum(bias.numel() for bias in biases)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """``[..., in] -> [..., sum(sizes)]``."""
        return packed_linear(states, self._weight, self._bias)


class Part(nn.Module):
    """One of several layers packed together, for code that still asks for them one by one."""

    def __init__(self, whole: PackedLinear, index: int) -> None:
        """Stands for the ``index``-th layer of ``whole``."""
        super().__init__()
        self.whole, self.index = whole, index

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """``[..., in] -> [..., sizes[index]]``, at the price of all of them."""
        return self.whole(states).split(self.whole.sizes, dim=-1)[self.index]  # type: ignore[no-any-return]

    def begins(self, modules: Sequence[nn.Module]) -> bool:
        """Whether these modules are all the parts of this one's whole, in order."""
        return len(modules) == len(self.whole.sizes) and all(
            isinstance(part, Part) and part.whole is self.whole and part.index == i
            for i, part in enumerate(modules)
        )


class PiecewiseLinear(nn.Linear):
    """A large linear layer computed in pieces for 4 to 12 rows of input; shares its weights.

    BLAS libraries have fast float32 kernels for few rows and for many; in between, and for large
    matrices only, they take up to twice as long as in pieces.
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Takes a layer's place."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """``[..., in] -> [..., out]``."""
        if states.numel() // self.in_features not in _PIECEWISE_ROWS or self.bias is not None:
            return F.linear(states, self.weight, self.bias)
        return torch.cat([F.linear(states, piece) for piece in self.weight.split(_PIECE)], -1)


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build and processor have packed linear layers whose results are right."""
    try:
        supported = dtype == torch.float32 or (
            dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001
        )
        return supported and _packs_rightly(dtype)
    except (AttributeError, RuntimeError):  # built without oneDNN
        return False


def pack(weight: torch.Tensor) -> torch.Tensor:
    """``[out, in]`` in oneDNN's blocked layout."""
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(  # noqa: SLF001
        weight.contiguous(), _PACKED_ROWS
    )
    return packed


def packed_linear(states: torch.Tensor, weight: torch.Tensor, bias: Any) -> torch.Tensor:
    """``[..., in] -> [..., out]`` with a packed weight."""
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
        states, weight, bias, "none", [], ""
    )
    return result


def _packs_rightly(dtype: torch.dtype) -> bool:
    generator = torch.Generator().manual_seed(0)
    weight, bias = (torch.randn(*shape, generator=generator) for shape in ((48, 64), (48,)))
    packed = pack(weight.to(dtype))
    for rows in (1, 3, 40):
        states = torch.randn(2, rows, 64, generator=generator)
        found = packed_linear(states.to(dtype), packed, bias.to(dtype))
        expected = F.linear(states.to(dtype), weight.to(dtype), bias.to(dtype))
        allowed = 1e-3 if dtype == torch.float32 else 0.5
        if not (found - expected).abs().max() <= allowed:  # NaN must not pass
            return False
    return True
