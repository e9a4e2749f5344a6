"""What is counted of a controller's cycles."""

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller
from adaptive_spec.operations.tallies import Histogram, Tallies
from tests.operations.driving import Planned, admit, cycle


def watched(**options: object) -> tuple[Controller, Planned, Tallies]:
    policy = Planned()
    costs = ConstantCosts(draft=0.1, verify=0.0, plain_ms=10.0)
    controller = Controller(policy, costs=costs, max_draft_tokens=5, **options)  # type: ignore[arg-type]
    return controller, policy, Tallies(controller)


def test_drafts_passes_and_fallback() -> None:
    controller, policy, tallies = watched()
    rows = admit(controller, "a", "b")
    cycle(controller, 2)
    policy.tau = 0
    cycle(controller, 0)
    controller.release(rows[:1])
    controller.release(rows[1:], finished=False)
    assert tallies.drafts.tolist()[:2] == [2, 0]
    assert tallies.draft_tokens[0] == 6
    assert tallies.accepted_tokens[0] == 4
    assert tallies.accepted_at.tolist()[:4] == [2, 2, 0, 0]
    assert tallies.tau.tolist() == [2, 0, 0, 2, 0, 0]
    assert (tallies.passes, tallies.fallback_passes, tallies.emitted_tokens) == (4, 2, 8)
    assert tallies.cancelled == 1
    assert sum(tallies.policy_seconds["decide"].counts) == 2


def test_a_pass_that_can_draft_nothing_is_no_fallback() -> None:
    controller, _, tallies = watched()
    admit(controller, "a", tokens=1)
    cycle(controller, 0)
    assert (tallies.passes, tallies.fallback_passes) == (1, 0)


def test_a_shared_pass_takes_its_time_once() -> None:
    controller, _, tallies = watched()
    admit(controller, "a", "b")
    cycle(controller, 2, draft_ms=6.0, verify_ms=20.0)
    assert tallies.times[:4] == pytest.approx((6.0, 20.0, 3.0, 10.0))
    # Three tokens each in plain passes that are as slow as the pass was: 3 * 20 ms.
    assert tallies.times.plain == pytest.approx(60.0)
    alone, _, own = watched(lockstep=False)
    admit(alone, "a", "b")
    cycle(alone, 2, draft_ms=6.0, verify_ms=20.0)
    assert own.times[:2] == (12.0, 40.0)
    assert own.times.plain == pytest.approx(120.0)


def test_plain_decoding_is_as_fast_as_plain_decoding() -> None:
    controller, policy, tallies = watched()
    policy.tau = 0
    admit(controller, "a")
    for _ in range(20):
        cycle(controller, 0, draft_ms=0.0, verify_ms=17.0)
    assert tallies.recent.plain / tallies.recent.measured == pytest.approx(1.0)


def test_drafters_are_counted_apart() -> None:
    controller, _, tallies = watched(drafters=("lookup", "draft"))
    rows = admit(controller, "a", "b")
    plan = controller.decide(rows, np.array([[True, True], [False, True]]))
    controller.observe(plan, plan.tau, plan.tau, plan.tau + 1)
    assert tallies.draft_tokens[:3].tolist() == [3, 3, 0]


def test_bounds_are_upper_bounds() -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.add(1.0)
    histogram.add(1.5, times=2)
    histogram.add(7.0)
    assert (histogram.counts, histogram.sum) == ([1, 2, 1], 11.0)
