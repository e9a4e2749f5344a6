import numpy as np
import pytest

from adaptive_spec import PolicySpecError, make_policy
from adaptive_spec.policies.confidence import BINS, Confidence, _best_threshold
from tests.policies.driving import Inside


def test_it_stops_behind_the_first_improbable_token() -> None:
    sequence = Inside(Confidence(adapt=False))
    assert sequence.cycle(top1_probability=[0.9, 0.5, 0.39, 0.9]) == 3
    assert sequence.cycle(top1_probability=[0.1, 0.9]) == 1
    assert sequence.cycle(top1_probability=[0.4] * 10) == 10, "at the threshold it drafts on"


def test_without_a_signal_it_drafts_on() -> None:
    assert Inside(Confidence()).cycle(entropy=[9.0] * 10) == 10
    assert Inside(Confidence(tau=3)).cycle() == 3


def test_an_engine_that_reports_no_signals_teaches_nothing() -> None:
    sequence = Inside(Confidence())
    sequence.unseen_cycle()
    assert np.count_nonzero(sequence.state.rows.counts) == 0


def test_the_threshold_worked_by_hand() -> None:
    sequence = Inside(Confidence(), max_draft_tokens=4)
    # Judged: .955 .855 .455 accepted, .355 refused: 4 tokens are too few.
    assert sequence.cycle(3, top1_probability=[0.955, 0.855, 0.455, 0.355]) == 4
    assert sequence.state.rows.threshold.tolist() == [0.4]
    # .755 accepted, .555 refused; .255 behind it is not judged. Of 4 accepted and 2 refused:
    #   theta  fpr  tpr  fpr + 3 (1 - tpr)      theta  fpr  tpr  cost
    #   .95    0    1/4  2.25                   .55    1/2  3/4  1.25
    #   .85    0    2/4  1.50                   .45    1/2  1    0.50  <- least
    #   .75    0    3/4  0.75                   .35    1    1    1.00
    assert sequence.cycle(1, top1_probability=[0.755, 0.555, 0.255]) == 3
    assert sequence.state.rows.threshold.tolist() == [0.45]
    assert sequence.cycle(top1_probability=[0.5, 0.44, 0.9]) == 2


def test_the_highest_of_equally_good_thresholds_is_taken() -> None:
    counts = np.zeros((1, 2, BINS), np.int64)
    counts[0, 1, [95, 35]] = 7, 1  # of 8 accepted
    counts[0, 0, [65, 15]] = 3, 5  # of 8 refused
    # .95: 0 + 3 / 8;  .65: 3 / 8 + 3 / 8;  .35: 3 / 8 + 0;  .15: 1 + 0.
    assert _best_threshold(counts, np.array([0.4])).tolist() == [0.95]


def test_one_kind_of_token_alone_does_not_move_it() -> None:
    sequence = Inside(Confidence())
    for _ in range(10):
        sequence.cycle(10, top1_probability=[0.9] * 10)
    assert sequence.state.rows.threshold.tolist() == [0.4]


def test_without_adaptation_nothing_is_kept() -> None:
    sequence = Inside(Confidence(adapt=False))
    for _ in range(10):
        sequence.cycle(1, top1_probability=[0.9] * 10)
    assert sequence.state.rows.threshold.tolist() == [0.4]
    assert np.count_nonzero(sequence.state.rows.counts) == 0


@pytest.mark.parametrize("spec", ["threshold=1.5", "threshold=nan", "tau=-1", "tau=2000"])
def test_values_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(PolicySpecError, match=r"confidence: \w+ = .*must be in"):
        make_policy(f"confidence:{spec}")
