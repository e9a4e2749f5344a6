"""The interface of a drafter: proposes tokens that the verifier then checks."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec._rows import UNLIMITED_TOKENS
from adaptive_spec._specs import short_names
from adaptive_spec.decoding.draft import Draft
from adaptive_spec.decoding.verification import Chooser
from adaptive_spec.policy import DraftSignals
from adaptive_spec.traces.records import Drafting

KeepDrafting: TypeAlias = Callable[[int, DraftSignals], BoolArray]
"""Called with depth and signals ``[B, depth]``; tells which rows draft on, ``[B]``."""


@dataclass(frozen=True)
class DraftRequest:
    """What a drafter is asked for in one cycle.

    Attributes:
      rows: ``[B]`` distinct, ascending.
      texts: ``[B]`` prompt and verified output so far; extends what the row was shown before.
      tau: ``[B]`` most tokens to propose, >= 0; rows with 0 are left alone.
      keep_drafting: asked after 1, 2... tokens which rows draft on; None to draft tau tokens.
      want_signals: whether to return signals; ``want_confidence``: at least top-1 probabilities.
      chooser: how rows choose tokens from logits, for drafters that have some; None for the argmax.
      catch_up: ``[B, D]`` drafters that are to read the text without drafting; None for nobody.
      looks_back: whether ``run_lengths`` will be asked for.
    """

    rows: Sequence[int]
    texts: Sequence[Sequence[int]]
    tau: IntArray
    keep_drafting: KeepDrafting | None = None
    want_signals: bool = False
    want_confidence: bool = False
    chooser: Chooser | None = None
    catch_up: BoolArray | None = None
    looks_back: bool = False

    @property
    def depth(self) -> int:
        """Most tokens that any row is to propose."""
        return int(self.tau.max(initial=0))

    @property
    def needs_signals(self) -> bool:
        """Whether signals must be made: to be returned, or to be shown to ``keep_drafting``."""
        return self.want_signals or self.keep_drafting is not None

    @property
    def needs_confidence(self) -> bool:
        """Whether top-1 probabilities must be made, alone or among other signals."""
        return self.want_confidence or self.needs_signals


class Drafter(abc.ABC):
    """Proposes tokens for rows, each of which follows one sequence.

    Attributes:
      spec: text that builds the drafter again.
      drafting: "token" for one that proposes token by token from the text and its own proposals,
        "block" for one whose proposal depends on where it started.
      context_limit: most tokens, prompt included, that a row may hold; None for no limit.
      signals: names of the signals that it gives, out of those of ``DraftSignals``.
    """

    spec: str
    drafting: Drafting
    context_limit: int | None
    signals: tuple[str, ...]

    @property
    def components(self) -> "tuple[Drafter, ...]":
        """The ``D`` drafters that a policy may choose between: itself, or a composition's."""
        return (self,)

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called in cycles, costs and tables."""
        return short_names([component.spec for component in self.components])

    def room(self, text: Sequence[int]) -> int:
        """Most tokens that could be proposed to follow a text: what the context leaves, >= 0."""
        if self.context_limit is None:
            return UNLIMITED_TOKENS
        return max(self.context_limit - len(text), 0)

    def has_room(self, text: Sequence[int]) -> bool:
        """Whether anything at all could be proposed to follow a text."""
        return self.room(text) > 0

    @abc.abstractmethod
    def begin(self, row: int, prompt_ids: Sequence[int]) -> None:
        """Prepares a row for a sequence that begins with this prompt.

        Only where there is room after the prompt. What the row followed before is forgotten, be it
        ended or not.
        """

    def begin_rows(self, rows: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
        """Prepares several rows; drafters that can, read their prompts together.

        Args:
          rows: ``[b]`` distinct, ascending.
          prompts: ``[b]`` prompts, at least one token each.
        """
        for row, prompt_ids in zip(rows, prompts, strict=True):
            self.begin(row, prompt_ids)

    def available(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> BoolArray:
        """Which drafters would propose something to follow each text, ``[B, D]``.

        Rows and texts are as in ``DraftRequest``.
        """
        return np.array([[self.has_room(text)] for text in texts], np.bool_)

    def match_length(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> FloatArray:
        """Tokens of context that a lookup matches behind each text, ``[B, D]``; NaN for nothing.

        Rows and texts are as in ``DraftRequest``.
        """
        del texts
        return np.full((len(rows), 1), np.nan)

    @abc.abstractmethod
    def propose(self, asked: DraftRequest) -> Draft:
        """Proposes tokens to follow each text.

        Raises:
          NumericsError: logits that are not numbers.
        """

    def propose_by(self, drafter: IntArray, asked: DraftRequest) -> Draft:
        """As ``propose``, by the drafter chosen for each row; a single one has no choice.

        ``drafter`` is ``[B]``, index into ``names`` of one that is available; -1 where none is.
        """
        del drafter
        return self.propose(asked)

    def run_lengths(
        self, row: int, text: Sequence[int], prompt_tokens: int, first: int
    ) -> tuple[IntArray, BoolArray]:
        """How drafts begun at past output positions would have fared; unless overridden, no answer.

        A composition's drafters are asked one by one.

        Args:
          row: its row.
          text: prompt and verified output so far.
          prompt_tokens: length of the prompt.
          first: output position to begin with.

        Returns:
          From ``first`` on, as far as is known, run lengths within what is known; and whether
          anything would have been proposed.
        """
        del row, text, prompt_tokens, first
        return np.zeros(0, np.int64), np.zeros(0, np.bool_)

    @abc.abstractmethod
    def end(self, row: int) -> None:
        """Frees a row, and forgets what it saw; harmless where it was never begun."""


def empty_signals(batch_size: int, depth: int) -> DraftSignals:
    """Signals ``[batch_size, depth]`` of which nothing is known yet."""

    def unknown() -> FloatArray:
        return np.full((batch_size, depth), np.nan)

    return DraftSignals(unknown(), unknown(), unknown(), unknown())


def first_columns(signals: DraftSignals, depth: int) -> DraftSignals:
    """Signals of the first ``depth`` tokens."""
    return DraftSignals(*(array[:, :depth] for array in signals))


def block_draft(drafted: list[list[int]], signals: DraftSignals, asked: DraftRequest) -> Draft:
    """A draft of whole blocks ``[B]``, cut where their rows are told to stop.

    Signals beyond the cuts become NaN, in place; they are left out where nobody asked for them.
    """
    if asked.keep_drafting is not None:
        drafted = _cut(drafted, signals, asked.keep_drafting)
    return Draft(drafted, signals if asked.needs_signals else None)


def _cut(
    drafted: list[list[int]], signals: DraftSignals, keep_drafting: KeepDrafting
) -> list[list[int]]:
    lengths = np.array([len(block) for block in drafted], np.int64)
    for step in range(1, int(lengths.max(initial=0))):
        going_on = lengths > step
        if not going_on.any():
            break
        stopped = going_on & ~keep_drafting(step, first_columns(signals, step))
        lengths[stopped] = step
        for column in signals:
            column[stopped, step:] = np.nan
    return [block[:length] for block, length in zip(drafted, lengths.tolist(), strict=True)]
