"""Signals of a trace, as a replay sees them."""

import numpy as np

from adaptive_spec.simulations.signals import DrafterSignals
from adaptive_spec.traces.sequences import DrafterTrace, SignalTrace


def said(first: list[int], depth: int) -> DrafterTrace:
    """What a lookup said, in whole numbers, of ``depth`` tokens beyond the first."""
    numbers = np.array(first)
    later = np.repeat(numbers[:, None], depth, axis=1)
    runs = np.zeros(numbers.size - 1, np.int64)
    return DrafterTrace(runs, runs == 0, signals={"match_length": SignalTrace(numbers, later)})


def test_whole_numbers_of_different_depths_are_filled_up_with_nan() -> None:
    signals = DrafterSignals.of((said([3, 1], 2), said([2, 5], 1)), "token")
    match = signals.at(np.array([0, 1]), np.array([0, 0]), 3).match_length
    np.testing.assert_equal(match, [[3, 3, 3], [2, 2, np.nan]])
    assert np.isnan(signals.at(np.array([0]), np.array([0]), 3).entropy).all()
