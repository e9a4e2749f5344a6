"""Gumbel noise on the device, keyed by (sequence, position, purpose) and token.

The hash is that of ``adaptive_spec.randomness``: the same key and token give the same noise in any
batch, for any tau, and whichever model's logits it is added to. The largest of log-probabilities
plus Gumbel noise is a draw from the distribution (Gumbel-max; Luce 1959, Yellott 1977), so that a
draw needs neither a sorted nor a normalised distribution, and never finds an excluded token.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt
import torch

from adaptive_spec.decoding import transfer


class Purpose(IntEnum):
    """What a random number is for: one position needs several, independent of one another."""

    COUPLED = 0
    DRAFT = 1
    ACCEPT = 2
    DRAW = 3


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)
_BITS = 40  # of a hash that make a number; float32 keeps 24, counted from the first that is set


def device_keys(keys: npt.NDArray[np.uint64], device: torch.device) -> torch.Tensor:
    """Keys as int64, bit for bit, on the device."""
    return transfer.array_to_device(keys.view(np.int64), device)


def gumbel(keys: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
    """Standard Gumbel noise of each token under each key, float32.

    Args:
      keys: ``[n]``.
      token_ids: ``[C]`` tokens, the same for all keys, or ``[n, C]``.
    """
    bits = (token_ids + 1) * _GAMMA + keys[:, None]
    for shift, factor in ((30, _MIX_1), (27, _MIX_2)):
        bits.bitwise_xor_(_shifted(bits, shift)).mul_(factor)
    bits.bitwise_xor_(_shifted(bits, 31))
    # Small numbers become large noise: float32 is finest there, and the noise's upper tail, which
    # is what wins, keeps all its digits.
    tail = _shifted(bits, 64 - _BITS).float().add_(0.5).mul_(2.0**-_BITS).clamp_(max=1 - 2.0**-24)
    return tail.neg_().log1p_().neg_().log_().neg_()


def _shifted(bits: torch.Tensor, shift: int) -> torch.Tensor:
    """A shift to the right that fills with zeros, which int64 has not."""
    return (bits >> shift).bitwise_and_((1 << (64 - shift)) - 1)
