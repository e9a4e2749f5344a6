"""Acceptance at each depth of a draft, from counts that engines keep.

A token at depth k (the first is 1) is *judged* if those before it were accepted and it was drafted.
The share of judged tokens that were accepted, depth by depth, is the product-limit estimate of what
drafts of any length would do (Kaplan and Meier, JASA 1958): a draft that was accepted whole says
nothing of the depths beyond it, which is not the same as a rejection.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.errors import TraceError


@dataclass(frozen=True, eq=False)
class Acceptance:
    """Counts by depth; ``K`` depths, up to the longest draft that was seen.

    Where drafts had different lengths and only totals are known, so are the tokens judged within
    limits only.

    Attributes:
      accepted: ``[K]`` tokens accepted at each depth, never rising.
      judged_least: ``[K]`` tokens judged, at least, ``>= accepted``.
      judged_most: ``[K]`` tokens judged, at most; equal to ``judged_least`` where that is known.
    """

    accepted: IntArray
    judged_least: IntArray
    judged_most: IntArray

    @property
    def longest_draft(self) -> int:
        """The deepest token of which anything is known, >= 0."""
        return int(np.count_nonzero(self.judged_most))

    @property
    def is_certain(self) -> bool:
        """Whether it is known of every token whether it was judged."""
        return bool((self.judged_least == self.judged_most).all())

    def survival(self, *, most: bool = False) -> FloatArray:
        """Chance that the first 0, 1, ... tokens of a draft all are accepted, ``[longest + 1]``.

        Args:
          most: the largest that the counts allow; otherwise the least.
        """
        depths = slice(self.longest_draft)
        judged = (self.judged_least if most else self.judged_most)[depths]
        share = np.where(judged > 0, self.accepted[depths] / np.maximum(judged, 1), 1.0)
        return np.concatenate(([1.0], np.cumprod(share)))

    @property
    def hazards(self) -> tuple[float, ...]:
        """Chance at each depth that a judged token is rejected, at most, ``longest_draft`` long."""
        depths = slice(self.longest_draft)
        shares = self.accepted[depths] / self.judged_most[depths]
        return tuple((1.0 - shares).tolist())

    @staticmethod
    def of_drafts(drafted: IntArray, accepted: IntArray) -> "Acceptance":
        """Counts of drafts one by one: their lengths, and the tokens accepted of each, ``[n]``."""
        depths = int(drafted.max(initial=0))
        reached = _at_least(np.bincount(accepted, minlength=depths + 1))
        judged = _at_least(np.bincount(np.minimum(accepted + 1, drafted), minlength=depths + 1))
        return Acceptance(reached[1:], judged[1:], judged[1:])

    @staticmethod
    def of_totals(drafts: int, accepted: IntArray, num_draft_tokens: int) -> "Acceptance":
        """Counts of drafts of which only totals are known.

        Drafts that were shorter than the longest lack ``missing = K * drafts - num_draft_tokens``
        tokens in all. One that ended before depth k lacks ``K - k + 1`` or more, so that there are
        ``missing / (K - k + 1)`` of these at most.

        Args:
          drafts: how many, >= 0.
          accepted: ``[K]`` of these, how many had their first, second... token accepted.
          num_draft_tokens: tokens drafted in all.

        Raises:
          TraceError: counts that no drafts can have.
        """
        before = np.concatenate(([drafts], accepted))[:-1]
        if (accepted > before).any():
            depth = int((accepted > before).argmax())
            raise TraceError(
                f"{accepted[depth]} drafts had token {depth + 1} accepted, and only "
                f"{before[depth]} the one before it; counts must not rise with the depth"
            )
        missing = max(accepted.size * drafts - num_draft_tokens, 0)
        ended = missing // (accepted.size - np.arange(accepted.size))
        return Acceptance(accepted, np.maximum(before - ended, accepted), before)

    @staticmethod
    def of_histogram(histogram: IntArray, num_draft_tokens: int) -> "Acceptance":
        """Counts from how many drafts had 0, 1, ... tokens accepted, ``[K + 1]``.

        Args:
          histogram: by accepted tokens.
          num_draft_tokens: tokens drafted in all.

        Raises:
          TraceError: fewer drafted than accepted, or more than ``K`` each.
        """
        reached = _at_least(histogram)
        drafts, longest = int(reached[0]), histogram.size - 1
        least, most = int(reached[1:].sum()), longest * drafts
        if not least <= num_draft_tokens <= most:
            raise TraceError(
                f"{drafts} drafts with these accepted tokens have {least} to {most} tokens"
            )
        return Acceptance.of_totals(drafts, reached[1:], num_draft_tokens)

    @staticmethod
    def sum(parts: Sequence["Acceptance"]) -> "Acceptance":
        """Counts of several taken together, whatever their longest drafts."""
        depths = max((part.accepted.size for part in parts), default=0)
        total = np.zeros((3, depths), np.int64)
        for part in parts:
            counts = np.stack([part.accepted, part.judged_least, part.judged_most])
            total[:, : counts.shape[1]] += counts
        return Acceptance(*total)


def _at_least(counts: IntArray) -> IntArray:
    """How many have each value or more, from how many have it."""
    tails: IntArray = counts[::-1].cumsum()[::-1]
    return tails
