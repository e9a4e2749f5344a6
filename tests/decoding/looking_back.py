"""A policy that looks back, and keeps what it is told."""

from dataclasses import dataclass, field

import numpy as np

from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, State
from adaptive_spec.randomness import uniform
from tests.decoding.scripted import Scripted


@dataclass(frozen=True)
class Watchful(Scripted):
    """Random drafts by random drafters, pauses, and now and then catching up."""

    told: list[Outcome] = field(default_factory=list, compare=False)

    looks_back = True

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        key = np.ones(1, np.int64), cycle.sequence_id, cycle.cycle_index
        draws = uniform(*key, len(cycle.drafters) + 2)
        there = draws[:, 2:] * cycle.available
        drafter = np.where(cycle.available.any(axis=1), there.argmax(axis=1), cycle.drafter)
        tau = super().decide(state, cycle).tau * (draws[:, 0] < 0.6)
        return Decision(cycle.clip(tau), drafter=drafter, catch_up=draws[:, 1] < 0.4)

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        self.told.append(outcome)
        return state
