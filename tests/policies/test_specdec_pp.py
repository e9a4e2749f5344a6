import math

import numpy as np
import pytest

from adaptive_spec import PolicySpecError, make_policy
from adaptive_spec.policies.specdec_pp import SpecDecPp
from tests.policies.driving import Inside

# At these, log-odds, log(1 + margin) and log depth are 0: x = (1, 0, 1, 0, 0) at depth 1.
EVEN = {"top1_probability": [0.5], "entropy": [1.0], "margin": [0.0]}


def said(*probability: float) -> dict[str, list[float]]:
    return {
        "top1_probability": list(probability),
        "entropy": [1.0] * len(probability),
        "margin": [1.0] * len(probability),
    }


def test_decisions_worked_by_hand() -> None:
    # Before any evidence P is the draft's probability, and the first token counts as accepted:
    # refusal 0, .1, 1 - .81 = .19, 1 - .729 = .271, 1 - .6561 = .3439 > .3 after the fifth.
    assert Inside(SpecDecPp()).cycle(9, **said(0.2, *[0.9] * 9)) == 5
    assert Inside(SpecDecPp()).cycle(9, **said(0.2, 0.1, 0.9)) == 2
    assert Inside(SpecDecPp(least_tau=3)).cycle(9, **said(0.2, 0.1, 0.9)) == 3
    assert Inside(SpecDecPp(threshold=0.2)).cycle(9, **said(0.2, *[0.9] * 9)) == 4


def test_steps_worked_by_hand() -> None:
    sequence = Inside(SpecDecPp(discount=0.5), max_draft_tokens=1)
    # Refused at P = 1/2: slope -x / 2, curvature x x^T / 4 + 10, |x|^2 = 2:
    # step -x (1/2) / (10 + 2 / 4) = -x / 21.
    sequence.cycle(0, **EVEN)
    assert sequence.state.shared.weights.tolist() == pytest.approx([-1 / 21, 1, -1 / 21, 0, 0])
    # Accepted at P = sigmoid(-2 / 21) = 0.476208: slope x (1 - P), and half of the prior's pull on
    # what the refusal moved, x (1 - 1/2) 10 / 21; curvature x x^T (1/8 + P (1 - P)) + 10.
    # step x (0.523792 + 0.238095) / (10 + 2 (0.125 + 0.249434)) = x 0.070880
    sequence.cycle(1, **EVEN)
    moved = -1 / 21 + 0.070880
    expected = [moved, 1, moved, 0, 0]
    assert sequence.state.shared.weights.tolist() == pytest.approx(expected, abs=1e-6)


def test_only_what_was_judged_is_learned_from() -> None:
    sequence = Inside(SpecDecPp(), max_draft_tokens=4)
    sequence.cycle(1, **said(0.9, 0.9, 0.9, 0.9))
    judged = Inside(SpecDecPp(), max_draft_tokens=2)
    judged.cycle(1, **said(0.9, 0.9))
    for ours, theirs in zip(sequence.state.shared, judged.state.shared, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_signals_it_drafts_on_and_learns_nothing() -> None:
    sequence = Inside(SpecDecPp())
    assert sequence.cycle(2, top1_probability=[0.01] * 10) == 10
    sequence.unseen_cycle()
    assert sequence.state.shared.weights.tolist() == [0, 1, 0, 0, 0]


def test_it_finds_how_acceptance_depends_on_the_signals() -> None:
    # Acceptance has the log-odds log(q / (1 - q)) / 2 - H. 20,000 tokens, each counting in full,
    # tell the weights to about 0.02.
    random = np.random.default_rng(0)
    model = SpecDecPp(discount=1.0).init(0, 0).shared
    for _ in range(200):
        features = random.normal(size=(100, 4))
        odds = 0.5 * features[:, 0] - features[:, 1]
        accepted = random.random(100) < 1 / (1 + np.exp(-odds))
        model = model.learn(features, accepted, discount=1.0, prior=10.0)
    assert model.weights.tolist() == pytest.approx([0, 0.5, -1, 0, 0], abs=0.1)
    even = model.acceptance(np.zeros(4))
    assert float(even) == pytest.approx(0.5, abs=0.03)


def test_it_is_learned_across_sequences() -> None:
    sequence = Inside(SpecDecPp(), max_draft_tokens=1)
    for _ in range(100):
        sequence.cycle(0, **EVEN)
    sequence.controller.release(sequence.rows)
    sequence.rows = sequence.controller.admit(np.array([5]), np.array([100]))
    chance = sequence.controller.state.shared.acceptance(np.array([0.0, 1.0, 0.0, 0.0]))
    assert float(chance) < 0.15
    assert math.isfinite(float(chance))


@pytest.mark.parametrize(
    "spec", ["threshold=2", "tau=-1", "least_tau=0", "discount=0.1", "prior=0", "prior=nan"]
)
def test_values_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(PolicySpecError, match=r"specdec-pp: \w+ = .*must be in"):
        make_policy(f"specdec-pp:{spec}")
