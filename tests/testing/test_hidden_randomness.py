"""``check_policy`` blames a policy's own draws where they are to blame, and nothing else."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from adaptive_spec import Cycle, Decision, Empty, Outcome, Policy, State
from adaptive_spec._arrays import BoolArray, FloatArray
from adaptive_spec.policy import DraftSignals
from adaptive_spec.testing import (
    Arrive,
    History,
    PolicyCheckError,
    Run,
    check_history,
    check_policy,
)
from adaptive_spec.testing.checks import Audit
from adaptive_spec.testing.histories import Play

HISTORY = History((Arrive((5, 5, 5), (50, 50, 50)), Run((9,)), Run((0, 9)), Run((1,))))


class Seen(NamedTuple):
    cycles: FloatArray


class Wavering(Policy[Seen, Empty]):
    """Is steady at first; from one call of a method on it answers otherwise every second time."""

    def __init__(self, method: str, first: int = sys.maxsize) -> None:
        self.method = method
        self.first = first
        self.calls = 0

    def turn(self, method: str) -> int:
        if method != self.method:
            return 0
        self.calls += 1
        return int(self.calls >= self.first and (self.calls - self.first) % 2 == 0)

    def init(self, num_sequences: int, seed: int) -> State[Seen, Empty]:
        return State(Seen(np.zeros(num_sequences)), Empty())

    def decide(self, state: State[Seen, Empty], cycle: Cycle) -> Decision:
        return Decision(cycle.clip(np.full(cycle.max_tau.shape, 3 + self.turn("decide"))))

    def keep_drafting(
        self,
        state: State[Seen, Empty],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        return np.full(cycle.max_tau.shape, self.turn("keep_drafting") == 0)

    def update(self, state: State[Seen, Empty], outcome: Outcome) -> State[Seen, Empty]:
        return State(Seen(state.rows.cycles + 1 + self.turn("update")), Empty())


class HiddenDice(Wavering):
    """Throws dice that no history and no seed knows of."""

    def __init__(self) -> None:
        super().__init__("")
        self.dice = np.random.default_rng()

    def decide(self, state: State[Seen, Empty], cycle: Cycle) -> Decision:
        return Decision(cycle.clip(self.dice.integers(0, 9, cycle.max_tau.size)))


def audited(policy: Policy[Any, Any], history: History) -> None:
    list(Play(Audit(policy), history))


@pytest.mark.parametrize(
    ("method", "check"),
    [("decide", check_history), ("keep_drafting", audited), ("update", audited)],
)
def test_whenever_it_begins_it_is_named(
    method: str, check: Callable[[Policy[Any, Any], History], None]
) -> None:
    steady = Wavering(method)
    check(steady, HISTORY)
    assert steady.calls > 8
    for first in range(1, steady.calls + 1):
        with pytest.raises(PolicyCheckError, match=r"draw from adaptive_spec.randomness"):
            check(Wavering(method, first), HISTORY)


def test_random_draws_are_named() -> None:
    for _ in range(20):
        with pytest.raises(PolicyCheckError, match=r"HiddenDice: .*draw from adaptive_spec.random"):
            check_history(HiddenDice(), HISTORY)


class Once(Wavering):
    """Answers otherwise once in its life."""

    def decide(self, state: State[Seen, Empty], cycle: Cycle) -> Decision:
        if self.calls == 0 and (cycle.min_tau < cycle.max_tau).any():
            self.calls += 1
            return Decision(cycle.min_tau)
        return Decision(cycle.max_tau)


def test_what_is_not_found_again_is_named() -> None:
    # Hypothesis tries the failing history once more, and finds nothing wrong with it.
    with pytest.raises(PolicyCheckError, match=r"Once: the same history goes differently .*random"):
        check_policy(Once(""), max_examples=20)
