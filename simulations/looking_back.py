"""What is known, as a replay goes on, of drafts from positions already passed."""

import numpy as np

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec.runs import Runs, window_of
from adaptive_spec.traces.flat import FlatTrace


def runs_of(
    flat: FlatTrace, sequence: IntArray, end: IntArray, known: IntArray, max_draft_tokens: int
) -> Runs:
    """Drafts begun at the last positions before ``end``, as far as they are known.

    Args:
      flat: the trace.
      sequence: ``[B]`` index in it.
      end: ``[B]`` tokens emitted.
      known: ``[B, D]`` positions known of each drafter.
      max_draft_tokens: K, which says how far to look back.
    """
    at = end[:, None] + np.arange(-window_of(max_draft_tokens), 0)
    token = flat.start[sequence][:, None] + np.maximum(at, 0)
    left = known[:, :, None] - at[:, None, :]
    there: BoolArray = (at >= 0)[:, None, :] & (left > 0)
    within = at[:, None, :] < flat.draftable_tokens[sequence][:, :, None]
    length = np.minimum(np.moveaxis(flat.run_lengths[token], 2, 1), left)
    proposes = np.moveaxis(flat.proposes[token], 2, 1)
    return Runs(end, known, np.where(there, length, 0), proposes & there & within)
