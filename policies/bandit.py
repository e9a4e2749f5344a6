"""tau = the arm with the best index; an arm is a draft length, its reward tokens per millisecond.

Rewards are scaled by the best rate that costs allow (every draft token accepted), so that they lie
in [0, 1]. Statistics are discounted, so that arms left alone are tried again (D-UCB: Garivier and
Moulines, ALT 2011); the fallback arm 0 is always among them. With ``n`` discounted pulls of an
arm, ``N`` of all, ``m`` the mean and ``V`` the variance of its reward:

- ucb1: ``m + sqrt(exploration * ln N / n)`` (Auer, Cesa-Bianchi, Fischer 2002; 0.5 is Hoeffding's
  constant for [0, 1], their own 2 explores more);
- ucb-tuned: ``m + sqrt(ln N / n * min(1/4, V + sqrt(2 ln N / n)))`` (same paper, section 4);
- thompson: a draw from ``Normal(m, 1 / (4 (n + 1)))`` with one imagined pull of reward 1/2
  (Agrawal and Goyal, J. ACM 2017, with the variance of a [0, 1] variable);
- exp3: ``p = (1 - gamma) softmax(w) + gamma / M``, ``w += gamma r / (p M)`` (Auer et al. 2002b).

The per-prompt form with token rewards is BanditSpec's (Hou et al., ICML 2025; ``scope=sequence``);
rewards per millisecond keep the longest arm from winning by default. Weakness: what a cycle shows
of *other* lengths is thrown away, so learning is slow; kept as the field's reference. Rewards come
from the times a run reports: measured ones when live, the cost model's in replay and `validate`.
"""

import functools
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import ndtri

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._arms import (
    Choice,
    draw,
    log_ratio,
    one_hot,
    relative_rate,
    require_lengths,
    ucb1_index,
    was_played,
)
from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, Policy, State
from adaptive_spec.randomness import uniform


class Arms(NamedTuple):
    """Discounted statistics of ``M`` arms: a row per sequence, or one row for all (``G`` rows).

    Attributes:
      sums: ``[G, 3, M]`` times chosen, sum of rewards, sum of squared rewards.
      log_weight: ``[G, M]`` EXP3's log weights, largest 0.
      seed: ``[G]`` key of the draws.
    """

    sums: FloatArray
    log_weight: FloatArray
    seed: IntArray


