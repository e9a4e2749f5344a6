"""Cycles of a controller, with prescribed outcomes."""

from typing import Any

import numpy as np

from adaptive_spec.controller import Controller
from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, Policy, State


class Planned(Policy[Empty, Empty]):
    """Drafts what it is told to, cycle after cycle: 3 tokens unless ``tau`` is set otherwise."""

    def __init__(self) -> None:
        self.tau = 3

    def init(self, num_sequences: int, seed: int) -> State[Empty, Empty]:
        return State(Empty(), Empty())

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        return Decision(cycle.clip(np.full(cycle.max_tau.shape, self.tau)))

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        return state


def admit(controller: Controller, *ids: str, tokens: int = 1000, **options: Any) -> Any:
    count = len(ids)
    lengths = np.full(count, 5), np.full(count, tokens)
    return controller.admit(*lengths, request_ids=ids, **options)


def cycle(controller: Controller, accepted: int, **times: Any) -> None:
    """One cycle of all that run, of whose drafts so many tokens are accepted."""
    plan = controller.decide(controller.running)
    kept = np.minimum(plan.tau, accepted)
    emitted = np.minimum(kept + 1, plan.cycle.remaining_tokens)
    controller.observe(plan, plan.tau, kept, emitted, **times)
