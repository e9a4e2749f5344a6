"""What devices do in a second, by their vendors' data sheets.

Peaks are dense ones of tensor cores (without structured sparsity, which sheets often count in),
float32 the one of ordinary cores, which matrix products in float32 use unless told to round.
Sources: NVIDIA A100 80GB data sheet (2021); H100 data sheet (2023, SXM column); H200 data sheet
(2024, SXM column); DGX B200 data sheet (2024, an eighth of the system); L40S data sheet (2023);
L4 data sheet (2023); Ada GPU architecture white paper (2022), appendix A, for the RTX 4090; AMD
Instinct MI300X data sheet (2023).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from adaptive_spec._specs import unknown_name
from adaptive_spec.errors import CostsError

DTYPES: Mapping[str, int] = MappingProxyType(
    {"float32": 4, "bfloat16": 2, "float16": 2, "float8": 1}
)
"""Bytes of a number, by the type that passes compute in."""

KERNEL_US = 3.4
"""Least time of a kernel, in microseconds: that of a small one within a CUDA graph (A. Gray,
"Getting Started with CUDA Graphs", NVIDIA 2019; launched one by one it is 3.8)."""


@dataclass(frozen=True)
class Hardware:
    """One device.

    Attributes:
      name: in words.
      peak_tflops: dense peak by dtype (one of ``DTYPES``), 10^12 operations a second, each > 0; a
        product with a sum counts as two.
      bandwidth_gb_s: of its memory, 10^9 bytes a second, > 0.
      link_gb_s: to its neighbours, one way, 10^9 bytes a second, > 0; half of what sheets state.
      kernel_us: least time of a kernel, microseconds, >= 0.
    """

    name: str
    peak_tflops: Mapping[str, float] = field(hash=False)
    bandwidth_gb_s: float
    link_gb_s: float = math.inf
    kernel_us: float = KERNEL_US

    def __post_init__(self) -> None:
        for dtype in self.peak_tflops:
            byte_size(dtype)
        least = {f"peak_tflops of {dtype}": peak for dtype, peak in self.peak_tflops.items()}
        least |= {"bandwidth_gb_s": self.bandwidth_gb_s, "link_gb_s": self.link_gb_s}
        for name, value in least.items():
            if not value > 0:
                raise CostsError(f"hardware: {name} = {value}; it must be above 0")
        if not 0 <= self.kernel_us < math.inf:
            raise CostsError(f"hardware: kernel_us = {self.kernel_us}; it must be 0 or more")

    def peak(self, dtype: str) -> float:
        """Operations a second in a dtype.

        Raises:
          CostsError: the device does not compute in it.
        """
        byte_size(dtype)
        if dtype not in self.peak_tflops:
            there = ", ".join(self.peak_tflops) or "none"
            raise CostsError(f"hardware: {self.name} has no peak for {dtype}; it has {there}")
        return self.peak_tflops[dtype] * 1e12


def byte_size(dtype: str) -> int:
    """Bytes of a number.

    Raises:
      CostsError: no such dtype.
    """
    if dtype not in DTYPES:
        raise CostsError(unknown_name("dtype", dtype, DTYPES))
    return DTYPES[dtype]


def _of(
    name: str,
    float32: float,
    half: float,
    float8: float | None,
    bandwidth_gb_s: float,
    link_gb_s: float,
) -> Hardware:
    peaks = {"float32": float32, "bfloat16": half, "float16": half}
    if float8 is not None:
        peaks["float8"] = float8
    return Hardware(name, MappingProxyType(peaks), bandwidth_gb_s, link_gb_s)


HARDWARE: Mapping[str, Hardware] = MappingProxyType(
    {
        "a100": _of("NVIDIA A100 SXM 80GB", 19.5, 312, None, 2039, 300),
        "h100": _of("NVIDIA H100 SXM", 67, 989, 1979, 3350, 450),
        "h200": _of("NVIDIA H200 SXM", 67, 989, 1979, 4800, 450),
        "b200": _of("NVIDIA B200", 75, 2250, 4500, 8000, 900),
        "l40s": _of("NVIDIA L40S", 91.6, 362, 733, 864, 32),
        "l4": _of("NVIDIA L4", 30.3, 121, 242.5, 300, 32),
        "rtx4090": _of("NVIDIA GeForce RTX 4090", 82.6, 165.2, 330.3, 1008, 32),
        "mi300x": _of("AMD Instinct MI300X", 163.4, 1307.4, 2614.9, 5300, 448),
    }
)
"""Devices by the name that ``--hardware`` takes."""


def hardware_named(name: str) -> Hardware:
    """A device of the table.

    Raises:
      CostsError: there is none of that name.
    """
    if name not in HARDWARE:
        raise CostsError(unknown_name("hardware", name, HARDWARE))
    return HARDWARE[name]
