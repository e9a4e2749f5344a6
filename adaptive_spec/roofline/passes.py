"""How long a pass takes at least: the roofline of each kind of kernel, and what launches cost.

Of a pass over ``n`` new tokens in each of ``B`` sequences that have ``C`` tokens before them,
``T = B n`` in all, on ``D`` devices that share every matrix (tensor parallel, Shoeybi et al. 2019):

- *Matrix products* read all weights once, and activations of every token; they multiply and add
  each weight once for every token (2 operations; Pope et al. 2022, section 2, Kaplan et al. 2020,
  equation 2.2):
  ``max((weights * w + T * activations * a) / bandwidth, 2 * weights * T / peak) / D``
- *Attention* reads keys and values of every sequence, none of which serves another, and multiplies
  each of its queries with keys and values (4 operations for each number of a query):
  ``max(B * (C + n) * kv * a / bandwidth, 4 * layers * query * T * (C + (n + 1) / 2) / peak) / D``
- *Links*: after attention and after the inner layer the devices sum what each has of the residual
  stream, as a ring (Pope et al. 2022, appendix A.1):
  ``2 * layers * T * hidden * a * 2 (D - 1) / D / link``
- *Launches*: no kernel is quicker than ``kernel_us``, so the sum of the above is at least
  ``kernels * kernel_us``.

``w`` and ``a`` are bytes of a weight and of a computed number, ``kv`` numbers cached for a token.
It is a bound from below: nothing is gained by fusing, and nothing lost to tiles that are not full,
to sampling, or to the host. Where keys and values have fewer heads than there are devices, they
are held more than once; that is not modelled.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import FloatArray
from adaptive_spec.errors import CostsError
from adaptive_spec.roofline.hardware import Hardware, byte_size
from adaptive_spec.roofline.transformer import Transformer

_KERNELS_A_LAYER = 10
"""Norm, projections to query, key and value, rotation, cache write, attention, projection, norm,
gate and up, activation, down: ten where common pairs are fused, as serving engines do."""
_KERNELS_BESIDE = 4
"""Embedding, last norm, head, choice of the token."""
_SUMS_A_LAYER = 2


class PassTimes(NamedTuple):
    """What a pass is made of, in milliseconds, each of the shape that was asked for.

    Attributes:
      weights_ms: reading weights and activations; ``arithmetic_ms``: multiplying by the weights.
      kv_cache_ms: reading keys and values; ``attention_ms``: multiplying with them.
      links_ms: summing over devices.
      launches_ms: the least that so many kernels take.
    """

    weights_ms: FloatArray
    arithmetic_ms: FloatArray
    kv_cache_ms: FloatArray
    attention_ms: FloatArray
    links_ms: FloatArray
    launches_ms: FloatArray

    @property
    def total_ms(self) -> FloatArray:
        """Time of the pass."""
        products = np.maximum(self.weights_ms, self.arithmetic_ms)
        attention = np.maximum(self.kv_cache_ms, self.attention_ms)
        return np.maximum(products + attention + self.links_ms, self.launches_ms)

    def bound_by(self) -> str:
        """What most of a single pass goes into: a name of the above, in words."""
        if self.total_ms <= self.launches_ms:
            return "launches"
        parts = {name: float(getattr(self, name)) for name in self._fields[:-1]}
        most = max(parts, key=parts.__getitem__).removesuffix("_ms")
        return "KV cache" if most == "kv_cache" else most


@dataclass(frozen=True)
class Placement:
    """Where and how a model runs.

    Attributes:
      hardware: each device.
      dtype: of computed numbers and of the cache, one of ``DTYPES``.
      weight_bits: of a stored weight, 1 to 32; None: as ``dtype``.
      devices: that share every matrix, >= 1.
    """

    hardware: Hardware
    dtype: str = "bfloat16"
    weight_bits: float | None = None
    devices: int = 1

    def __post_init__(self) -> None:
        self.hardware.peak(self.dtype)
        if self.weight_bits is not None and not 1 <= self.weight_bits <= 32:
            raise CostsError(
                f"placement: weight_bits = {self.weight_bits}; allowed are 1 to 32, or none for "
                "those of the dtype"
            )
        if self.devices < 1:
            raise CostsError(f"placement: devices = {self.devices}; there must be at least 1")

    @property
    def weight_bytes(self) -> float:
        """Bytes of a stored weight."""
        return byte_size(self.dtype) if self.weight_bits is None else self.weight_bits / 8

    def pass_times(
        self,
        model: Transformer,
        batch_size: npt.ArrayLike,
        context_tokens: npt.ArrayLike,
        width: npt.ArrayLike,
    ) -> PassTimes:
        """Times of passes over ``width`` tokens of each sequence, all >= 1; they broadcast."""
        batch, context, new = np.broadcast_arrays(
            *(np.asarray(values, np.float64) for values in (batch_size, context_tokens, width))
        )
        tokens, number = batch * new, byte_size(self.dtype)
        second = 1e-3 * self.devices  # of all devices, in milliseconds
        bandwidth = self.hardware.bandwidth_gb_s * 1e9 * second
        peak = self.hardware.peak(self.dtype) * second
        read = model.weights * self.weight_bytes + tokens * model.activation_numbers * number
        cached = batch * (context + new) * model.kv_numbers * number
        seen = tokens * (context + (new + 1) / 2)
        summed = _SUMS_A_LAYER * model.layers * tokens * model.hidden * number
        ring = 2 * (self.devices - 1) / self.devices
        alone = self.devices == 1
        kernels = model.layers * (_KERNELS_A_LAYER + (0 if alone else _SUMS_A_LAYER))
        launches = (kernels + _KERNELS_BESIDE) * self.hardware.kernel_us * 1e-3
        return PassTimes(
            weights_ms=read / bandwidth,
            arithmetic_ms=2 * model.weights * tokens / peak,
            kv_cache_ms=cached / bandwidth,
            attention_ms=4 * model.layers * model.query_width * seen / peak,
            links_ms=summed * ring / (self.hardware.link_gb_s * 1e6),
            launches_ms=np.full(tokens.shape, launches),
        )
