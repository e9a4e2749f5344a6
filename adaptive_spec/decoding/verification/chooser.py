"""How a drafter with logits chooses its tokens: by the rule that will verify them."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec.decoding.sampling import Contexts, Distribution, DraftDistributions
from adaptive_spec.decoding.verification.base import Choice, VerificationRule
from adaptive_spec.decoding.verification.greedy import GREEDY


@dataclass(frozen=True)
class Chooser:
    """A rule, and the noise of the sequences of a batch.

    Attributes:
      rule: chooses; ``seeds``: ``[B]`` of the sequences' noise; ``vocab_size``: of the verifier.
    """

    rule: VerificationRule
    seeds: npt.NDArray[np.uint64]
    vocab_size: int

    @staticmethod
    def greedy(batch_size: int) -> "Chooser":
        """Chooses the argmax for every row."""
        return Chooser(GREEDY, np.zeros(batch_size, np.uint64), 0)

    @property
    def reads_text(self) -> bool:
        """Whether ``choose`` must be given what was drafted before."""
        return self.rule.sampling.reads_text

    def take(self, rows: IntArray | Sequence[int]) -> "Chooser":
        """The chooser of some rows of the batch."""
        return dataclasses.replace(self, seeds=self.seeds[np.asarray(rows, np.int64)])

    def choose(
        self,
        logits: torch.Tensor,
        texts: Sequence[Sequence[int]],
        depth: int,
        drafted: torch.Tensor | None = None,
        token_ids: torch.Tensor | None = None,
    ) -> Choice:
        """The next token of each row.

        Args:
          logits: ``[B, C]`` of the drafter.
          texts: ``[B]`` verified text of each row.
          depth: tokens drafted after it so far.
          drafted: ``[B, depth]`` these tokens; may be left out unless ``reads_text``.
          token_ids: ``[C]`` tokens of the logits; None where logit i is token i.
        """
        batch = len(texts)
        contexts = Contexts(
            texts,
            self.seeds,
            np.arange(batch),
            np.full(batch, depth, np.int64),
            drafted,
            self.vocab_size,
            logits.device,
        )
        return self.rule.choose(logits, contexts, token_ids)


class DraftChoices:
    """What rows chose in one draft so far, and what they drew from; rows may drop out."""

    def __init__(self, chooser: Chooser, texts: Sequence[Sequence[int]], rows: IntArray) -> None:
        """Begins a draft of these rows of the batch, ascending.

        Args:
          chooser: of the whole batch, as are ``texts``.
          texts: verified text of each row.
          rows: those that draft.
        """
        self._chooser = chooser.take(rows)
        self._texts = [texts[row] for row in rows.tolist()]
        self._rows = rows
        self._depth = 0
        self._drafted: list[torch.Tensor] = []  # by depth, each [b]; where the rule reads them
        self._drew: list[tuple[IntArray, Distribution]] = []

    def choose(self, logits: torch.Tensor, token_ids: torch.Tensor | None = None) -> torch.Tensor:
        """The next token of each row that drafts, ``[b]``; -1 where the logits are no numbers.

        Args:
          logits: ``[b, C]``.
          token_ids: ``[C]`` tokens of the logits; None where logit i is token i.
        """
        drafted = torch.stack(self._drafted, dim=1) if self._drafted else None
        choice = self._chooser.choose(logits, self._texts, self._depth, drafted, token_ids)
        if choice.drawn_from is not None:
            self._drew.append((self._rows, choice.drawn_from))
        if self._chooser.reads_text:
            self._drafted.append(choice.token_ids.clamp(min=0))
        self._depth += 1
        return choice.token_ids

    def keep(self, going_on: BoolArray, index: torch.Tensor) -> None:
        """Goes on with some of the rows: a mask ``[b]``, and the same as indices on the device."""
        kept = np.flatnonzero(going_on)
        self._chooser = self._chooser.take(kept)
        self._texts = [self._texts[i] for i in kept.tolist()]
        self._rows = self._rows[kept]
        self._drafted = [column.index_select(0, index) for column in self._drafted]

    def drawn_from(self) -> tuple[DraftDistributions, ...]:
        """What the tokens were drawn from; nothing where the rule need not know."""
        return (DraftDistributions.of_steps(self._drew),) if self._drew else ()
