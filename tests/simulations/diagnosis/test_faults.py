"""Every fault is told first where it was planted, and not at all where it almost was."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Constraints, LatencyTarget, PassBudget
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.simulations.diagnosis import Diagnosis, Finding, Known, Verified, diagnose
from adaptive_spec.simulations.diagnosis.faults import FAULTS, groups
from tests.simulations.diagnosis.planting import (
    COSTS,
    logged,
    mixed,
    of_rule,
    saturating_costs,
    texts,
)

GOOD = texts(0.25)
HARD = texts(0.58)
HARD_COSTS = ConstantCosts(draft=0.25, verify=0.2)
KINDS = ("code", "chat")


def promising(average: float, per: str = "request") -> Constraints:
    return Constraints(PassBudget(average, per=per))  # type: ignore[arg-type]


def verified(*failed: str) -> Verified:
    return Verified("greedy", failed, 2, 3 * len(failed), (7, 9, 11) * len(failed))


PLANTED: dict[str, tuple[Callable[[], Known], ...]] = {
    "output differs from plain decoding": (
        lambda: Known.of_trace(of_rule(GOOD, "typical (lossy)"), "fixed:tau=4", costs=COSTS),
        lambda: Known.of_trace(GOOD, "fixed:tau=4", costs=COSTS, verified=verified("auto")),
        lambda: Known.of_log(logged(GOOD, "fixed:tau=4"), "typical (lossy)"),
    ),
    "budget infeasible": (
        lambda: Known.of_trace(GOOD, "fixed:tau=4", costs=COSTS, promised=promising(6)),
        lambda: Known.of_trace(GOOD, "fixed:tau=4", costs=COSTS, promised=promising(0.2, "token")),
        lambda: Known.of_trace(
            GOOD, "fixed:tau=4", costs=COSTS, promised=Constraints(latency=LatencyTarget(6.0))
        ),
        lambda: Known.of_log(logged(GOOD, "fixed:tau=10"), promised=promising(6)),
    ),
    "drafter mismatched": (
        lambda: Known.of_trace(texts(0.95), "fixed:tau=4", costs=COSTS),
        lambda: Known.of_trace(texts(0.9), "ewma", costs=COSTS),
        lambda: Known.of_log(logged(texts(0.95), "fixed:tau=4")),
    ),
    "fallback stuck on": (
        lambda: Known.of_trace(GOOD, "fixed:tau=0", costs=COSTS),
        lambda: Known.of_log(logged(GOOD, "fixed:tau=3")[:200] + logged(GOOD, "fixed:tau=0")),
    ),
    "fallback stuck off": (
        lambda: Known.of_trace(HARD, "fixed:tau=3", costs=HARD_COSTS),
        lambda: Known.of_log(logged(HARD, "fixed:tau=3", HARD_COSTS), costs=HARD_COSTS),
    ),
    "tau too long": (
        lambda: Known.of_trace(GOOD, "fixed:tau=10", costs=COSTS),
        lambda: Known.of_log(logged(GOOD, "fixed:tau=10")),
    ),
    "tau too short": (lambda: Known.of_trace(GOOD, "fixed:tau=1", costs=COSTS),),
    "drafter too slow": (
        lambda: Known.of_trace(GOOD, "fixed:tau=1", costs=ConstantCosts(0.6, 0.02)),
        lambda: Known.of_trace(GOOD, "fixed:tau=0", costs=ConstantCosts(1.5, 0.02)),
        lambda: Known.of_log(logged(GOOD, "fixed:tau=3", ConstantCosts(0.6, 0.02))),
    ),
    "verification not parallel": (
        lambda: Known.of_trace(GOOD, "fixed:tau=1", costs=ConstantCosts(0.1, 0.6)),
        lambda: Known.of_log(logged(GOOD, "fixed:tau=3", ConstantCosts(0.1, 0.6))),
    ),
    "batch saturated": (
        lambda: Known.of_trace(GOOD, "fixed:tau=3", costs=saturating_costs(), batch_size=32),
        lambda: Known.of_log(
            logged(GOOD, "fixed:tau=3", saturating_costs())
            + logged(texts(0.24), "fixed:tau=3", saturating_costs(), batch_size=32)
        ),
    ),
    "category to be treated apart": (
        lambda: Known.of_trace(texts(0.02, 0.55, categories=KINDS), "fixed:tau=4", costs=COSTS),
    ),
    "prompt length to be treated apart": (
        lambda: Known.of_trace(
            mixed(texts(0.02, 0.55, prompts=(30, 900))), "fixed:tau=4", costs=COSTS
        ),
    ),
    "drafter due for replacement": (
        lambda: Known.of_trace(texts(0.2, 0.45), "fixed:tau=3", costs=COSTS),
        lambda: Known.of_log(logged(texts(0.2, 0.45), "fixed:tau=3")),
    ),
}
"""By the name that is told first: traces, and logs."""

SPARED: dict[str, tuple[Callable[[], Known], ...]] = {
    "output differs from plain decoding": (
        lambda: Known.of_trace(GOOD, "fixed:tau=4", costs=COSTS, verified=verified()),
    ),
    "budget infeasible": (
        lambda: Known.of_trace(GOOD, "fixed:tau=4", costs=COSTS, promised=promising(12)),
        lambda: Known.of_trace(
            GOOD, "fixed:tau=4", costs=COSTS, promised=Constraints(latency=LatencyTarget(40.0))
        ),
        lambda: Known.of_log(logged(GOOD, "fixed:tau=10"), promised=promising(12)),
    ),
    "drafter mismatched": (lambda: Known.of_trace(HARD, "fixed:tau=4", costs=COSTS),),
    "fallback stuck on": (lambda: Known.of_trace(HARD, "fixed:tau=0", costs=HARD_COSTS),),
    "fallback stuck off": (lambda: Known.of_trace(texts(0.5), "fixed:tau=2", costs=COSTS),),
    "tau too long": (lambda: Known.of_trace(GOOD, "fixed:tau=5", costs=COSTS),),
    "tau too short": (
        lambda: Known.of_trace(GOOD, "fixed:tau=3", costs=COSTS),
        lambda: Known.of_log(logged(GOOD, "fixed:tau=2"), costs=COSTS),
    ),
    "drafter too slow": (
        lambda: Known.of_trace(GOOD, "fixed:tau=2", costs=ConstantCosts(0.24, 0.02)),
    ),
    "verification not parallel": (
        lambda: Known.of_trace(GOOD, "fixed:tau=2", costs=ConstantCosts(0.1, 0.19)),
        lambda: Known.of_trace(GOOD, "fixed:tau=3", costs=saturating_costs(), batch_size=32),
    ),
    "batch saturated": (
        lambda: Known.of_trace(GOOD, "fixed:tau=6", costs=saturating_costs()),
        lambda: Known.of_trace(GOOD, "fixed:tau=1", costs=ConstantCosts(0.1, 0.6)),
    ),
    "category to be treated apart": (
        lambda: Known.of_trace(texts(0.25, 0.25, categories=KINDS), "fixed:tau=4", costs=COSTS),
    ),
    "prompt length to be treated apart": (
        lambda: Known.of_trace(texts(0.25, 0.25, prompts=(30, 900)), "fixed:tau=4", costs=COSTS),
    ),
    "drafter due for replacement": (
        lambda: Known.of_trace(mixed(texts(0.2, 0.45)), "fixed:tau=3", costs=COSTS),
        lambda: Known.of_trace(texts(0.2, 0.45, categories=KINDS), "fixed:tau=3", costs=COSTS),
        lambda: Known.of_trace(texts(0.45, 0.2), "fixed:tau=3", costs=COSTS),
    ),
}
"""The fault is almost there, or a sign of it has another cause."""


def names(found: Diagnosis) -> list[str]:
    return [finding.name for finding in found.findings]


def cases(of: dict[str, tuple[Callable[[], Known], ...]]) -> list[Any]:
    """All of them; those after the first of a fault take long together."""
    return [
        pytest.param(name, i, marks=[pytest.mark.slow] if i else [])
        for name, builders in of.items()
        for i in range(len(builders))
    ]


@pytest.mark.parametrize(("name", "i"), cases(PLANTED))
def test_a_planted_fault_is_told_first(name: str, i: int) -> None:
    found = diagnose(PLANTED[name][i]())
    assert names(found)[:1] == [name], names(found)
    loss = found.findings[0].loss
    if loss is not None:
        assert 0 < loss.ms.low <= loss.ms.value <= loss.ms.high
        assert loss.share == pytest.approx(loss.ms.value / found.served.value)


@pytest.mark.parametrize(("name", "i"), cases(SPARED))
def test_a_fault_that_is_not_there_is_not_told(name: str, i: int) -> None:
    [fault] = [fault for fault in FAULTS if fault.name == name]
    assert not isinstance(fault.judge(SPARED[name][i]()), Finding)


def test_every_fault_was_planted_and_spared() -> None:
    assert set(PLANTED) == set(SPARED) == {fault.name for fault in FAULTS}


@pytest.mark.parametrize("policy", ["fixed:tau=4", "ewma"])
def test_what_is_healthy_is_said_to_be(policy: str) -> None:
    found = diagnose(Known.of_trace(GOOD, policy, costs=COSTS))
    assert found.healthy, names(found)
    assert not found.not_judged
    log = diagnose(Known.of_log(logged(GOOD, policy), costs=COSTS))
    assert log.healthy, names(log)


def test_groups_of_few_requests_are_not_told_apart() -> None:
    few = texts(0.02, 0.55, categories=KINDS, sequences=groups.FEWEST_REQUESTS - 1)
    assert groups.category_apart(Known.of_trace(few, "fixed:tau=4", costs=COSTS)) is None


def test_groups_may_come_in_any_order() -> None:
    """Also one that every other request belongs to."""
    for hazard, kind in ((0.55, Finding), (0.02, type(None))):
        traces = texts(0.02, hazard, categories=KINDS).select(
            np.arange(60).reshape(2, 30).T.ravel()
        )
        judged = groups.category_apart(Known.of_trace(traces, Fixed(4), costs=COSTS))
        assert isinstance(judged, kind)


def test_bands_of_one_length_are_one_band() -> None:
    assert len(groups.bands(np.full(40, 32))) == 1
