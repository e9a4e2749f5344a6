"""A stand-in for a device that the host must wait for: no values, and one door to the host."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from adaptive_spec.decoding import transfer

STAND_IN = torch.device("meta")
"""Where models go. Tensors there have shapes and types but no values."""

# Operators whose result, or its shape, the host must wait for.
_WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal")


class OneDoor(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fails on whatever makes the host wait for the device, but for ``transfer.to_host``.

    That is: operators with results on the host or of unknown shape, and those that mix tensors of
    host and device. Indexing with a list is not noticed here; a GPU notices.

    Attributes:
      reads: sizes of what was read.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reads: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        assert not any(name.startswith(f"aten::{waits}") for waits in _WAITING), name
        result = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor)]
        devices = {t.device for t in tensors if t.ndim or t.device == STAND_IN}
        assert len(devices) <= 1, f"{name} copies between {devices}"
        return result

    def read(self, tensor: torch.Tensor) -> npt.NDArray[Any]:
        """Zeros in place of values that nobody computed."""
        assert tensor.device == STAND_IN
        self.reads.append(tensor.numel())
        return np.zeros(tuple(tensor.shape), torch.empty(0, dtype=tensor.dtype).numpy().dtype)


@contextmanager
def one_door(monkeypatch: pytest.MonkeyPatch) -> Iterator[OneDoor]:
    """Runs a block on the stand-in."""
    mode = OneDoor()

    def send(values: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
        assert device == STAND_IN
        return torch.empty(
            values.shape, dtype=torch.from_numpy(values[:0].copy()).dtype, device=device
        )

    with monkeypatch.context() as patches:
        patches.setattr(transfer, "to_host", mode.read)
        patches.setattr(transfer, "array_to_device", send)
        with mode:
            yield mode
