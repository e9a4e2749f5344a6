"""g <- g + 2 if the whole draft was accepted, else max(1, g - 1); tau = int(g).

The schedules ``heuristic`` and ``heuristic_transient`` of assisted generation in Hugging Face
transformers (``AssistedCandidateGenerator``, 5.x), which begin with 20 tokens. The former keeps g
from one generation to the next (``scope=shared``), in the latter it begins afresh with each
(``scope=sequence``).

Signals: accepted counts. Weakness: g drifts to where one draft in three is accepted whole, whatever
drafting costs, and it never falls back. Departures: transformers decodes one sequence at a time, so
where several share g it moves by the mean of their steps; g is held within the engine's largest
tau, of which transformers has none, for it would climb out of reach of its steps down; cycles that
drafted nothing, or whose draft was cut short by the sequence's end, leave it alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._merging import means
from adaptive_spec.policy import MAX_TAU, Cycle, Decision, Empty, Outcome, Policy, State

STEP_UP, STEP_DOWN = 2.0, 1.0


class Schedule(NamedTuple):
    """``num_tokens``: g, ``[B]``, or ``[1]`` where it is shared; in 1..max(initial, K)."""

    num_tokens: FloatArray


@dataclass(frozen=True)
class Heuristic(Policy[Any, Any]):
    """Two tokens more after a draft accepted whole, one fewer after any other (transformers).

    Attributes:
      initial: tokens to begin with, 1 to 1024.
      scope: "shared" keeps the length from one sequence to the next, "sequence" begins afresh.
    """

    initial: int = 20
    scope: Literal["shared", "sequence"] = "shared"

    learns = "across sequences (scope=sequence: per sequence)"

    def __post_init__(self) -> None:
        if not 1 <= self.initial <= MAX_TAU:
            raise PolicySpecError(
                f"heuristic: initial = {self.initial}; it must be in 1..{MAX_TAU}"
            )

    def init(self, num_sequences: int, seed: int) -> State[Any, Any]:
        shared = self.scope == "shared"
        schedule = Schedule(np.full(1 if shared else num_sequences, float(self.initial)))
        return State(Empty(), schedule) if shared else State(schedule, Empty())

    def decide(self, state: State[Any, Any], cycle: Cycle) -> Decision:
        num_tokens = (state.shared if self.scope == "shared" else state.rows).num_tokens
        return Decision(cycle.clip(np.broadcast_to(num_tokens, cycle.max_tau.shape)))

    def update(self, state: State[Any, Any], outcome: Outcome) -> State[Any, Any]:
        whole = outcome.num_accepted_tokens == outcome.num_draft_tokens
        seen = (outcome.num_draft_tokens > 0) & (whole | outcome.rejected)
        step = np.where(seen, np.where(whole, STEP_UP, -STEP_DOWN), 0.0)
        most = max(outcome.cycle.max_draft_tokens, 1)
        if self.scope == "shared":
            if not seen.any():
                return state
            moved = step.sum(keepdims=True) / np.count_nonzero(seen)
            return State(state.rows, Schedule(_within(state.shared.num_tokens, moved, most)))
        held = state.rows.num_tokens
        return State(Schedule(np.where(seen, _within(held, step, most), held)), state.shared)

    def merge(self, shared: Sequence[Any], weights: FloatArray) -> Any:
        return means(shared, weights) if self.scope == "shared" else shared[0]


def _within(num_tokens: FloatArray, step: FloatArray, most: int) -> FloatArray:
    return np.clip(np.minimum(num_tokens, most) + step, 1.0, most)
