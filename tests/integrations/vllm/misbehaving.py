"""Policies with which an engine is put to the test."""

import time
from dataclasses import dataclass

import numpy as np

from adaptive_spec import Cycle, Decision, Empty, Outcome, Policy, State

MODULE = __name__
ENTRY_POINTS = {
    "test-ragged": f"{MODULE}:Ragged",
    "test-broken": f"{MODULE}:Broken",
    "test-raises": f"{MODULE}:Raises",
    "test-nan": f"{MODULE}:AnswersNan",
    "test-stalls": f"{MODULE}:Stalls",
}


@dataclass(frozen=True)
class Ragged(Policy[Empty, Empty]):
    """Another tau for every sequence and cycle: 0 to 4, in turn."""

    def init(self, num_sequences: int, seed: int) -> State[Empty, Empty]:
        return State(Empty(), Empty())

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        return Decision(cycle.clip((cycle.sequence_id + cycle.cycle_index) % 5))

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        return state


@dataclass(frozen=True)
class Broken(Ragged):
    """Fails at once."""

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        raise ZeroDivisionError("on purpose")


@dataclass(frozen=True)
class _Later(Ragged):
    """Well-behaved until a sequence gets to its sixth cycle."""

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        if (cycle.cycle_index >= 6).any():
            return self.misbehave(cycle)
        return super().decide(state, cycle)

    def misbehave(self, cycle: Cycle) -> Decision:
        raise NotImplementedError


@dataclass(frozen=True)
class Raises(_Later):
    """Raises in mid-run."""

    def misbehave(self, cycle: Cycle) -> Decision:
        raise ZeroDivisionError("on purpose")


@dataclass(frozen=True)
class AnswersNan(_Later):
    """Answers NaN in mid-run."""

    def misbehave(self, cycle: Cycle) -> Decision:
        return Decision(np.full(cycle.max_tau.shape, np.nan))


@dataclass(frozen=True)
class Stalls(_Later):
    """Takes a second in mid-run."""

    def misbehave(self, cycle: Cycle) -> Decision:
        time.sleep(1.0)
        return Decision(cycle.clip(np.full(cycle.max_tau.shape, 2)))