@dataclass(frozen=True)
class Bandit(Policy[Any, Any]):
    """A bandit over draft lengths, the fallback arm among them, paid in tokens per millisecond.

    Attributes:
      algorithm: index or sampling rule.
      arms: draft lengths, 0 among them; those above the cap are played at the cap.
      discount: weight of old evidence per pull, in (0, 1].
      exploration: factor of ucb1's bonus, >= 0.
      gamma: exp3's share of uniform exploration, in (0, 1].
      scope: "shared" learns across sequences, "sequence" starts afresh with each.
    """

    algorithm: Literal["ucb1", "ucb-tuned", "thompson", "exp3"] = "ucb1"
    arms: tuple[int, ...] = (0, 1, 2, 3, 4, 6, 8)
    discount: float = 0.995
    exploration: float = 0.5
    gamma: float = 0.1
    scope: Literal["shared", "sequence"] = "shared"

    learns = "across sequences (scope=sequence: per sequence)"
    heeds_prices = True

    def __post_init__(self) -> None:
        require_lengths("bandit", self.arms)
        if 0 not in self.arms:
            raise PolicySpecError(f"bandit: arms = {self.arms}; they must include 0, as in 0/1/2/4")
        if not 0 < self.discount <= 1:
            raise PolicySpecError(f"bandit: discount = {self.discount}; it must be in (0, 1]")
        if not 0 <= self.exploration <= 1000:
            raise PolicySpecError(f"bandit: exploration = {self.exploration}; 0 to 1000")
        if not 0 < self.gamma <= 1:
            raise PolicySpecError(f"bandit: gamma = {self.gamma}; it must be in (0, 1]")

    def init(self, num_sequences: int, seed: int) -> State[Any, Any]:
        groups, size = 1 if self.scope == "shared" else num_sequences, len(self.arms)
        arms = Arms(
            np.zeros((groups, 3, size)), np.zeros((groups, size)), np.full(groups, seed, np.int64)
        )
        return State(Empty(), arms) if self.scope == "shared" else State(arms, Empty())

    def decide(self, state: State[Any, Any], cycle: Cycle) -> Decision:
        stats = self._stats(state)
        if self.algorithm == "exp3":
            choice = draw(self._probability(stats), stats.seed, cycle)
        else:
            best = self._index(stats, cycle).argmax(axis=1)
            choice = Choice.certain(np.broadcast_to(best, cycle.max_tau.shape))
        return Decision(cycle.clip(self._lengths[choice.arm]), choice)

    def update(self, state: State[Any, Any], outcome: Outcome) -> State[Any, Any]:
        choice: Choice = outcome.decision.memo
        stats = self._stats(state)
        played = was_played(outcome, self._lengths[choice.arm])
        reward = relative_rate(outcome) * played
        credit = one_hot(choice.arm, len(self.arms))
        parts: FloatArray = np.array((played, reward, reward * reward), np.float64)  # [3, B]
        if self.scope == "shared":
            fade = np.full((1, 1), self.discount ** np.count_nonzero(played))
            sums = stats.sums * fade + parts @ credit
        else:
            fade = np.where(played, self.discount, 1.0)[:, None]  # [B, 1]
            sums = stats.sums * fade[:, None] + parts.T[:, :, None] * credit[:, None]
        log_weight = stats.log_weight
        if self.algorithm == "exp3":
            surprise = credit * (reward / (choice.probability * len(self.arms)))[:, None]
            if self.scope == "shared":
                surprise = surprise.sum(axis=0, keepdims=True)
            log_weight = log_weight * fade + self.gamma * surprise
            log_weight = log_weight - log_weight.max(axis=1, keepdims=True)
        learned = Arms(sums, log_weight, stats.seed)
        if self.scope == "shared":
            return State(state.rows, learned)
        return State(learned, state.shared)

    @functools.cached_property
    def _lengths(self) -> IntArray:
        return np.asarray(self.arms, np.int64)

    def _stats(self, state: State[Any, Any]) -> Arms:
        stats: Arms = state.shared if self.scope == "shared" else state.rows
        return stats

    def _index(self, stats: Arms, cycle: Cycle) -> FloatArray:
        """The index of every arm, ``[B or 1, M]``."""
        pulls, reward, square = stats.sums[:, 0], stats.sums[:, 1], stats.sums[:, 2]
        if self.algorithm == "thompson":
            chance = uniform(stats.seed, cycle.sequence_id, cycle.cycle_index, len(self.arms))
            sampled: FloatArray = (reward + 0.5 + ndtri(chance) * np.sqrt(0.25 * (pulls + 1.0))) / (
                pulls + 1.0
            )
            return sampled
        if self.algorithm == "ucb1":
            return ucb1_index(pulls, reward, self.exploration)
        some = np.maximum(pulls, 1e-12)
        mean, spread = reward / some, log_ratio(pulls)
        variance: FloatArray = np.maximum(square / some - mean * mean, 0.0)
        widest: FloatArray = np.minimum(0.25, variance + np.sqrt(2.0 * spread))
        index: FloatArray = mean + np.sqrt(spread * widest)
        return index

    def _probability(self, stats: Arms) -> FloatArray:
        """The probability with which exp3 plays every arm, ``[G, M]``."""
        weight = np.exp(stats.log_weight)
        probability: FloatArray = (1.0 - self.gamma) * weight / weight.sum(axis=1, keepdims=True)
        return probability + self.gamma / len(self.arms)
