"""A controller whose policy does as it is told."""

from typing import Any

import numpy as np

from adaptive_spec import ConstantCosts, Controller, Cycle, Decision, Empty, Outcome, Policy, State


class Stubborn(Policy[Empty, Empty]):
    """Decides what it was told to, allowed or not."""

    def __init__(self, tau: Any) -> None:
        self.tau = tau
        self.outcomes: list[Outcome] = []

    def init(self, num_sequences: int, seed: int) -> State[Empty, Empty]:
        return State(Empty(), Empty())

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        return Decision(self.tau(cycle) if callable(self.tau) else self.tau)

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        self.outcomes.append(outcome)
        return state


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def greedy_controller(**options: Any) -> Controller:
    return Controller(Stubborn(lambda cycle: cycle.max_tau), costs=ConstantCosts(), **options)
