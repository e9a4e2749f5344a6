"""What a policy is shown before a draft starts, of a trace that is replayed."""

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.hints import Hints, LastConfidence, newest_judged
from adaptive_spec.traces.flat import FlatTrace


class ReplayedHints:
    """Follows the rows of a replay whose policy takes hints."""

    def __init__(self, flat: FlatTrace) -> None:
        """Sets up without rows."""
        self._flat = flat
        self._confidence = LastConfidence(len(flat.drafters))

    def begin(self, rows: IntArray) -> None:
        """New sequences take these rows."""
        self._confidence.begin(rows)

    def now(self, rows: IntArray, sequence: IntArray, position: IntArray) -> Hints:
        """Hints for drafting in these rows ``[B]``, which are at these positions ``[B]``."""
        flat, token = self._flat, self._flat.start[sequence] + position
        entropy, margin = (
            np.where(position > 0, known[np.maximum(token - 1, 0)], np.nan)
            for known in flat.certainty
        )
        return Hints(entropy, margin, flat.match_length[token], self._confidence.at(rows))

    def after_cycle(
        self,
        rows: IntArray,
        sequence: IntArray,
        position: IntArray,
        *,
        drafter: IntArray,
        drafted: IntArray,
        emitted: IntArray,
    ) -> None:
        """Takes what the drafters of a cycle said; ``[B]`` each."""
        newest = self._flat.start[sequence] + position + newest_judged(drafted, emitted)
        said = self._flat.top1_probability[newest, drafter]
        self._confidence.after_cycle(rows, drafter, drafted > 0, said)
