"""What the verified text says of drafts that could have begun anywhere in it.

Choosing tau hides nothing: the output does not depend on it, so once a stretch of text is verified,
it can be said of every position in it how a draft from there would have fared (full information
instead of a bandit's). A drafter that proposes token by token gives this almost for free: before it
drafts, it reads the verified text that it has not read, and says on the way what it would have
proposed. A prompt lookup is asked.
"""

from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, IntArray


def window_of(max_draft_tokens: int) -> int:
    """Positions that are looked back on: all that one more cycle can settle, and a pause's."""
    return 2 * max_draft_tokens + 32


class Runs(NamedTuple):
    """Drafts begun at the last ``W`` output positions of each row, as far as they are known.

    The drafts of ``D`` drafters are taken apart. The last column stands for the newest token.

    Attributes:
      end: ``[B]`` tokens emitted so far.
      known: ``[B, D]`` output positions, from the first, whose token is known to be what the
        drafter would have proposed, or not; ``<= end``.
      length: ``[B, D, W]`` run length from the position on, or what is known of it: tokens in a row
        that the drafter would have had right, none of them beyond ``known``.
      proposes: ``[B, D, W]`` whether the drafter would have proposed anything there.
    """

    end: IntArray
    known: IntArray
    length: IntArray
    proposes: BoolArray

    @property
    def position(self) -> IntArray:
        """``[B, W]`` output position of each column; below 0 where the output had not begun."""
        position: IntArray = self.end[:, None] + np.arange(-self.length.shape[2], 0)
        return position

    @property
    def seen(self) -> BoolArray:
        """``[B, D, W]`` whether anything is known of a draft from there."""
        position = self.position[:, None, :]
        seen: BoolArray = (position >= 0) & (position < self.known[:, :, None])
        return seen

    @property
    def ended(self) -> BoolArray:
        """``[B, D, W]`` whether the run's end was seen, or nothing would have been proposed."""
        end = self.position[:, None, :] + self.length
        ended: BoolArray = self.seen & (end < self.known[:, :, None])
        return ended


class KnownPositions:
    """Up to which output position it is known of each row's drafters what they would have proposed.

    A drafter that proposes token by token knows the text up to where it last read: it reads all
    that is verified before it drafts, and when it catches up; its draft then tells of the tokens
    accepted and of the first one rejected. One that can be asked knows the text to its end.
    """

    def __init__(self, token_by_token: BoolArray) -> None:
        """Sets up without rows; ``token_by_token`` is ``[D]``, by drafter."""
        self._known = np.zeros((0, token_by_token.size), np.int64)
        self._token_by_token = token_by_token

    def begin(self, rows: IntArray) -> None:
        """New sequences take these rows: nothing is known of them yet."""
        more = int(rows.max(initial=-1)) + 1 - self._known.shape[0]
        if more > 0:
            self._known = np.pad(self._known, ((0, more), (0, 0)))
        self._known[rows] = 0

    def behind_tokens(self, rows: IntArray, position: IntArray, reach: IntArray) -> IntArray:
        """Tokens that each drafter has not read and could, ``[B, D]``.

        Args:
          rows: ``[B]``.
          position: ``[B]`` tokens emitted.
          reach: ``[B, D]`` output positions within each drafter's context.
        """
        behind = np.minimum(position[:, None], reach) - self._known[rows]
        return np.where(self._token_by_token, np.maximum(behind, 0), 0)

    def after_cycle(
        self,
        rows: IntArray,
        position: IntArray,
        reach: IntArray,
        *,
        drafter: IntArray,
        catches_up: BoolArray,
        drafted: IntArray,
        accepted: IntArray,
        emitted: IntArray,
    ) -> IntArray:
        """Positions known after a cycle, ``[B, D]``.

        Args:
          rows: ``[B]``.
          position: ``[B]`` where the cycle began.
          reach: as above.
          drafter: ``[B]`` who drafted, where anything was.
          catches_up: ``[B, D]`` who read without drafting; that tells of the next token, too.
          drafted: ``[B]`` tokens drafted.
          accepted: ``[B]`` of these, emitted.
          emitted: ``[B]``.
        """
        number = np.arange(self._token_by_token.size)
        drafts = (number == drafter[:, None]) & (drafted > 0)[:, None]
        rejected = (accepted < drafted) & (accepted < emitted)
        judged = drafts * (accepted + rejected)[:, None] + catches_up
        read = np.minimum(np.minimum(position[:, None], reach) + judged, reach)
        before = self._known[rows]
        known = np.where(drafts | catches_up, np.maximum(read, before), before)
        known = np.where(self._token_by_token, known, (position + emitted)[:, None])
        self._known[rows] = known
        return known
