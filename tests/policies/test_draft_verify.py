"""Draft & Verify's exit, and AdaEDL, whose threshold moves the same way."""

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, PolicySpecError, make_policy
from adaptive_spec.policies.adaedl import AdaEdl
from adaptive_spec.policies.draft_verify import DraftVerify
from tests.policies.driving import Inside


def test_draft_verify_stops_behind_the_first_improbable_token() -> None:
    sequence = Inside(DraftVerify())
    assert sequence.cycle(9, top1_probability=[0.9, 0.81, 0.79, 0.9]) == 3
    assert sequence.cycle(top1_probability=[0.9] * 10) == 8, "its cap"


def test_adaedl_stops_behind_the_first_uncertain_token() -> None:
    # 1 - sqrt(0.2 H) < 0.6 where H > 0.16 / 0.2 = 0.8 nats.
    sequence = Inside(AdaEdl())
    assert sequence.cycle(9, entropy=[0.1, 0.79, 0.81, 0.1]) == 3
    assert sequence.cycle(entropy=[0.1] * 10) == 7, "its cap"


def test_the_threshold_worked_by_hand() -> None:
    sequence = Inside(DraftVerify(), max_draft_tokens=10)
    said = [0.9, 0.9, 0.5]  # stops after 3 of 8, whatever the threshold becomes below
    steps = []
    # A / D       AR                    AR < 0.9?   theta
    # 3 / 3       0.5 * 1   + 0.5       1.0         - 0.001   0.799
    # 1 / 3       0.5 * 1   + 0.5 / 3   0.66667     + 0.001   0.800
    # 3 / 3       0.33333   + 0.5       0.83333     + 0.001   0.801
    # 3 / 3       0.41667   + 0.5       0.91667     - 0.001   0.800
    for run in (3, 1, 3, 3):
        assert sequence.cycle(run, top1_probability=said) == 3
        steps.append(float(sequence.state.rows.threshold[0]))
    assert steps == pytest.approx([0.799, 0.800, 0.801, 0.800])
    assert sequence.state.rows.acceptance.tolist() == pytest.approx([0.9166667])
    # Drafted to the cap and accepted: AR 0.95833, and nothing stopped it: theta stays.
    assert sequence.cycle(8, top1_probability=[0.9] * 10) == 8
    assert sequence.state.rows.threshold.tolist() == pytest.approx([0.800])
    # Drafted to the cap and refused: AR 0.47917: theta rises all the same.
    assert sequence.cycle(0, top1_probability=[0.9] * 10) == 8
    assert sequence.state.rows.threshold.tolist() == pytest.approx([0.801])


def test_adaedl_moves_alike() -> None:
    sequence = Inside(AdaEdl())
    sequence.cycle(0, entropy=[0.0] * 10)  # AR 0.5
    assert sequence.state.rows.threshold.tolist() == pytest.approx([0.601])
    # Within reach now: 1 - sqrt(0.2 * 0.797) = 0.6008 < 0.601.
    assert sequence.cycle(0, entropy=[0.797] * 10) == 1


@pytest.mark.parametrize("policy", [DraftVerify(), AdaEdl()])
def test_cycles_without_a_draft_teach_nothing(policy: DraftVerify | AdaEdl) -> None:
    controller = Controller(policy, costs=ConstantCosts())
    plan = controller.decide(controller.admit(np.array([5]), np.array([100])))
    nothing = np.zeros(1, np.int64)
    controller.observe(plan, nothing, nothing, nothing + 1)
    assert controller.state.rows.acceptance.tolist() == [1.0]
    assert controller.state.rows.threshold.tolist() == [policy.threshold]


@pytest.mark.parametrize("policy", [DraftVerify(), AdaEdl()])
def test_without_a_signal_they_draft_on(policy: DraftVerify | AdaEdl) -> None:
    assert Inside(policy).cycle(match_length=[1.0] * 10) == policy.tau


def test_the_threshold_stays_a_probability() -> None:
    sequence = Inside(DraftVerify(threshold=1.0))
    for _ in range(5):
        sequence.cycle(0, top1_probability=[1.0] * 10)
    assert sequence.state.rows.threshold.tolist() == [1.0]


@pytest.mark.parametrize(
    "spec",
    [
        "draft-verify:threshold=2",
        "draft-verify:target=nan",
        "draft-verify:tau=-1",
        "adaedl:threshold=-1",
        "adaedl:coefficient=-1",
        "adaedl:target=1.1",
        "adaedl:tau=1025",
    ],
)
def test_values_out_of_range_are_refused(spec: str) -> None:
    name = spec.partition(":")[0]
    with pytest.raises(PolicySpecError, match=rf"{name}: \w+ = .*must be in"):
        make_policy(spec)
