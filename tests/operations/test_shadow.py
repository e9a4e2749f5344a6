"""A shadow decides and learns, tells how it would have done, and changes nothing."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings

from adaptive_spec import ConstantCosts, Controller, make_policy
from adaptive_spec.operations.shadow import Shadow
from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, Policy, State
from adaptive_spec.runs import Runs
from adaptive_spec.testing.histories import History, Play
from adaptive_spec.testing.strategies import histories
from tests.operations.driving import admit

COSTS = ConstantCosts(draft=0.25, plain_ms=8.0)


def followed(main: str, shadow: str, **options: Any) -> tuple[Controller, Shadow]:
    controller = Controller(make_policy(main), **({"costs": COSTS} | options))
    return controller, Shadow(controller, shadow)


def cycles(controller: Controller, runs: list[int], **times: Any) -> None:
    """Cycles of all rows in use, with these run lengths."""
    for run in runs:
        plan = controller.decide(controller.running)
        kept = np.minimum(plan.tau, run)
        controller.observe(plan, plan.tau, kept, kept + 1, **times)


class Vandal(Policy[Empty, Empty]):
    """Overwrites whatever it is shown."""

    def init(self, num_sequences: int, seed: int) -> State[Empty, Empty]:
        return State(Empty(), Empty())

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        for array in (cycle.sequence_id, cycle.emitted_tokens, cycle.passes, cycle.pass_price_ms):
            array[:] = 0
        return Decision(cycle.max_tau)

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        outcome.cycle.emitted_tokens[:] = 7
        outcome.num_emitted_tokens[:] = 7
        if outcome.signals is not None:
            outcome.signals.entropy[:] = 7
        return state


@pytest.mark.parametrize("shadow", ["auto", "hazard", "confidence", "bandit", Vandal()])
@settings(max_examples=6, phases=[Phase.generate])
@given(histories())
def test_the_policy_in_charge_decides_as_if_nobody_watched(shadow: Any, history: History) -> None:
    policy = make_policy("marginal")
    alone, watched = Play(policy, history), Play(policy, history)
    follower = Shadow(watched.controller, shadow)
    for one, other in zip(alone, watched, strict=True):
        assert one.tau.tolist() == other.tau.tolist()
        assert one.drafter.tolist() == other.drafter.tolist()
    assert still_told(watched.controller, follower)
    if follower.report().cycles:
        assert 0 <= follower.report().known <= 1


def still_told(controller: Controller, shadow: Shadow) -> bool:
    """Whether it has not failed, for then it would have been dropped."""
    return controller._observers._all == (shadow,)


@pytest.mark.parametrize("spec", ["ewma", "hazard", "confidence"])
@settings(max_examples=6, phases=[Phase.generate])
@given(histories())
def test_the_shadow_of_a_policy_is_that_policy(spec: str, history: History) -> None:
    history = dataclasses.replace(history, uniform_widths=None)
    play = Play(make_policy(spec), history)
    shadow = Shadow(play.controller, spec, seed=history.seed)
    list(play)
    report = shadow.report()
    assert still_told(play.controller, shadow)
    if report.cycles:
        assert report.same_tau == 1.0
        assert report.mean_tau == report.mean_shadow_tau
    if report.known == 1.0 and np.isfinite(report.speedup_low):
        assert report.speedup_low == pytest.approx(1.0)
        assert report.speedup_high == pytest.approx(1.0)


def test_shorter_drafts_are_known_exactly() -> None:
    controller, shadow = followed("fixed:tau=6", "fixed:tau=2")
    admit(controller, "a")
    runs = [0, 1, 2, 3, 9]
    cycles(controller, runs)
    report = shadow.report()
    assert (report.cycles, report.known, report.same_tau) == (5, 1.0, 0.0)
    assert (report.mean_tau, report.mean_shadow_tau) == (6.0, 2.0)
    rate = sum(min(r, 6) + 1 for r in runs) / (5 * (1 + 6 * 0.25))
    shadow_rate = sum(min(r, 2) + 1 for r in runs) / (5 * (1 + 2 * 0.25))
    assert report.speedup_low == report.speedup_high == pytest.approx(shadow_rate / rate)


def test_longer_drafts_lie_between_bounds() -> None:
    controller, shadow = followed("fixed:tau=2", "fixed:tau=6")
    admit(controller, "a")
    runs = [0, 1, 4, 1]  # of the third it is not known how it goes on
    cycles(controller, runs)
    report = shadow.report()
    assert report.known == 0.75
    rate = sum(min(r, 2) + 1 for r in runs) / (4 * 1.5)
    low, true, high = (sum((1, 2, last, 2)) / (4 * 2.5) for last in (3, 5, 7))
    assert report.speedup_low == pytest.approx(low / rate)
    assert report.speedup_high == pytest.approx(high / rate)
    assert report.speedup_low < true / rate < report.speedup_high


def test_the_text_tells_what_drafts_do_not() -> None:
    controller = Controller(make_policy("marginal"), costs=COSTS, max_draft_tokens=6)
    shadow = Shadow(controller, "fixed:tau=6")
    rows = admit(controller, "a")
    plan = controller.decide(rows)
    assert plan.tau[0] < 6
    length = np.zeros((1, 1, 10), np.int64)
    length[0, 0, -int(plan.tau[0] + 1) :] = 5
    known = Runs(plan.tau + 1, np.array([[99]]), length, np.ones(length.shape, np.bool_))
    controller.observe(plan, plan.tau, plan.tau, plan.tau + 1, runs=known)
    report = shadow.report()
    assert report.known == 1.0
    real = (plan.tau[0] + 1) / (1 + 0.25 * plan.tau[0])
    assert report.speedup_low == pytest.approx((6 / 2.5) / real)


def test_a_slow_machine_is_slow_for_the_shadow_too() -> None:
    reports = []
    for factor in (1.0, 3.0):
        controller, shadow = followed("fixed:tau=4", "fixed:tau=2")
        admit(controller, "a", "b")
        cycles(controller, [1, 3], draft_ms=8.0 * factor, verify_ms=8.0 * factor)
        reports.append(shadow.report())
    assert reports[0].speedup_low == pytest.approx(reports[1].speedup_low)


def test_a_lookup_that_found_no_more_would_find_no_more() -> None:
    controller, shadow = followed("fixed:tau=4", "fixed:tau=6")
    rows = admit(controller, "a", "b")
    plan = controller.decide(rows)
    controller.observe(plan, np.array([2, 0]), np.array([2, 0]), np.array([3, 1]))
    assert shadow.report().known == 1.0


def test_the_shadow_learns_from_what_would_have_come_of_its_own_drafts() -> None:
    controller, shadow = followed("fixed:tau=8", "ewma", max_draft_tokens=8)
    admit(controller, "a")
    cycles(controller, [0] * 60)
    assert shadow.report().mean_shadow_tau < 2.0, "it found out that drafting does not pay"
    alone = Controller(make_policy("ewma"), costs=COSTS, max_draft_tokens=8)
    admit(alone, "a")
    cycles(alone, [0] * 60)
    np.testing.assert_array_equal(shadow._state.rows.accepted, alone.state.rows.accepted)


def test_rows_begin_afresh_and_nothing_piles_up() -> None:
    controller, shadow = followed("fixed:tau=4", "ewma")
    for number in range(5):
        rows = admit(controller, str(number), "other")
        cycles(controller, [0, 0, 0])
        controller.withdraw(controller.decide(rows))
        controller.release(rows)
    assert shadow._decided == {}
    assert shadow.report().cycles == 30
    admit(controller, "new")
    assert shadow._state.rows.accepted[0] == 2.0


def test_sequences_that_ran_before_are_left_out() -> None:
    controller = Controller(make_policy("fixed:tau=4"), costs=COSTS)
    admit(controller, "early")
    shadow = Shadow(controller, "hazard")
    assert np.isnan(shadow.report().speedup_low)
    admit(controller, "late")
    cycles(controller, [1, 2])
    assert shadow.report().cycles == 2
