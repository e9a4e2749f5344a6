"""What is known, before a draft starts, of how it may fare.

All of it falls out of what a cycle does anyway: the verifier's pass showed how sure it was of the
newest token, the drafter said how sure it was when it last drafted, and a prompt lookup is asked
what it matches.
"""

from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray


class Certainty(NamedTuple):
    """How sure the verifier was of tokens that it chose; NaN where that is not known.

    Sampling parameters and noise do not enter: the numbers are of the model's own logits.

    Attributes:
      entropy: of its distribution in nats, >= 0.
      margin: top-1 minus top-2 logit, >= 0.
    """

    entropy: FloatArray
    margin: FloatArray

    @staticmethod
    def unknown(count: int) -> "Certainty":
        """Of so many tokens, of which nothing is known."""
        return Certainty(np.full(count, np.nan), np.full(count, np.nan))


class Hints(NamedTuple):
    """What is known of ``B`` sequences and ``D`` drafters before they draft; NaN for not known.

    Attributes:
      verifier_entropy: ``[B]`` entropy, in nats, of the verifier's distribution from which the
        newest token was chosen, >= 0; NaN before the first output token.
      verifier_margin: ``[B]`` its top-1 minus top-2 logit, >= 0.
      match_length: ``[B, D]`` tokens of context that a prompt lookup matches now, >= 1; NaN where
        there is no match, and for other drafters.
      draft_probability: ``[B, D]`` the drafter's top-1 probability, in [0, 1], at the newest token
        that it drafted for and that is verified since: the first of its draft that was refused, or
        else the last. NaN before it drafted, and for drafters that propose blocks.
    """

    verifier_entropy: FloatArray
    verifier_margin: FloatArray
    match_length: FloatArray
    draft_probability: FloatArray

    @staticmethod
    def unknown(num_sequences: int, num_drafters: int) -> "Hints":
        """Nothing is known."""
        shape = num_sequences, num_drafters
        return Hints(
            *Certainty.unknown(num_sequences), np.full(shape, np.nan), np.full(shape, np.nan)
        )


def newest_judged(drafted: IntArray, emitted: IntArray) -> IntArray:
    """Index of the last token of each draft at whose place one was emitted, ``[B]``; 0 for none."""
    judged: IntArray = np.maximum(np.minimum(drafted, emitted) - 1, 0)
    return judged


class LastConfidence:
    """The last ``draft_probability`` of every drafter in every row, in live decoding and replay."""

    def __init__(self, num_drafters: int) -> None:
        """Sets up without rows."""
        self._last = np.zeros((0, num_drafters))

    def begin(self, rows: IntArray) -> None:
        """New sequences take these rows: nobody has drafted for them."""
        more = int(rows.max(initial=-1)) + 1 - self._last.shape[0]
        if more > 0:
            self._last = np.pad(self._last, ((0, more), (0, 0)))
        self._last[rows] = np.nan

    def at(self, rows: IntArray) -> FloatArray:
        """``[B, D]``."""
        last: FloatArray = self._last[rows]
        return last

    def after_cycle(
        self, rows: IntArray, drafter: IntArray, drafts: BoolArray, probability: FloatArray
    ) -> None:
        """Takes what drafters said in a cycle.

        Args:
          rows: ``[B]``.
          drafter: ``[B]`` who drafted, where anyone did.
          drafts: ``[B]`` whether anyone did.
          probability: ``[B]`` of the token at ``newest_judged``.
        """
        self._last[rows[drafts], drafter[drafts]] = probability[drafts]
