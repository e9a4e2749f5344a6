import numpy as np
import pytest

from adaptive_spec import ConstantCosts, MeasuredCosts, PolicySpecError, make_policy
from adaptive_spec.policies.smartspec import SmartSpec
from tests.policies.driving import drive, drive_batch


def test_decisions_worked_by_hand() -> None:
    # Costs 1 + .1 k; goodput of k = 1, 2, ...:
    #   a = .7  1.545 1.825 1.948 1.981 1.961 ...              -> 4; run 2: a = (.7 + 2/4) / 2 = .6
    #   a = .6  1.455 1.633 1.674 1.647 ...                    -> 3; run 3: a = (.6 + 3/3) / 2 = .8
    #   a = .8  1.636 2.033 2.271 2.401 2.460 2.470 2.448 ...  -> 6
    assert drive(SmartSpec(smoothing=0.5), [2, 3, 0]) == [4, 3, 6]


def test_acceptance_is_pooled_over_the_batch() -> None:
    # (1 + 3) / 8 = .5, so that a = .6 as above.
    assert drive_batch(SmartSpec(smoothing=0.5), [[1, 3], [0, 0]]) == [[4, 4], [3, 3]]


def test_it_falls_back_and_finds_no_way_back_at_the_same_costs() -> None:
    # Costs 1 + .5 k: a = .7: 1.7 / 1.5 = 1.133, 2.19 / 2 = 1.095 -> 1; a = .35: .9 < 1 -> 0.
    taus = drive(SmartSpec(smoothing=0.5), [0] + [9] * 50, ConstantCosts(draft=0.5))
    assert taus == [1] + [0] * 50


def test_a_smaller_batch_brings_drafting_back() -> None:
    # Verifying is free for one sequence; for two every further token costs a plain pass.
    grid = np.array([[[1.0, 1.0]], [[1.0, 9.0]]])
    free = np.zeros((2, 1))
    costs = MeasuredCosts((1, 2), (64,), (1, 9), grid, free, free)
    taus = drive_batch(SmartSpec(), [[0, 0], [0]], costs, max_draft_tokens=3)
    assert taus == [[0, 0], [3]]


def test_certain_acceptance_has_a_goodput_too() -> None:
    assert drive(SmartSpec(initial=1.0), [10], max_draft_tokens=10) == [10]


def test_a_drafter_that_proposes_nothing_teaches_nothing() -> None:
    assert drive(SmartSpec(), [5] * 4, proposes=False) == [4] * 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("smartspec:smoothing=0", "smoothing = 0.0; it must be in"),
        ("smartspec:initial=1.1", r"initial = 1.1; it must be in \[0, 1\]"),
        ("smartspec:initial=nan", "initial = nan"),
    ],
)
def test_values_out_of_range_are_refused(spec: str, message: str) -> None:
    with pytest.raises(PolicySpecError, match=message):
        make_policy(spec)
