"""The interface of a forward pass over rows of a KV cache."""

import abc
from dataclasses import dataclass
from functools import cached_property

import torch

from adaptive_spec.decoding.kv_cache import KVCache
from adaptive_spec.decoding.transfer import to_device


@dataclass(frozen=True)
class Pass:
    """One pass: ``width`` new tokens per row, of which each row owns the first few.

    Attributes:
      ids: ``[b, width]`` tokens, padded on the right with any token.
      starts: ``[b]`` tokens that each row's cache holds before the pass.
      widths: ``[b]`` tokens that each row owns, the largest of them ``width``.
    """

    ids: torch.Tensor
    starts: list[int]
    widths: list[int]

    @cached_property
    def positions(self) -> torch.Tensor:
        """Positions of the tokens, ``[b, width]``.

        Padding repeats its row's last position: it stays within the position table.
        """
        width = self.ids.shape[1]
        return to_device(
            [
                [start + min(i, own - 1) for i in range(width)]
                for start, own in zip(self.starts, self.widths, strict=True)
            ],
            self.ids.device,
        )

    @property
    def reach(self) -> int:
        """Entries of the cache that the pass may look at."""
        return max(self.starts) + self.ids.shape[1]

    @property
    def sees_all(self) -> bool:
        """Whether every token sees every entry up to the reach, so that no mask is needed."""
        return self.ids.shape[1] == 1 and min(self.starts) == max(self.starts)

    def visible(self) -> torch.Tensor:
        """Which entries each token sees, ``[b, width, reach]``: those up to its position."""
        return torch.arange(self.reach, device=self.ids.device) <= self.positions[..., None]


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
