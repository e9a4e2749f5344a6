import pytest

from adaptive_spec import ConstantCosts, PolicySpecError, make_policy
from adaptive_spec.policies.fixed import Fixed
from tests.policies.driving import CHEAP, drive


@pytest.mark.parametrize("tau", [0, 1, 3, 8])
def test_tau_is_constant_whatever_happens(tau: int) -> None:
    assert drive(Fixed(tau), [0, 5, 0, 9, 0, 0]) == [tau] * 6


def test_tau_is_capped() -> None:
    assert drive(Fixed(8), [0, 0], max_draft_tokens=4) == [4, 4]


def test_without_fallback_it_keeps_drafting_at_a_loss() -> None:
    assert drive(Fixed(3), [0] * 100, ConstantCosts(draft=1.0)) == [3] * 100


def test_fallback_stops_drafting_while_it_does_not_pay_and_comes_back() -> None:
    taus = drive(Fixed(3, fallback=True), [0] * 60 + [10] * 150, CHEAP)
    assert taus[0] == 3
    assert taus[40:60].count(0) >= 18, "off while every draft is refused"
    assert set(taus[40:60]) <= {0, 2}, "and probing with short drafts only"
    assert taus[-10:] == [3] * 10, "on again after the drafter recovered"


def test_fallback_of_one_token_probes_with_one() -> None:
    assert set(drive(Fixed(1, fallback=True), [0] * 80, ConstantCosts(draft=0.6))) == {0, 1}


def test_negative_tau_is_refused() -> None:
    with pytest.raises(PolicySpecError, match="tau = -1"):
        make_policy("fixed:tau=-1")
