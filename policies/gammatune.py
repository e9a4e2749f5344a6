"""tau = g: after full acceptance g = A + 2, after a rejection g = ceil(moving mean of A).

Source: Gautam, Shrestha, Reddy, *Token-Driven GammaTune*, 2025 (arXiv 2504.00030). A accepted::

    A == g:  g = clip(A + step, least, most)
    else:    m = clip((1 - smoothing) m + smoothing A, least, most);  g = ceil(m)

from g = m = 3; smoothing (eta) .3, step (delta) 2, least 1, most 10. GammaTune+ also ends a draft
once the drafter's top-1 probability falls below a threshold; the token that showed it is still
verified. Threshold .4 is that of transformers: the paper's own is not known to us.

Signals: accepted counts; GammaTune+ also ``top1_probability``. Weakness: no costs and no
fallback (at least one token is always drafted); drafts accepted whole never raise the mean, which
therefore estimates E[min(L, tau)] at best.

Departures, for cases that the paper leaves open: cycles that drafted nothing change nothing; a
draft cut short (by a cap, the drafter, or GammaTune+'s stop) and accepted whole counts as fully
accepted, and never lowers g.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._stopping import unconfident
from adaptive_spec.policy import (
    MAX_TAU,
    Cycle,
    Decision,
    DraftSignals,
    Empty,
    Outcome,
    Policy,
    State,
)


class Lengths(NamedTuple):
    """Draft length g of each sequence and the moving mean of A behind it, ``[B]`` each."""

    tau: IntArray
    mean_accepted: FloatArray


@dataclass(frozen=True)
class GammaTune(Policy[Lengths, Empty]):
    """Drafts two tokens more after full acceptance, else what was accepted on average, rounded up.

    Attributes:
      initial: draft length at the start of a sequence, ``least`` to ``most``.
      smoothing: weight of the newest cycle in the mean, in (0, 1].
      step: tokens added to a draft that was accepted whole, 0 to 1024.
      least: smallest draft length, 1 to ``most``.
      most: largest draft length, ``least`` to 1024.
    """

    initial: int = 3
    smoothing: float = 0.3
    step: int = 2
    least: int = 1
    most: int = 10

    learns = "per sequence"

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most <= MAX_TAU:
            raise PolicySpecError(
                f"gammatune: least = {self.least}, most = {self.most}; "
                f"1 <= least <= most <= {MAX_TAU} must hold"
            )
        if not self.least <= self.initial <= self.most:
            raise PolicySpecError(
                f"gammatune: initial = {self.initial}; it must be in {self.least}..{self.most}"
            )
        if not 0 < self.smoothing <= 1:
            raise PolicySpecError(f"gammatune: smoothing = {self.smoothing}; it must be in (0, 1]")
        if not 0 <= self.step <= MAX_TAU:
            raise PolicySpecError(f"gammatune: step = {self.step}; it must be in 0..{MAX_TAU}")

    def init(self, num_sequences: int, seed: int) -> State[Lengths, Empty]:
        start = np.full(num_sequences, self.initial, np.int64)
        return State(Lengths(start, start.astype(np.float64)), Empty())

    def decide(self, state: State[Lengths, Empty], cycle: Cycle) -> Decision:
        return Decision(cycle.clip(state.rows.tau))

    def update(self, state: State[Lengths, Empty], outcome: Outcome) -> State[Lengths, Empty]:
        tau, mean = state.rows
        accepted, drafted = outcome.num_accepted_tokens, outcome.num_draft_tokens
        moved = np.clip(mean + self.smoothing * (accepted - mean), self.least, self.most)
        longer = np.clip(accepted + self.step, tau, self.most)
        whole, fell = (drafted > 0) & (accepted == drafted), accepted < drafted
        mean = np.where(fell, moved, mean)
        shorter = np.ceil(mean).astype(np.int64)
        return State(Lengths(np.where(whole, longer, np.where(fell, shorter, tau)), mean), Empty())


@dataclass(frozen=True)
class GammaTunePlus(GammaTune):
    """GammaTune that also stops drafting once the drafter's top-1 probability is low.

    Attributes:
      initial, smoothing, step, least, most: as in ``gammatune``.
      threshold: top-1 probability below which a draft ends, in [0, 1].
    """

    threshold: float = 0.4

    signals = ("top1_probability",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.threshold <= 1:
            raise PolicySpecError(
                f"gammatune-plus: threshold = {self.threshold}; it must be in [0, 1]"
            )

    def keep_drafting(
        self,
        state: State[Lengths, Empty],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        return ~unconfident(signals.top1_probability[:, depth - 1], self.threshold)
