"""Nightjar: blocks and bins, and a sequence of decisions worked by hand with prescribed draws."""

from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, PolicySpecError, make_policy
from adaptive_spec.policies import nightjar
from adaptive_spec.policies.nightjar import Nightjar, bin_of
from tests.policies.driving import drive

COSTS = ConstantCosts(draft=0.25)

DRAWS = {0: (0.9, 0.0), 1: (0.9, 0.9), 3: (0.9, 0.1), 5: (0.6, 0.5), 7: (0.9, 0.5)}
DRAWS |= {10: (0.9, 0.9), 13: (0.3, 0.99)}
"""By the bin's first turn: whether to explore, and what."""


@pytest.fixture
def prescribed(monkeypatch: pytest.MonkeyPatch) -> None:
    def uniform(seed: Any, load: Any, start: Any, streams: int) -> Any:
        assert streams == 2
        return np.array([DRAWS[int(start[0])]])

    monkeypatch.setattr(nightjar, "uniform", uniform)


def test_bins_by_hand() -> None:
    # Blocks of 1, 2, 4 and 8 turns in bins of 1, 2, 2 and 3 (the last cut short by its block).
    firsts = [bin_of(turn)[0] for turn in range(15)]
    assert firsts == [0, 1, 1, 3, 3, 5, 5, 7, 7, 7, 10, 10, 10, 13, 13]
    numbers = [bin_of(turn)[1] for turn in range(15)]
    assert numbers == [1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 2, 2, 2, 3, 3]
    assert bin_of(15) == (15, 1)
    assert bin_of(22) == (19, 2)  # a block of 16 in bins of 4


@pytest.mark.usefixtures("prescribed")
def test_by_hand() -> None:
    # One token is always accepted: 1 / g = 1 for tau 0, 1.25 / 2 = 0.625 for 1, 1.5 / 2 = 0.75 for
    # 2. The first bin of a block explores for sure, the b-th if the first draw is below 1 / b;
    # tau is then the second draw times 3, cut off. Switching on costs 0.2 passes.
    #   0      0.0 * 3                                                      -> 0
    #   1, 2   0.9 * 3 = 2.7                                                -> 2
    #   3, 4   0.1 * 3 = 0.3                                                -> 0
    #   5, 6   0.6 >= 1/2: 1, untried, 0.75 + 0.2 / 2 = 0.85                -> 2
    #   7-9    0.5 * 3 = 1.5                                                -> 1
    #   10-12  0.9 >= 1/2: 1, 0.625, 0.75 (drafting was on)                 -> 1
    #   13-14  0.3 < 1/3: 0.99 * 3 = 2.97                                   -> 2
    policy = Nightjar(longest=2, switch=0.2, switch_per_token=0.0)
    expected = [0, 2, 2, 0, 0, 2, 2, 1, 1, 1, 1, 1, 1, 2, 2]
    assert drive(policy, [1] * 15, COSTS) == expected


@pytest.mark.usefixtures("prescribed")
def test_switching_back_on_must_pay() -> None:
    # At turn 5: 0.75 + 1 / 2 = 1.25 > 1, so it stays off.
    assert drive(Nightjar(2, switch=1.0), [1] * 7, COSTS)[5:] == [0, 0]
    # Turns 3 and 4 emitted 2 tokens that the drafter skipped: 0.75 + 2 * 0.3 / 2 = 1.05 > 1.
    policy = Nightjar(2, switch=0.0, switch_per_token=0.3)
    assert drive(policy, [1] * 7, COSTS)[5:] == [0, 0]


@pytest.mark.usefixtures("prescribed")
def test_bins_stay_locked_when_outcomes_come_late() -> None:
    controller = Controller(Nightjar(2, 0.2, 0.0), costs=COSTS)
    rows = controller.admit(np.array([10]), np.array([1000]))
    plans = [controller.decide(rows)]
    for late in range(8):
        plans.append(controller.decide(rows))
        tau = plans[late].tau
        accepted = np.minimum(tau, 1)
        controller.observe(plans[late], tau, accepted, accepted + 1)
    assert [int(plan.tau[0]) for plan in plans] == [0, 0, 2, 2, 0, 0, 2, 2, 1]


def test_each_load_learns_on_its_own() -> None:
    controller = Controller(Nightjar(), costs=COSTS)
    rows = controller.admit(np.full(3, 10), np.full(3, 100))
    for running in (rows, rows[:2], rows[:1]):
        plan = controller.decide(running)
        assert np.unique(plan.tau).size == 1
        controller.observe(plan, plan.tau, plan.tau * 0, plan.tau * 0 + 1)
    assert controller.state.shared.turns[:3].tolist() == [2, 1, 0]


def test_it_learns_what_pays() -> None:
    assert drive(Nightjar(), [0] * 600, ConstantCosts(0.5))[-200:].count(0) > 120
    assert drive(Nightjar(), [9] * 600, ConstantCosts(0.02))[-200:].count(5) > 120


@pytest.mark.parametrize(
    "spec", ["nightjar:longest=0", "nightjar:switch=-1", "nightjar:switch_per_token=inf"]
)
def test_values_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(PolicySpecError, match=r"nightjar: \w+ = .*must be in"):
        make_policy(spec)
