"""The interface of a forward pass over rows of a KV cache."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from adaptive_spec.decoding.kv_cache import KVCache
from adaptive_spec.decoding.transfer import to_device


@dataclass(frozen=True)
class Pass:
    """One pass: ``width`` new tokens per row, of which each row owns the first few.

    Attributes:
      ids: ``[b, width]`` tokens, padded on the right with any token.
      positions: ``[b, width]`` of the tokens; each sees the cache's entries up to its own.
      reach: entries of the cache that the pass may look at.
      sees_all: whether every token sees every entry up to the reach, so that no mask is needed.
      is_single: whether there is one row, whose tokens end at the reach: plain causal attention.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    reach: int
    sees_all: bool = False
    is_single: bool = False

    @staticmethod
    def ragged(ids: torch.Tensor, starts: Sequence[int], widths: Sequence[int]) -> "Pass":
        """A pass of rows that hold ``starts`` ``[b]`` tokens and own ``widths`` ``[b]`` of ``ids``.

        Positions of padding repeat the row's last: they stay within the position table.
        """
        width = ids.shape[1]
        return Pass(
            ids,
            to_device(padded_positions(starts, widths, width), ids.device),
            max(starts) + width,
            sees_all=width == 1 and min(starts) == max(starts),
            is_single=len(starts) == 1,
        )

    def visible(self) -> torch.Tensor:
        """Which entries each token sees, ``[b, width, reach]``: those up to its position."""
        return torch.arange(self.reach, device=self.ids.device) <= self.positions[..., None]


def padded_positions(starts: Sequence[int], widths: Sequence[int], width: int) -> list[list[int]]:
    """Positions ``[b, width]`` of rows' own tokens, the last one repeated; >= 0."""
    return [
        [max(start + min(i, own - 1), 0) for i in range(width)]
        for start, own in zip(starts, widths, strict=True)
    ]


class Forward(abc.ABC):
    """Runs a model's passes. The cache has been told rows and widths (``KVCache.writing``)."""

    @abc.abstractmethod
    def fill(self, tokens: Pass, cache: KVCache) -> None:
        """Writes the tokens' keys and values; computes no logits."""

    @abc.abstractmethod
    def logits(
        self, tokens: Pass, cache: KVCache, wanted: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Writes the tokens' keys and values, and tells what follows them.

        Args:
          tokens: the pass.
          cache: where keys and values live.
          wanted: ``[b, 1]`` the one column of each row whose logits are wanted; None for all.

        Returns:
          ``[b, width, V]``, meaningless beyond a row's own tokens; ``[b, 1, V]`` where ``wanted``.
        """
