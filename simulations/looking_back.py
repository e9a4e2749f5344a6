"""What is known, as a replay goes on, of drafts from positions already passed.

A drafter that proposes token by token knows the text up to where it last read: before it drafts, or
when it catches up, it reads all that was verified; then its own draft tells of the tokens accepted
and of the first one rejected. A drafter that can be asked knows the text to its end. Live decoding
knows the same at the same time.
"""

import numpy as np

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec.runs import Runs, window_of
from adaptive_spec.traces.records import FlatTrace


class LookingBack:
    """Follows ``slots`` sequences at a time through a trace."""

    def __init__(self, flat: FlatTrace, slots: int, max_draft_tokens: int) -> None:
        """Sets up with nothing known."""
        self._flat = flat
        self._known = np.zeros((slots, len(flat.drafters)), np.int64)
        self._columns = np.arange(-window_of(max_draft_tokens), 0)

    def begin(self, slots: IntArray) -> None:
        """Other sequences take these slots."""
        self._known[slots] = 0

    def behind_tokens(self, slots: IntArray, sequence: IntArray, position: IntArray) -> IntArray:
        """Tokens that each drafter has not read and could, ``[B, D]``."""
        reach = np.minimum(position[:, None], self._flat.draftable_tokens[sequence])
        behind = np.maximum(reach - self._known[slots], 0)
        return np.where(self._flat.token_by_token, behind, 0)

    def runs(
        self,
        slots: IntArray,
        sequence: IntArray,
        position: IntArray,
        *,
        reads: BoolArray,
        judged: IntArray,
        emitted: IntArray,
    ) -> Runs:
        """What is known after a cycle of these slots.

        Args:
          slots: ``[B]``.
          sequence: ``[B]`` theirs.
          position: ``[B]`` where the cycle began.
          reads: ``[B, D]`` drafters that read the text up to there: to draft, or to catch up.
          judged: ``[B, D]`` tokens from there on of which drafting showed whether they agree.
          emitted: ``[B]``.
        """
        flat, end = self._flat, position + emitted
        reach = np.minimum(position[:, None], flat.draftable_tokens[sequence]) + judged
        known = np.where(reads, np.maximum(reach, self._known[slots]), self._known[slots])
        known = np.where(flat.token_by_token, known, end[:, None])
        self._known[slots] = known
        at = end[:, None] + self._columns
        token = flat.start[sequence][:, None] + np.maximum(at, 0)
        left = known[:, :, None] - at[:, None, :]
        there = (at >= 0)[:, None, :] & (left > 0)
        runs = np.moveaxis(flat.run_lengths[token], 2, 1)
        return Runs(
            end,
            known,
            np.where(there, np.minimum(runs, left), 0),
            np.moveaxis(flat.proposes[token], 2, 1) & there & self._within(sequence, at),
        )

    def _within(self, sequence: IntArray, at: IntArray) -> BoolArray:
        """Whether positions lie within each drafter's context, ``[B, D, W]``."""
        within: BoolArray = at[:, None, :] < self._flat.draftable_tokens[sequence][:, :, None]
        return within
