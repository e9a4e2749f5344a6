"""UCBSpec: tau = argmax of ``mean_i + radius_i``. EXP3Spec: tau ~ ``exp(-eta_t * losses_i)``.

Bandits over draft lengths that start afresh with each sequence (BanditSpec: Hou et al., ICML 2025,
arXiv 2505.15141). With ``M`` arms, ``n`` pulls of an arm, ``t`` of all:

- UCBSpec plays each arm once, then the largest ``mean + radius``, where
  ``radius = (L / 2) sqrt((1 + n) / n**2 * (1 + 2 ln(M t**2 sqrt(1 + n) / delta)))``;
- EXP3Spec draws from ``p ~ exp(-eta_t * sum of losses)``, ``eta_t = sqrt(ln M / (t M))``; the arm
  played is charged ``(L + 1 - Y) / (L p)``.

Signals: what whole cycles were worth. Here we depart from the paper: its reward is ``Y``, the
tokens of a cycle, between 1 and ``L + 1``, ``L`` the longest arm. That makes the longest arm the
best whatever it costs. Ours is tokens per priced time, scaled into [0, 1] (``_arms``), so that
``L`` becomes 1 in the radius, and a loss is ``(1 - reward) / p``. ``delta`` is not known to us from
the paper. The released code adds the same bonus to every arm; this is the paper's formula instead.

Weakness: what a cycle shows of other lengths is thrown away, and everything is forgotten at the end
of a sequence; the radius is wide, so that a sequence of some hundred tokens is spent exploring.
"""

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._arms import (
    Choice,
    Tally,
    draw,
    one_hot,
    relative_rate,
    require_lengths,
    was_played,
)
from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, Policy, State

_FINEST = 2.0**-53
"""No arm that is less probable can be drawn; keeps the losses finite."""


@dataclass(frozen=True)
class UCBSpec(Policy[Tally, Empty]):
    """Plays the draft length with the best upper confidence bound on tokens per time (BanditSpec).

    Attributes:
      arms: draft lengths, 0 to 1024 each; those above the cap are played at the cap.
      delta: probability that a bound fails, in (0, 1].
    """

    arms: tuple[int, ...] = (0, 1, 2, 3, 4)
    delta: float = 0.1

    learns = "per sequence"

    def __post_init__(self) -> None:
        require_lengths("ucbspec", self.arms)
        if not 0 < self.delta <= 1:
            raise PolicySpecError(f"ucbspec: delta = {self.delta}; it must be in (0, 1]")

    def init(self, num_sequences: int, seed: int) -> State[Tally, Empty]:
        return State(Tally.fresh(num_sequences, len(self.arms)), Empty())

    def decide(self, state: State[Tally, Empty], cycle: Cycle) -> Decision:
        arm = self._index(state.rows).argmax(axis=1)
        return Decision(cycle.clip(self._lengths[arm]), Choice.certain(arm))

    def update(self, state: State[Tally, Empty], outcome: Outcome) -> State[Tally, Empty]:
        arm = outcome.decision.memo.arm
        played = was_played(outcome, self._lengths[arm])
        return State(state.rows.add(arm, relative_rate(outcome), played), Empty())

    def _index(self, tally: Tally) -> FloatArray:
        n = np.maximum(tally.pulls, 1.0)
        total = np.maximum(tally.pulls.sum(axis=1, keepdims=True), 1.0)
        failure = len(self.arms) * total**2 * np.sqrt(1.0 + n) / self.delta
        radius = 0.5 * np.sqrt((1.0 + n) / n**2 * (1.0 + 2.0 * np.log(failure)))
        index: FloatArray = np.where(tally.pulls > 0, tally.rewards / n + radius, math.inf)
        return index

    @functools.cached_property
    def _lengths(self) -> IntArray:
        return np.asarray(self.arms, np.int64)


class Losses(NamedTuple):
    """What ``M`` arms are estimated to have cost one sequence.

    Attributes:
      losses: ``[B, M]`` sum of importance-weighted losses.
      rounds: ``[B]`` cycles learned from.
      seed: ``[B]`` key of the draws.
    """

    losses: FloatArray
    rounds: IntArray
    seed: IntArray


@dataclass(frozen=True)
class EXP3Spec(Policy[Losses, Empty]):
    """Draws the draft length, ever more often those with the most tokens per time (BanditSpec).

    Attributes:
      arms: draft lengths, 0 to 1024 each; those above the cap are played at the cap.
    """

    arms: tuple[int, ...] = (0, 1, 2, 3, 4)

    learns = "per sequence"

    def __post_init__(self) -> None:
        require_lengths("exp3spec", self.arms)

    def init(self, num_sequences: int, seed: int) -> State[Losses, Empty]:
        losses = np.zeros((num_sequences, len(self.arms)))
        rounds = np.zeros(num_sequences, np.int64)
        return State(Losses(losses, rounds, np.full(num_sequences, seed, np.int64)), Empty())

    def decide(self, state: State[Losses, Empty], cycle: Cycle) -> Decision:
        choice = draw(self._probability(state.rows), state.rows.seed, cycle)
        return Decision(cycle.clip(self._lengths[choice.arm]), choice)

    def update(self, state: State[Losses, Empty], outcome: Outcome) -> State[Losses, Empty]:
        choice: Choice = outcome.decision.memo
        played = was_played(outcome, self._lengths[choice.arm])
        surprise = (1.0 - relative_rate(outcome)) / np.maximum(choice.probability, _FINEST)
        charged = one_hot(choice.arm, len(self.arms)) * (played * surprise)[:, None]
        losses, rounds, seed = state.rows
        return State(Losses(losses + charged, rounds + played, seed), Empty())

    def _probability(self, rows: Losses) -> FloatArray:
        size = len(self.arms)
        eta = np.sqrt(math.log(size) / ((rows.rounds + 1.0) * size))
        lead = rows.losses.min(axis=1, keepdims=True) - rows.losses
        weight = np.exp(eta[:, None] * lead)
        probability: FloatArray = weight / weight.sum(axis=1, keepdims=True)
        return probability

    @functools.cached_property
    def _lengths(self) -> IntArray:
        return np.asarray(self.arms, np.int64)
