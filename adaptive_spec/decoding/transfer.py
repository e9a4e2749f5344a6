"""The one door from device to host: every value that decoding reads back passes through here.

A read makes the host wait for the device, so a cycle makes one: in verification, for the drafted
tokens, their signals and the verdict together. Only looking inside the draft takes reads of its
own. Tests count the calls.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adaptive_spec._arrays import FloatArray


def to_host(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """The tensor's values on the host; waits until the device has computed them."""
    host: npt.NDArray[Any] = tensor.cpu().numpy()
    return host


def to_device(values: list[int] | list[list[int]], device: torch.device) -> torch.Tensor:
    """Host integers as int64 tensor on the device, without waiting for it."""
    return array_to_device(np.asarray(values, np.int64), device)


def as_integers(values: torch.Tensor) -> torch.Tensor:
    """float32 values as int64, bit by bit, to be read together with tokens."""
    return values.float().contiguous().view(torch.int32).long()


def from_integers(values: npt.NDArray[Any]) -> FloatArray:
    """What ``as_integers`` packed, on the host."""
    return values.astype(np.int32).view(np.float32).astype(np.float64)


def array_to_device(values: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """A host array on the device, without waiting for it."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
