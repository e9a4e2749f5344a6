import numpy as np

from adaptive_spec import ConstantCosts, Controller
from adaptive_spec.policies._arms import Tally, draw, ucb1_index
from adaptive_spec.policies.fixed import Fixed


def test_one_row_for_all_takes_the_cycles_of_every_sequence() -> None:
    arm, reward = np.array([0, 1, 1]), np.array([0.5, 0.25, 1.0])
    counts = np.array([True, True, False])
    pooled = Tally.fresh(1, 2).add(arm, reward, counts)
    assert (pooled.pulls.tolist(), pooled.rewards.tolist()) == ([[1, 1]], [[0.5, 0.25]])
    apart = Tally.fresh(3, 2).add(arm, reward, counts)
    assert apart.pulls.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert apart.rewards.tolist() == [[0.5, 0], [0, 0.25], [0, 0]]


def test_ucb1_by_hand_and_untried_arms_first() -> None:
    # 0.5 + sqrt(2 ln 4 / 3) = 1.4614, 0.9 + sqrt(2 ln 4 / 1) = 2.5651.
    index = ucb1_index(np.array([[3.0, 1.0]]), np.array([[1.5, 0.9]]), 2.0)
    assert index.round(4).tolist() == [[1.4614, 2.5651]]
    untried = ucb1_index(np.array([[3.0, 0.0]]), np.array([[3.0, 0.0]]), 2.0)
    assert untried.argmax() == 1


def test_arms_are_drawn_as_often_as_they_are_probable() -> None:
    # 4,000 draws: the standard error of a share is below 0.008.
    controller = Controller(Fixed(), costs=ConstantCosts())
    rows = controller.admit(np.full(4000, 10), np.full(4000, 100))
    cycle = controller.decide(rows).cycle
    choice = draw(np.array([[0.2, 0.5, 0.3]]), np.array([7]), cycle)
    shares = np.bincount(choice.arm) / 4000
    assert np.abs(shares - [0.2, 0.5, 0.3]).max() < 0.04
    assert np.array_equal(choice.probability, np.array([0.2, 0.5, 0.3])[choice.arm])
