"""The stopping tests, at points worked by hand, and on drafters that say nothing."""

import numpy as np
import pytest

from adaptive_spec.policies._stopping import adaedl_stops, svip_stops, unconfident, undecided

NAN = np.array([[np.nan]])


def test_max_confidence_by_hand() -> None:
    # Below 0.4, not at it.
    assert unconfident(np.array([0.39, 0.4, 1.0])).tolist() == [True, False, False]


def test_svip_by_hand() -> None:
    # sqrt(0.15 * 0.59) = 0.2975, sqrt(0.15 * 0.61) = 0.3025; the threshold is 0.3.
    assert svip_stops(np.array([[0.0, 0.59, 0.61]])).tolist() == [[False, False, True]]


def test_adaedl_by_hand() -> None:
    # 1 - sqrt(0.2 * 0.79) = 0.6025, 1 - sqrt(0.2 * 0.81) = 0.5975; the threshold is 0.6.
    assert adaedl_stops(np.array([0.79, 0.81])).tolist() == [False, True]
    # At 0.8: 1 - sqrt(0.2 * 0.19) = 0.8051, 1 - sqrt(0.2 * 0.21) = 0.7951.
    assert adaedl_stops(np.array([0.19, 0.21]), 0.8).tolist() == [False, True]
    # One threshold per row: 1 - sqrt(0.2 * 1) = 0.5528.
    assert adaedl_stops(np.ones(2), np.array([0.5, 0.6])).tolist() == [False, True]


def test_margin_by_hand() -> None:
    assert undecided(np.array([0.69, 0.7, 5.0])).tolist() == [True, False, False]


@pytest.mark.parametrize("stops", [unconfident, svip_stops, adaedl_stops, undecided])
def test_silence_stops_nobody(stops: object) -> None:
    assert callable(stops)
    assert stops(NAN).tolist() == [[False]]
