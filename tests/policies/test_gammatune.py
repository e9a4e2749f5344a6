import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, PolicySpecError, make_policy
from adaptive_spec.controller import UNLIMITED_TOKENS
from adaptive_spec.foreseen import draft_on
from adaptive_spec.policies.gammatune import GammaTune, GammaTunePlus
from adaptive_spec.policy import DraftSignals
from tests.policies.driving import drive


def test_decisions_worked_by_hand() -> None:
    #  g   run   A   mean m                        next g
    #  3    3    3   3 (untouched)                 A + 2 = 5
    #  5    1    1   .7 * 3 + .3 * 1 = 2.4         3
    #  3    9    3   2.4                           5
    #  5    9    5   2.4                           7
    #  7    9    7   2.4                           9
    #  9    9    9   2.4                           11, capped at 10
    # 10    4    4   .7 * 2.4 + .3 * 4 = 2.88      3
    #  3    0    0   .7 * 2.88 = 2.016             3
    #  3    0    0   .7 * 2.016 = 1.4112           2
    #  2    0    0   .7 * 1.4112 = .98784, so 1    1
    #  1    0    0   .7, so 1                      1
    #  1    1    1   1                             3
    runs = [3, 1, 9, 9, 9, 9, 4, 0, 0, 0, 0, 1, 0]
    assert drive(GammaTune(), runs) == [3, 5, 3, 5, 7, 9, 10, 3, 3, 2, 1, 1, 3]


def test_cycles_that_draft_nothing_change_nothing() -> None:
    assert drive(GammaTune(), [5] * 4, proposes=False) == [3] * 4


def test_a_draft_cut_short_and_accepted_whole_never_lowers_tau() -> None:
    controller = Controller(GammaTune(initial=8), costs=ConstantCosts())
    rows = controller.admit(np.array([10]), np.array([UNLIMITED_TOKENS]))
    taus = []
    for drafted in (2, 7, 1):
        plan = controller.decide(rows)
        taus.append(int(plan.tau[0]))
        count = np.array([drafted])
        controller.observe(plan, count, count, count + 1)
    assert taus == [8, 8, 9]


def test_plus_stops_after_the_token_that_the_drafter_is_unsure_of() -> None:
    controller = Controller(GammaTunePlus(initial=4), costs=ConstantCosts(), max_draft_tokens=4)
    size = np.full(4, 100)
    plan = controller.decide(controller.admit(size, size))
    nan = np.nan
    top1 = np.array(
        [[0.9, 0.39, 0.9, 0.9], [0.9, 0.4, 0.9, 0.1], [nan, nan, nan, nan], [0.1, nan, nan, nan]]
    )
    silent = np.full_like(top1, nan)
    signals = DraftSignals(top1, silent, silent, silent)
    drafted, _ = draft_on(controller, plan, plan.tau, signals)
    # Below .4 at the 2nd token; not below before the last; no signal, so on; below at the 1st.
    assert drafted.tolist() == [2, 4, 4, 1]
    assert GammaTunePlus().looks_inside_draft
    assert not GammaTune().looks_inside_draft


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gammatune:least=0", "least = 0, most = 10; 1 <= least <= most <= 1024"),
        ("gammatune:most=2000,initial=3", "most = 2000"),
        ("gammatune:initial=11", "initial = 11; it must be in 1..10"),
        ("gammatune:smoothing=0", r"smoothing = 0.0; it must be in \(0, 1\]"),
        ("gammatune:step=-1", "step = -1; it must be in 0..1024"),
        ("gammatune-plus:threshold=1.5", r"threshold = 1.5; it must be in \[0, 1\]"),
        ("gammatune-plus:threshold=nan", "threshold = nan"),
        ("gammatune-plus:initial=0", "initial = 0"),
    ],
)
def test_values_out_of_range_are_refused(spec: str, message: str) -> None:
    with pytest.raises(PolicySpecError, match=message):
        make_policy(spec)
