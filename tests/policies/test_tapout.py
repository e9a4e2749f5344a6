"""TapOut: arms, rewards and drafted tokens worked by hand."""

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, PolicySpecError, make_policy
from adaptive_spec.foreseen import draft_on
from adaptive_spec.policies.tapout import TapOut
from adaptive_spec.policy import DraftSignals

SAID = DraftSignals(
    top1_probability=np.array([[0.9, 0.9, 0.3, 0.9]]),
    entropy=np.array([[0.1, 0.7, 0.7, 2.0]]),
    margin=np.array([[0.1, 3.0, 3.0, 3.0]]),
    match_length=np.full((1, 4), np.nan),
)
"""Max-confidence (0.3 < 0.4) stops on token 3, SVIP (sqrt(0.15 * 0.7) = 0.32 > 0.3) on token 2,
AdaEDL (1 - sqrt(0.2 * 0.7) = 0.63 >= 0.6) not before the last, the margin (0.1 < 0.7) on token 1.
"""


def drafted_with(policy: TapOut, said: DraftSignals, cycles: int, run: int) -> list[int]:
    """Tokens drafted in each cycle, when ``run`` would be accepted in every one."""
    controller = Controller(policy, costs=ConstantCosts(), max_draft_tokens=4)
    rows = controller.admit(np.array([10]), np.array([1000]))
    counts = []
    for _ in range(cycles):
        plan = controller.decide(rows)
        drafted, shown = draft_on(controller, plan, plan.tau, said)
        accepted = np.minimum(drafted, run)
        controller.observe(plan, drafted, accepted, accepted + 1, signals=shown)
        counts.append(int(drafted[0]))
    return counts


def test_by_hand() -> None:
    # Two tokens are always accepted, tau = 4; r = A/8 + (A / D)/2:
    #   max-confidence 2/8 + 1/3 = 0.5833, SVIP 2/8 + 1/2 = 0.75, AdaEDL 2/8 + 1/4 = 0.5,
    #   margin 1/8 + 1/2 = 0.625. Each once: 3, 2, 4 and 1 tokens. Then, t cycles seen:
    # t = 4: equal bonuses, SVIP leads                                                -> 2
    # t = 5: SVIP 0.75 + sqrt(ln 5) = 2.019, margin 0.625 + sqrt(2 ln 5) = 2.419      -> 1
    # t = 6: SVIP 0.75 + sqrt(ln 6) = 2.089, max-conf. 0.5833 + sqrt(2 ln 6) = 2.476  -> 3
    # t = 7: SVIP 0.75 + sqrt(ln 7) = 2.145, AdaEDL 0.5 + sqrt(2 ln 7) = 2.473        -> 4
    # t = 8: all twice, SVIP leads                                                    -> 2
    assert drafted_with(TapOut(tau=4), SAID, 9, run=2) == [3, 2, 4, 1, 2, 1, 3, 4, 2]


def test_alpha_weighs_length_against_share() -> None:
    # 1 accepted: by length alone all four arms are alike and the first leads;
    # by share alone it is the margin's, which drafts one token.
    assert drafted_with(TapOut(4, alpha=1.0), SAID, 5, run=1)[-1] == 3
    assert drafted_with(TapOut(4, alpha=0.0), SAID, 5, run=1)[-1] == 1


def test_it_drafts_on_where_signals_are_missing() -> None:
    silent = DraftSignals(*np.full((4, 1, 4), np.nan))
    assert drafted_with(TapOut(tau=3), silent, 6, run=1) == [3] * 6


def test_what_was_learned_is_shared() -> None:
    controller = Controller(TapOut(), costs=ConstantCosts())
    assert not controller.sequences_are_independent


@pytest.mark.parametrize("spec", ["tapout:tau=0", "tapout:tau=2000", "tapout:alpha=1.5"])
def test_values_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(PolicySpecError, match=r"tapout: \w+ = .*must be in"):
        make_policy(spec)
