"""A policy that fails is replaced by a static draft length, and nobody else notices."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, PolicyContractError, make_policy
from adaptive_spec._arrays import BoolArray
from adaptive_spec.integrations.safety import SafePolicy
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Outcome, State
from adaptive_spec.testing import check_policy
from tests.decoding.scripted import Scripted

STATIC = 3


@dataclass(frozen=True)
class Faulty(Scripted):
    """Drafts one token, and fails in some way in its third cycle."""

    way: str = "decide"

    def init(self, num_sequences: int, seed: int) -> State[Any, Any]:
        return make_policy("heuristic:initial=1").init(num_sequences, seed)

    def decide(self, state: State[Any, Any], cycle: Cycle) -> Decision:
        late = bool((cycle.cycle_index >= 2).any())
        if late and self.way == "decide":
            raise ZeroDivisionError
        tau: Any = cycle.clip(np.ones(cycle.max_tau.shape))
        if late and self.way == "nan":
            tau = tau * np.nan
        if late and self.way == "too long":
            tau = tau + 1000
        if late and self.way == "nothing":
            return None  # type: ignore[return-value]
        return Decision(tau)

    def keep_drafting(
        self,
        state: State[Any, Any],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        if self.way == "keep_drafting":
            raise MemoryError
        return np.zeros(cycle.max_tau.shape, np.bool_)

    def update(self, state: State[Any, Any], outcome: Outcome) -> State[Any, Any]:
        if self.way == "update" and (outcome.cycle.cycle_index >= 2).any():
            raise OSError
        if self.way == "no state":
            return None  # type: ignore[return-value]
        return state


def serve(safe: SafePolicy, cycles: int = 6) -> list[int]:
    """What is decided for one sequence; a second one comes and goes."""
    controller = Controller(safe, costs=ConstantCosts(), max_draft_tokens=5)
    [row] = controller.admit(np.array([4]), np.array([100]))
    taken = []
    for i in range(cycles):
        rows = np.array([row])
        if i % 2:
            [other] = controller.admit(np.array([4]), np.array([9]))
            rows = np.array([row, other])
        plan = controller.decide(rows)
        drafted = plan.tau.copy()
        signals = DraftSignals(*np.full((4, rows.size, 1), np.nan))
        if safe.looks_inside_draft and not controller.keep_drafting(plan, 1, signals)[0]:
            drafted[:] = np.minimum(drafted, 1)
        controller.observe(plan, drafted, drafted, drafted + 1)
        taken.append(int(plan.tau[0]))
        controller.release(rows[1:])
    assert controller.passes(np.array([row]))[0] == cycles
    controller.release(np.array([row]))
    assert controller.ledger.requests == 1 + cycles // 2
    return taken


@pytest.mark.parametrize(
    "way", ["decide", "nan", "too long", "nothing", "update", "no state", "keep_drafting"]
)
def test_requests_go_on_with_the_static_length(way: str, caplog: pytest.LogCaptureFixture) -> None:
    safe = SafePolicy(Faulty(way=way), STATIC)
    with caplog.at_level(logging.ERROR):
        taken = serve(safe)
    assert safe.failure is not None
    assert taken[0] == 1
    assert taken[-1] == STATIC
    [record] = caplog.records
    assert "Faulty" in record.getMessage()
    assert record.exc_info


def test_an_answer_that_is_not_allowed_is_named() -> None:
    safe = SafePolicy(Faulty(way="too long"), STATIC)
    serve(safe)
    assert isinstance(safe.failure, PolicyContractError)


@dataclass(frozen=True)
class Unstartable(Faulty):
    """Can't begin a second time."""

    def init(self, num_sequences: int, seed: int) -> State[Any, Any]:
        if seed:
            raise RuntimeError
        return super().init(num_sequences, seed)


def test_sequences_begin_though_the_policy_cannot() -> None:
    safe = SafePolicy(Unstartable(), STATIC)
    controller = Controller(safe, costs=ConstantCosts(), seed=1)
    rows = controller.admit(np.array([4, 4]), np.array([9, 9]))
    assert controller.decide(rows).tau.tolist() == [STATIC, STATIC]


@pytest.mark.parametrize("spec", ["fixed:tau=2", "auto", "svip"])
def test_a_policy_that_works_is_not_changed(spec: str) -> None:
    policy = make_policy(spec)
    safe = SafePolicy(policy, STATIC)
    for name in ("looks_inside_draft", "looks_back", "heeds_prices", "signals", "needs_signals"):
        assert getattr(safe, name) == getattr(policy, name)
    serve(safe)
    assert safe.failure is None
    assert serve(SafePolicy(make_policy("fixed:tau=2"), STATIC)) == [2] * 6


def test_it_is_a_policy_itself() -> None:
    check_policy(SafePolicy(make_policy("ewma"), STATIC), max_examples=5)
