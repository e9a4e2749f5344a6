"""The interface between a policy and what drafts inside transformers' ``generate``."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.policy import DraftSignals
from adaptive_spec.traces.records import Drafting

KeepDrafting: TypeAlias = Callable[[int, DraftSignals], bool]
"""Called with depth and signals ``[1, depth]``; tells whether to draft on."""


@dataclass(frozen=True)
class Proposal:
    """What was drafted for one sequence.

    Attributes:
      ids: ``[1, length + n]`` the text and the ``n`` drafted tokens.
      token_ids: the drafted tokens.
      logits: ``[1, n, V]`` processed logits that they were drawn from; None where there are none.
      signals: ``[1, n]``; None where nobody looked at them.
    """

    ids: torch.Tensor
    token_ids: list[int]
    logits: torch.Tensor | None = None
    signals: DraftSignals | None = None


class DraftSource(abc.ABC):
    """Drafts for one call of ``generate``, by a candidate generator of transformers' own.

    Attributes:
      name: what costs call this drafter; ``drafting``: as for any drafter.
      signals: names of what it says of its tokens, out of those of ``DraftSignals``.
      static_tau: tokens that it drafts where no policy decides: transformers' own setting.
      reads_back: whether ``run_lengths`` tells how drafts from earlier positions would have fared.
    """

    name: str
    drafting: Drafting
    signals: tuple[str, ...]
    static_tau: int
    reads_back: bool

    @property
    def components(self) -> "tuple[DraftSource, ...]":
        """Itself: there is one drafter to a call."""
        return (self,)

    @abc.abstractmethod
    def room(self, text: Sequence[int]) -> int:
        """Most tokens that could be proposed to follow a text: what the context leaves, >= 0."""

    @abc.abstractmethod
    def look(self, ids: torch.Tensor, most: int) -> bool:
        """Whether anything would be proposed to follow the text, of ``most`` tokens at most."""

    def match_length(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> FloatArray:
        """As ``Drafter.match_length``; asked only where a policy takes hints."""
        return np.full((len(rows), 1), np.nan)

    @abc.abstractmethod
    def draft(
        self, ids: torch.Tensor, text: list[int], tau: int, keep_drafting: KeepDrafting | None
    ) -> Proposal:
        """Drafts.

        Args:
          ids: ``[1, length]`` prompt and verified output.
          text: the same on the host; may be empty unless ``reads_back``.
          tau: most tokens, >= 1.
          keep_drafting: asked after 1, 2... tokens whether to draft on; None where nobody looks
            inside the draft, or it says nothing.
        """

    @abc.abstractmethod
    def rest(self, ids: torch.Tensor) -> None:
        """Told in place of ``draft`` where a cycle is to draft nothing."""

    @abc.abstractmethod
    def run_lengths(
        self, row: int, text: Sequence[int], prompt_tokens: int, first: int
    ) -> tuple[IntArray, BoolArray]:
        """As ``Drafter.run_lengths``; asked only if ``reads_back``."""


def greedy_as_is(generation_config: Any, logits_processor: Any) -> bool:
    """Whether tokens are the argmax of the model's own logits: then texts don't depend on tau."""
    return not generation_config.do_sample and len(logits_processor) == 0
