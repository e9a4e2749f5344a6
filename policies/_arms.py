"""What rules over arms share: what a cycle was worth, credit to an arm, UCB1's index, draws."""

import functools
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policy import MAX_TAU, Cycle, Outcome
from adaptive_spec.randomness import uniform


class Choice(NamedTuple):
    """Which arm was chosen, ``[B]``, and with what probability, ``[B]`` (1 unless drawn)."""

    arm: IntArray
    probability: FloatArray

    @classmethod
    def certain(cls, arm: IntArray) -> "Choice":
        """An arm that was not drawn."""
        return cls(arm, np.ones(arm.size))


class Tally(NamedTuple):
    """What ``M`` arms brought: a row per sequence, or one row for all (``G`` rows).

    Attributes:
      pulls: ``[G, M]`` how often an arm was played.
      rewards: ``[G, M]`` sum of its rewards.
    """

    pulls: FloatArray
    rewards: FloatArray

    @classmethod
    def fresh(cls, groups: int, arms: int) -> "Tally":
        """Before any play."""
        return cls(np.zeros((groups, arms)), np.zeros((groups, arms)))

    def add(self, arm: IntArray, reward: FloatArray, counts: BoolArray) -> "Tally":
        """The tally after each of ``B`` cycles played an arm; those that don't count are left out.

        One row for all takes the cycles of all ``B`` sequences.
        """
        played = one_hot(arm, self.pulls.shape[1]) * counts[:, None]
        gained = played * reward[:, None]
        if self.pulls.shape[0] == 1:
            played, gained = (part.sum(axis=0, keepdims=True) for part in (played, gained))
        return Tally(self.pulls + played, self.rewards + gained)


def require_lengths(name: str, arms: tuple[int, ...]) -> None:
    """Refuses arms that are not different draft lengths.

    Raises:
      PolicySpecError: an arm given twice, below 0 or above ``MAX_TAU``, or none at all.
    """
    if not arms or len(set(arms)) < len(arms) or not 0 <= min(arms) <= max(arms) <= MAX_TAU:
        raise PolicySpecError(
            f"{name}: arms = {arms}; draft lengths must differ, be >= 0, and at most {MAX_TAU}"
        )


def one_hot(arm: IntArray, arms: int) -> BoolArray:
    """Which arm each row played, ``[B, M]``."""
    hot: BoolArray = arm[:, None] == np.arange(arms)
    return hot


def was_played(outcome: Outcome, length: IntArray) -> BoolArray:
    """Whether a cycle could play the draft length chosen for it, ``[B]``: within cap and floor.

    What an arm brings is not known from a cycle that did not allow it. Lengths above the largest
    tau are played at the largest tau.
    """
    cycle = outcome.cycle
    wanted = np.minimum(length, cycle.max_draft_tokens)
    allowed: BoolArray = (cycle.min_tau <= wanted) & (wanted <= cycle.max_tau)
    return allowed


def priced_cycle_ms(outcome: Outcome) -> FloatArray:
    """Time of the cycle plus the price of its pass, ``[B]``, > 0."""
    priced: FloatArray = np.maximum(outcome.cycle_ms + outcome.cycle.pass_price_ms, 1e-9)
    return priced


def relative_rate(outcome: Outcome) -> FloatArray:
    """Tokens per priced millisecond over the most that any tau could reach, ``[B]``, in [0, 1]."""
    most = _most_tokens_per_ms(outcome.cycle.priced_ms())
    rate = outcome.num_emitted_tokens / priced_cycle_ms(outcome)
    scaled: FloatArray = np.minimum(rate / most, 1.0)
    return scaled


def ucb1_index(pulls: FloatArray, rewards: FloatArray, exploration: float) -> FloatArray:
    """``mean + sqrt(exploration * ln N / n)`` of every arm, ``[G, M]``, from ``Tally``'s arrays.

    Auer, Cesa-Bianchi, Fischer 2002, with ``exploration`` = 2 for rewards in [0, 1]. Above 0, an
    arm that was never played has the largest index.
    """
    # The floor makes the bonus of an arm that was never pulled as good as infinite.
    some = np.maximum(pulls, 1e-12)
    index: FloatArray = rewards / some + np.sqrt(log_ratio(pulls) * exploration)
    return index


def log_ratio(pulls: FloatArray) -> FloatArray:
    """``ln N / n`` of every arm, ``[G, M]``, ``N`` all pulls and ``n`` its own; huge for n = 0."""
    total = np.maximum(pulls.sum(axis=1, keepdims=True), 2.0)
    ratio: FloatArray = np.log(total) / np.maximum(pulls, 1e-12)
    return ratio


def draw(probability: FloatArray, seed: IntArray, cycle: Cycle) -> Choice:
    """One arm for each row of the cycle, from probabilities ``[B or 1, M]``; seed ``[B or 1]``."""
    chance = uniform(seed, cycle.sequence_id, cycle.cycle_index)  # [B, 1]
    arm = (chance > probability.cumsum(axis=1)[:, :-1]).sum(axis=1)
    wide = np.broadcast_to(probability, (arm.size, probability.shape[1]))
    return Choice(arm, wide[np.arange(arm.size), arm])


def _most_tokens_per_ms(priced_ms: FloatArray) -> FloatArray:
    """The rate at which every token of the best tau is accepted, ``[B or 1]``."""
    if priced_ms.shape[0] == 1:
        return np.asarray(_most_of(priced_ms.tobytes()))
    most: FloatArray = (np.arange(1.0, priced_ms.shape[1] + 1) / priced_ms).max(axis=1)
    return most


@functools.lru_cache(maxsize=256)
def _most_of(priced_ms: bytes) -> float:
    row = np.frombuffer(priced_ms)
    return float((np.arange(1.0, row.size + 1) / row).max())
