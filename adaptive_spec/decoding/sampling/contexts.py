"""Where tokens are chosen: after which text, in which sequence, at which position."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adaptive_spec._arrays import IntArray
from adaptive_spec.decoding import transfer
from adaptive_spec.decoding.sampling.noise import Purpose, device_keys
from adaptive_spec.randomness import key_uniform, keyed


@dataclass(frozen=True)
class Contexts:
    """``n`` places at which a token is chosen, in ``B`` texts that drafted tokens go on.

    Attributes:
      texts: ``[B]`` verified text, prompt included, at least one token each.
      seeds: ``[B]`` of the sequences' noise.
      rows: ``[n]`` the text of each place; ``counts``: ``[n]`` drafted tokens before it.
      drafted: ``[B, m]`` tokens on the device, m >= all counts; None where nobody reads the text.
      vocab_size: of the verifier.
      device: of the logits.
    """

    texts: Sequence[Sequence[int]]
    seeds: npt.NDArray[np.uint64]
    rows: IntArray
    counts: IntArray
    drafted: torch.Tensor | None
    vocab_size: int
    device: torch.device

    @functools.cached_property
    def _starts(self) -> IntArray:
        return np.array([len(text) for text in self.texts], np.int64)[self.rows]

    def host_keys(self, purpose: Purpose) -> npt.NDArray[np.uint64]:
        """Keys of each place's noise, ``[n]``, by sequence, position in the text and purpose.

        Noise for drafting depends on where drafting began, too: the draft of a position may have
        been seen before, and been dropped, and whoever chose tau by what it saw must not know the
        next draw.
        """
        began = (self._starts,) if purpose is Purpose.DRAFT else ()
        positions = self._starts + self.counts
        return keyed(self.seeds[self.rows], positions, int(purpose), *began)

    def keys(self, purpose: Purpose) -> torch.Tensor:
        """``host_keys`` on the device."""
        return device_keys(self.host_keys(purpose), self.device)

    def uniforms(self, purpose: Purpose) -> torch.Tensor:
        """A number in (0, 1) for each place, ``[n]``, float32."""
        numbers = key_uniform(self.host_keys(purpose)).astype(np.float32)
        return transfer.array_to_device(numbers, self.device)

    def padded_ids(self) -> torch.Tensor:
        """The tokens before each place, ``[n, L]``, in order but for repeats of some at the end.

        For those who ask which tokens occur, not how often.
        """
        longest = max(len(text) for text in self.texts)
        padded = [[*text, *[text[-1]] * (longest - len(text))] for text in self.texts]
        rows = transfer.to_device(self.rows.tolist(), self.device)
        ids = transfer.to_device(padded, self.device).index_select(0, rows)
        if self.drafted is None or self.drafted.shape[1] == 0:
            return ids
        counts = transfer.to_device(self.counts.tolist(), self.device)
        column = torch.arange(self.drafted.shape[1], device=self.device)
        drafted = self.drafted.index_select(0, rows)
        return torch.cat([ids, torch.where(column < counts[:, None], drafted, ids[:, :1])], dim=1)

    def exact_ids(self, place: int) -> torch.Tensor:
        """The tokens before one place, ``[1, L]``."""
        row, count = int(self.rows[place]), int(self.counts[place])
        ids = transfer.to_device([list(self.texts[row])], self.device)
        if count == 0:
            return ids
        assert self.drafted is not None
        return torch.cat([ids, self.drafted[row : row + 1, :count]], dim=1)

    @staticmethod
    def along_blocks(
        texts: Sequence[Sequence[int]],
        seeds: npt.NDArray[np.uint64],
        drafted: torch.Tensor,
        vocab_size: int,
    ) -> "Contexts":
        """The places that one pass over blocks shows: after each text and 0 ... width - 1 tokens.

        ``drafted`` is ``[B, width - 1]``, tokens 0 beyond a row's draft. Place ``i * width + j``
        comes after ``j`` of row i's; where j is more than its draft, it is meaningless.
        """
        batch, width = drafted.shape[0], drafted.shape[1] + 1
        return Contexts(
            texts,
            seeds,
            np.repeat(np.arange(batch), width),
            np.tile(np.arange(width), batch),
            drafted,
            vocab_size,
            drafted.device,
        )
