"""Linear layers for small blocks of tokens: plain and packed, in the shapes of a small model.

30 copies take turns, so that no cache holds the weights, as in a model.
"""

from typing import Any

import pytest
import torch
from torch import nn

from adaptive_spec.decoding.forward.linears import PackedLinear, PiecewiseLinear, can_pack

SHAPES = {"qkv": (576, 960), "gate_up": (576, 3072), "down": (1536, 576)}
COPIES = 30


@pytest.mark.parametrize("rows", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", ["plain", "packed"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_layers(benchmark: Any, dtype: torch.dtype, shape: str, kind: str, rows: int) -> None:
    if kind == "packed" and not can_pack(dtype):
        pytest.skip("no packed kernels for this dtype here")
    linears = [nn.Linear(*SHAPES[shape], bias=False, dtype=dtype) for _ in range(COPIES)]
    layers = [PackedLinear([one]) if kind == "packed" else one for one in linears]
    states = torch.randn(1, rows, SHAPES[shape][0], dtype=dtype)
    with torch.inference_mode():
        benchmark(lambda: [layer(states) for layer in layers])


@pytest.mark.parametrize("rows", [1, 2, 4, 8, 12])
@pytest.mark.parametrize("kind", ["plain", "pieces"])
def test_tied_head(benchmark: Any, kind: str, rows: int) -> None:
    linear = nn.Linear(576, 49152, bias=False)
    layer = PiecewiseLinear(linear) if kind == "pieces" else linear
    with torch.inference_mode():
        benchmark(layer, torch.randn(1, rows, 576))
