"""How often a controller overrules: counted, and nothing else changed."""

from typing import Any

import numpy as np
import pytest

from adaptive_spec import (
    ConstantCosts,
    Constraints,
    Controller,
    LatencyTarget,
    PassBudget,
    Policy,
    make_policy,
)
from adaptive_spec.policy import DraftSignals
from adaptive_spec.simulations import replay
from adaptive_spec.simulations.scenarios.overruling import Overruled, watched
from adaptive_spec.traces import TraceSet
from adaptive_spec.traces.synthetic import Hazards, synthetic_trace
from tests.controller.driven import ints
from tests.traces.examples import example_trace

FREE = PassBudget(price=0.0)
DEAR = PassBudget(price=4.0)


def texts() -> TraceSet:
    return synthetic_trace(Hazards(0.3, seed=1), num_sequences=40, num_tokens=30)


def overruled(spec: str, budget: PassBudget, traces: TraceSet | None = None) -> Overruled:
    """What became of its decisions; nothing else may be changed by watching."""
    options: Any = {
        "costs": ConstantCosts(0.1),
        "max_draft_tokens": 3 if traces else 8,
        "constraints": Constraints(budget),
        "concurrency": 3,
        "log_cycles": True,
    }
    traces = traces or texts()
    watch = watched(make_policy(spec))
    seen, unseen = replay(watch, traces, **options), replay(spec, traces, **options)
    assert seen.log is not None
    assert unseen.log is not None
    for ours, theirs in zip(seen.log, unseen.log, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert watch.overruled.cycles == seen.log.tau.size
    return watch.overruled


@pytest.mark.parametrize("spec", ["fixed:tau=1", "ewma", "hazard", "heuristic", "ucbspec"])
def test_where_nothing_is_asked_nothing_is_overruled(spec: str) -> None:
    assert overruled(spec, FREE)[1:] == (0, 0)


def test_a_price_that_a_policy_does_not_know_raises_its_tau() -> None:
    # At a price of four tokens in a cycle a tau of 1 is raised wherever there is room for two.
    found = overruled("fixed:tau=1", DEAR)
    assert found.raised_share > 0.8
    assert found.lowered == 0
    assert overruled("fixed:tau=4", DEAR).raised == 0
    # A price that it knows makes its drafts longer by its own choice.
    assert overruled("hazard", DEAR).raised_share < 0.2


def test_a_draft_that_may_not_stop_counts_as_raised() -> None:
    inside = example_trace(num_sequences=12)
    assert overruled("confidence:threshold=1", FREE, inside).raised == 0
    found = overruled("confidence:threshold=1", DEAR, inside)
    assert 0 < found.raised <= found.cycles


def test_a_draft_is_counted_once_and_only_where_it_had_to_go_on() -> None:
    watch = watched(make_policy("svip:threshold=0"))
    assert watch.looks_inside_draft
    controller = Controller(
        watch, costs=ConstantCosts(), constraints=Constraints(PassBudget(max_passes=4))
    )
    plan = controller.decide(controller.admit(ints(5), ints(12)))
    assert plan.cycle.min_tau.tolist() == [2]
    unsure = DraftSignals(*(np.full((1, 1), 9.0) for _ in range(4)))
    assert [bool(controller.keep_drafting(plan, d, unsure)[0]) for d in (1, 1, 2)] == [
        True,
        True,
        False,
    ]
    assert watch.overruled == Overruled(1, 1, 0)


def test_a_tau_that_is_too_large_for_the_latency_counts_as_lowered() -> None:
    # Drafts of eight are far too slow, so that every request is late.
    watch = watched(make_policy("fixed:tau=8"))
    late = Constraints(latency=LatencyTarget(26.0, quantile=0.5))
    replay(
        watch,
        texts(),
        costs=ConstantCosts(0.5),
        max_draft_tokens=8,
        constraints=late,
        concurrency=1,
    )
    assert watch.overruled.lowered > 0
    assert watch.overruled.raised == 0


def test_what_a_policy_declares_holds_of_it_when_watched() -> None:
    for spec in ("fixed", "svip", "auto", "specdec-pp"):
        policy = make_policy(spec)
        watch: Policy[Any, Any] = watched(policy)
        assert type(watch).__name__ == type(policy).__name__
        for name in (
            "learns",
            "signals",
            "needs_signals",
            "looks_back",
            "takes_hints",
            "heeds_prices",
            "looks_inside_draft",
        ):
            assert getattr(watch, name) == getattr(policy, name), name
    assert Overruled(0, 0, 0).raised_share == Overruled(0, 0, 0).lowered_share == 0.0
