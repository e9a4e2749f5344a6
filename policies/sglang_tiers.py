"""tau = a tier s_i that follows a moving mean of accepted tokens: SGLang's adaptive speculation.

Source: SGLang 0.5.23, ``speculative/adaptive_spec_params.py`` (pull requests #21599, #24055). For
each class of batch sizes, over whole batches that drafted, from e = s - 1 at the first tier s::

    e = .8 e + .2 mean(A);    after 10 batches, at every 5th:
    down: while i > 0 and e <= max(s_(i-1) - .5, .5) + down:  i -= 1
    else up: while i < last and e > s_i - .5:  i += 1
    where s_i = 0 (e rests meanwhile): i += 1, which the next decision may take back

Batches of 1 and more have tiers 1, 3, 5, 7 (down = -.25); of 8, 0, 1, 3; of 32, 0, 1; of 64, 0
alone (down = 0). The first tier is SGLang's automatic number of steps, 3, where that is a tier,
else the middle one. Its optional ceiling on tau, off by default, is left out.

Signals: accepted counts, batch size. Weakness: no costs (thresholds are fixed numbers of tokens);
small batches never fall back; E[min(L, tau)] is what the mean estimates.

Departures: sequences that drafted nothing do not enter a batch's mean, and where none did, while a
tier above 0 was in force, the batch does not count.
"""

import bisect
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._by_batch import first_tier, require_tiers
from adaptive_spec.policy import MAX_TAU, Cycle, Decision, Empty, Outcome, Policy, State
from adaptive_spec.state import combine


class _Slot(NamedTuple):
    """A class of batch sizes: where it begins, its tiers, and the shift of the way down."""

    batch_size: int
    tiers: tuple[int, ...]
    down: float


_SLOTS = (
    _Slot(1, (1, 3, 5, 7), -0.25),
    _Slot(8, (0, 1, 3), 0.0),
    _Slot(32, (0, 1), 0.0),
    _Slot(64, (0,), 0.0),
)


class Tiers(NamedTuple):
    """Where each class of batch sizes stands, ``[S]`` each.

    Attributes:
      tier: index of the tier in force.
      mean_accepted: moving mean of accepted tokens, >= -1.
      batches: batches counted so far.
    """

    tier: IntArray
    mean_accepted: FloatArray
    batches: IntArray


@dataclass(frozen=True)
class SglangTiers(Policy[Empty, Tiers]):
    """SGLang's adaptive tiers: a few draft lengths, by the moving mean of what was accepted.

    Attributes:
      tiers: draft lengths to switch between, increasing, 0 to 1024, whatever the batch size; none
        for SGLang's own, which depend on it.
      initial: draft length to begin with, 0 to 1024; the middle tier where it is none of them.
      smoothing: weight of the newest batch in the mean, in (0, 1].
      warmup: batches before the first switch, >= 0.
      interval: batches between decisions to switch, >= 1.
    """

    tiers: tuple[int, ...] | None = None
    initial: int = 3
    smoothing: float = 0.2
    warmup: int = 10
    interval: int = 5

    learns = "across sequences"

    def __post_init__(self) -> None:
        if self.tiers is not None:
            require_tiers("sglang-tiers", self.tiers, least=0)
        if not 0 <= self.initial <= MAX_TAU:
            raise PolicySpecError(
                f"sglang-tiers: initial = {self.initial}; it must be in 0..{MAX_TAU}"
            )
        if not 0 < self.smoothing <= 1:
            raise PolicySpecError(
                f"sglang-tiers: smoothing = {self.smoothing}; it must be in (0, 1]"
            )
        if self.warmup < 0:
            raise PolicySpecError(f"sglang-tiers: warmup = {self.warmup}; it must be at least 0")
        if self.interval < 1:
            raise PolicySpecError(
                f"sglang-tiers: interval = {self.interval}; it must be at least 1"
            )

    @functools.cached_property
    def _slots(self) -> tuple[_Slot, ...]:
        return _SLOTS if self.tiers is None else (_Slot(1, self.tiers, -0.25),)

    def _slot_at(self, batch_size: int) -> int:
        bounds = [slot.batch_size for slot in self._slots]
        return max(bisect.bisect_right(bounds, batch_size) - 1, 0)

    def init(self, num_sequences: int, seed: int) -> State[Empty, Tiers]:
        first = [first_tier(slot.tiers, self.initial) for slot in self._slots]
        mean = [slot.tiers[i] - 1.0 for slot, i in zip(self._slots, first, strict=True)]
        none = np.zeros(len(first), np.int64)
        return State(Empty(), Tiers(np.array(first, np.int64), np.array(mean), none))

    def decide(self, state: State[Empty, Tiers], cycle: Cycle) -> Decision:
        at = self._slot_at(cycle.batch_size)
        tau = self._slots[at].tiers[state.shared.tier[at]]
        return Decision(cycle.clip(np.full(cycle.max_tau.shape, tau)))

    def update(self, state: State[Empty, Tiers], outcome: Outcome) -> State[Empty, Tiers]:
        at = self._slot_at(outcome.cycle.batch_size)
        slot = self._slots[at]
        now = state.shared
        tier, mean, batches = now.tier.copy(), now.mean_accepted.copy(), now.batches.copy()
        drafted = outcome.num_draft_tokens > 0
        if slot.tiers[tier[at]] > 0:
            if not drafted.any():
                return state
            mean[at] += self.smoothing * (outcome.num_accepted_tokens[drafted].mean() - mean[at])
        batches[at] += 1
        due = batches[at] - self.warmup
        if due > 0 and due % self.interval == 0:
            tier[at], mean[at] = _switch(slot, int(tier[at]), float(mean[at]))
        return State(Empty(), Tiers(tier, mean, batches))

    def merge(self, shared: Sequence[Tiers], weights: FloatArray) -> Tiers:
        # A tier is no average: each class of batch sizes goes on where it was seen most.
        seen = np.stack([replica.batches for replica in shared]) * weights[:, None]
        most, at = seen.argmax(axis=0), np.arange(len(self._slots))
        return combine(shared, lambda arrays: np.stack(arrays)[most, at])


def _switch(slot: _Slot, tier: int, mean: float) -> tuple[int, float]:
    """The tier that the mean asks for, and the mean, which an unseen tier begins anew."""
    tiers, last = slot.tiers, len(slot.tiers) - 1
    if tiers[tier] == 0:
        tier = min(tier + 1, last)
        unseen = tiers[tier] > 0 and mean < 0
        return tier, tiers[tier] - 1.0 if unseen else mean
    lower = tier
    while lower > 0 and mean <= max(tiers[lower - 1] - 0.5, 0.5) + slot.down:
        lower -= 1
    if lower < tier:
        return lower, mean
    while tier < last and mean > tiers[tier] - 0.5:
        tier += 1
    return tier, mean
