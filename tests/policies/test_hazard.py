"""Censored hazards: decisions worked by hand with prescribed draws, and what they are for."""

from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, PolicySpecError, make_policy
from adaptive_spec.policies import hazard
from adaptive_spec.policies.hazard import Hazard
from tests.policies.driving import drive, priced


def prescribe(monkeypatch: pytest.MonkeyPatch, number: float) -> None:
    def uniform(seed: Any, sequence: Any, index: Any, streams: int) -> Any:
        return np.full((sequence.size, streams), number)

    monkeypatch.setattr(hazard, "uniform", uniform)


def test_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Draws at the median, so h = (1 + s) / (2 + n) with this prior. Costs 1 + 0.2 k; S = products
    # of h; tau = argmax of S_1 + ... + S_k - 0.2 rate k, rate = (0.99 tokens + ...) / passes.
    #   start           h .5   .5   .5   rate 1       .300  .350  .275 -> 2
    #   run 5, tau 2    h .667 .667 .5   rate 1.6695  .333  .443  .332 -> 2  (censored: no miss)
    #   run 0           h .5   .667 .5   rate 1.3144  .237  .308  .211 -> 2  (depth 2 untested)
    #   run 0           h .4             rate 1.1506  .170  .206  .110 -> 2
    #   run 0           h .333           rate 1.0563  .122  .133  .033 -> 2
    #   run 0           h .286           rate 0.9950  .087  .078       -> 1
    #   run 0, tau 1    h .25            rate 0.9733  .055  .027       -> 1
    #   run 0           h .222           rate 0.9566  .031 -.012       -> 1
    #   run 0           h .2             rate 0.9433  .011 -.044       -> 1
    #   run 0           h .182           rate 0.9325 -.005             -> 0
    prescribe(monkeypatch, 0.5)
    policy = Hazard(discount=1.0, prior=0.5, prior_weight=2.0, depths=3)
    taus = drive(policy, [5] + [0] * 9, ConstantCosts(draft=0.2), 3)
    assert taus == [2, 2, 2, 2, 2, 1, 1, 1, 1, 0]


def test_the_draw_has_the_spread_of_the_beta(monkeypatch: pytest.MonkeyPatch) -> None:
    # Beta(1, 1): mean 1/2, variance 1/12. A draw one deviation above is 0.7887: S = 0.7887, 0.6220,
    # 0.4906; less 0.55 each: 0.239, 0.311, 0.251 -> 2. At the mean 0.5 - 0.55 < 0 -> 0.
    policy, costs = Hazard(prior=0.5, prior_weight=2.0), ConstantCosts(draft=0.55)
    prescribe(monkeypatch, 0.8413447)
    assert drive(policy, [0], costs, 3) == [2]
    prescribe(monkeypatch, 0.5)
    assert drive(policy, [0], costs, 3) == [0]


def test_old_tests_are_discounted() -> None:
    # Two tokens accepted, then a miss at depth 1: n = 1, 1 then 0.5 * 1 + 1 and 1.
    controller = Controller(Hazard(discount=0.5, depths=3), costs=ConstantCosts(0.0))
    rows = controller.admit(np.array([10]), np.array([100]))
    for drafted, accepted in ((2, 2), (2, 0)):
        plan = controller.decide(rows)
        assert plan.tau[0] >= 2
        counts = np.array([drafted]), np.array([accepted]), np.array([accepted + 1])
        controller.observe(plan, *counts)
    seen = controller.state.shared
    assert seen.tested.tolist() == [[1.5, 1.0, 0.0]]
    assert seen.accepted.tolist() == [[0.5, 1.0, 0.0]]


def test_deeper_tokens_share_the_last_hazard() -> None:
    controller = Controller(Hazard(depths=2, discount=1.0), costs=ConstantCosts(0.0))
    plan = controller.decide(controller.admit(np.array([10]), np.array([100])))
    controller.observe(plan, plan.tau, np.array([4]), np.array([5]))
    assert plan.tau.tolist() == [10]
    assert controller.state.shared.tested.tolist() == [[1.0, 4.0]]
    assert controller.state.shared.accepted.tolist() == [[1.0, 3.0]]


def test_it_reaches_beyond_its_own_tau() -> None:
    assert drive(Hazard(), [50] * 60, ConstantCosts(draft=0.05))[-10:] == [10] * 10


def test_fallback_probes_and_the_way_back() -> None:
    taus = drive(Hazard(), [0] * 300 + [8] * 300, ConstantCosts(draft=0.3))
    off = taus[150:300]
    assert off.count(0) > 120, "drafting does not pay, so it stops"
    assert 1 in off, "but for probes"
    assert min(taus[-50:]) >= 5, "and it finds its way back"


def test_a_drafter_that_proposes_nothing_teaches_nothing() -> None:
    controller = Controller(Hazard(), costs=ConstantCosts())
    plan = controller.decide(controller.admit(np.array([10]), np.array([100])))
    none = np.zeros(1, np.int64)
    controller.observe(plan, none, none, none + 1)
    assert not controller.state.shared.tested.any()


def test_a_price_on_passes_raises_tau() -> None:
    runs = np.random.default_rng(0).geometric(0.5, 300) - 1
    free, dear = (
        np.mean(drive(rule(), runs.tolist())[100:]) for rule in (Hazard, priced(Hazard, 3.0))
    )
    assert dear > free + 1


def test_rows_share_or_not_as_asked() -> None:
    for scope, shared in (("shared", True), ("sequence", False)):
        controller = Controller(make_policy(f"hazard:scope={scope}"), costs=ConstantCosts())
        assert controller.sequences_are_independent is not shared


@pytest.mark.parametrize(
    "field", ["discount=0", "prior=1", "prior_weight=0", "depths=0", "probe=0"]
)
def test_values_out_of_range_are_refused(field: str) -> None:
    with pytest.raises(PolicySpecError, match=r"hazard: \w+ = .*must be"):
        make_policy(f"hazard:{field}")
