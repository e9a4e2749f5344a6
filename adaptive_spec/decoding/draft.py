"""What a drafter proposed: tokens that stay on the device until verification reads them.

Drafting and verification of a cycle thereby share one read from the device. How many tokens a row
proposes is known on the host without one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adaptive_spec._arrays import IntArray
from adaptive_spec.decoding import transfer
from adaptive_spec.decoding.sampling import DraftDistributions
from adaptive_spec.decoding.token_signals import NAMES
from adaptive_spec.errors import NumericsError
from adaptive_spec.policy import DraftSignals


@dataclass(frozen=True)
class Unread:
    """Proposals of some rows that the host has not seen.

    Attributes:
      rows: ``[S]`` rows of the batch; ``counts``: ``[S]`` tokens that each of them proposes.
      tokens: ``[S, depth]`` on the device, meaningless beyond a row's count; -1 where the drafter's
        logits were no numbers.
      signals: ``[S, depth, k]`` of these tokens, the first ``k`` columns of ``token_signals``; None
        where not asked for.
    """

    rows: IntArray
    counts: IntArray
    tokens: torch.Tensor
    signals: torch.Tensor | None = None

    @property
    def packed(self) -> torch.Tensor:
        """What is to be read, as integers ``[n]``: tokens, then signals."""
        if self.signals is None:
            return self.tokens.reshape(-1)
        signals = transfer.as_integers(self.signals)
        return torch.cat([self.tokens.reshape(-1), signals.reshape(-1)])


@dataclass(frozen=True)
class Aside:
    """Tokens that a drafter wants to see, which nobody verifies.

    Attributes:
      tokens: ``[n]`` on the device; -1 where the drafter's logits were no numbers.
      into: lists that take them in turn, empty until they are read; ``counts``: tokens for each.
    """

    tokens: torch.Tensor
    into: tuple[list[int], ...]
    counts: tuple[int, ...]

    @property
    def packed(self) -> torch.Tensor:
        """What is to be read, ``[n]``."""
        return self.tokens

    def fill(self, tokens: npt.NDArray[Any]) -> None:
        """Hands out the tokens, ``[n]`` on the host."""
        refuse_broken(tokens)
        ends = np.cumsum(self.counts)[:-1]
        for target, own in zip(self.into, np.split(tokens, ends), strict=True):
            target[:] = own.tolist()


@dataclass(frozen=True)
class Draft:
    """Proposals for a batch.

    Attributes:
      token_ids: ``[B]`` lists, each at most tau long. Those of rows in ``unread`` are empty until
        ``read`` or ``read_with`` fills them, in place: whoever holds such a list sees its tokens
        then.
      signals: ``[B, depth]``, NaN beyond a row's proposals, and filled together with its tokens;
        None where not asked for.
      drawn_from: what proposals were drawn from, where the rule must know.
      unread: what is on the device alone, each of other rows.
      aside: what drafters want to see when the proposals are read.
    """

    token_ids: Sequence[list[int]]
    signals: DraftSignals | None = None
    drawn_from: tuple[DraftDistributions, ...] = ()
    unread: tuple[Unread, ...] = ()
    aside: tuple[Aside, ...] = ()
    num_tokens: IntArray = field(init=False)
    """``[B]`` tokens proposed."""

    def __post_init__(self) -> None:
        num_tokens = np.array([len(tokens) for tokens in self.token_ids], np.int64)
        for part in self.unread:
            num_tokens[part.rows] = part.counts
        object.__setattr__(self, "num_tokens", num_tokens)

    @property
    def _on_device(self) -> tuple[Unread | Aside, ...]:
        return (*self.unread, *self.aside)

    @staticmethod
    def none(batch_size: int) -> "Draft":
        """No proposal for any row."""
        return Draft([[] for _ in range(batch_size)])

    def on_device(self, device: torch.device, depth: int | None = None) -> torch.Tensor:
        """The tokens on a device, ``[B, depth]``, without reading any; 0 beyond a row's proposals.

        Args:
          device: the verifier's.
          depth: columns, at least ``num_tokens.max()``; None for as many.
        """
        if depth is None:
            depth = int(self.num_tokens.max(initial=0))
        padded = np.zeros((len(self.token_ids), depth), np.int64)
        for i, tokens in enumerate(self.token_ids):
            padded[i, : len(tokens)] = tokens
        whole = transfer.array_to_device(padded, device)
        for part in self.unread:
            column = np.arange(part.tokens.shape[1])
            own = transfer.array_to_device(column < part.counts[:, None], device)
            drafted = part.tokens.to(device, non_blocking=True).clamp(min=0) * own
            rows = transfer.array_to_device(part.rows, device)
            whole[:, : column.size].index_copy_(0, rows, drafted)
        return whole

    def read(self) -> "Draft":
        """The same with all tokens on the host; one read where some are not.

        Raises:
          NumericsError: the drafter's logits were no numbers.
        """
        if not self._on_device:
            return self
        self.read_with(self._on_device[0].tokens[:0])
        return Draft(self.token_ids, self.signals, self.drawn_from)

    def read_with(self, values: torch.Tensor) -> npt.NDArray[Any]:
        """These int64 values on the host, and with them, in the same read, the tokens.

        Raises:
          NumericsError: the drafter's logits were no numbers.
        """
        if not self._on_device:
            return transfer.to_host(values)
        parts = [values, *(part.packed.to(values.device) for part in self._on_device)]
        ends = np.cumsum([part.numel() for part in parts])[:-1]
        flat = transfer.to_host(torch.cat([part.reshape(-1) for part in parts]))
        found, *read = np.split(flat, ends)
        for part, packed in zip(self._on_device, read, strict=True):
            if isinstance(part, Aside):
                part.fill(packed)
            else:
                self._fill(part, packed)
        return found.reshape(values.shape)

    def _fill(self, part: Unread, packed: npt.NDArray[Any]) -> None:
        flat, numbers = np.split(packed, [part.tokens.numel()])
        tokens = flat.reshape(part.tokens.shape)
        own = np.arange(tokens.shape[1]) < part.counts[:, None]
        refuse_broken(tokens[own])
        if part.signals is not None:
            assert self.signals is not None
            said = transfer.from_integers(numbers).reshape(part.signals.shape)
            for i, name in enumerate(NAMES[: said.shape[-1]]):
                known = np.where(own, said[:, :, i], np.nan)
                getattr(self.signals, name)[part.rows, : tokens.shape[1]] = known
        for row, count, own in zip(
            part.rows.tolist(), part.counts.tolist(), tokens.tolist(), strict=True
        ):
            self.token_ids[row][:] = own[:count]


def refuse_broken(tokens: npt.NDArray[Any]) -> None:
    """Raises NumericsError if a drafter's token is -1: its logits were no numbers."""
    if (tokens < 0).any():
        raise NumericsError(
            "the draft model's logits are not finite; a lower-precision dtype may have "
            "overflowed: load the model in float32 or bfloat16"
        )
