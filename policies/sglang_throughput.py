"""tau = argmax over tiers S of (1 + p_0 + ... + p_(S-1)) / time(S), p_k = P(more than k accepted).

Source: SGLang pull request #28045, not merged in 0.5.23. p_k is the mean, over the last 20 batches
that drafted more than k tokens, of the share of sequences that accepted more than k. Beyond the n
depths observed it goes on geometrically, with ratio ``(p_(n-1) / p_0) ** (1 / (n - 1))``, at most 1
(and 1 for n = 1). Every 10 batches, once the windows of all depths in use are full, the best tier
for the batch size takes over; where that is shorter, the windows of the depths left are cleared.
Tiers by batch size are the example of its documentation: 1, 3, 5, 7 for batches of 1 and more;
1, 3, 5 from 8; 1, 3 from 32; 1 from 128.

Signals: accepted counts, batch size, costs, prices. Weakness: no fallback, since every tier drafts;
slow (a window for each depth, for all sequences together); beyond the depths tried it trusts the
extrapolation, which is flat after one depth.

Departures: time comes from the cost model in force, not from a profile at start-up, and heeds the
price of a pass; the batch judged is the one just verified, not the next; a sequence whose draft
was cut short says nothing about the depths it did not reach.
"""

import bisect
import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._by_batch import first_tier, require_tiers
from adaptive_spec.policy import MAX_TAU, Cycle, Decision, Empty, Outcome, Policy, State

_MOST_BATCHES = 10_000

_TIERS: dict[int, tuple[int, ...]] = {1: (1, 3, 5, 7), 8: (1, 3, 5), 32: (1, 3), 128: (1,)}


class Windows(NamedTuple):
    """What all sequences have shown, for each of ``P`` depths.

    Attributes:
      share: ``[P, window]`` share of sequences accepted beyond the depth, of each batch, a ring; 0
        where not filled yet.
      filled: ``[P]`` batches observed since the depth's window was last cleared.
      tau: ``[1]`` tier in force.
      batches: ``[1]`` batches that drafted so far.
    """

    share: FloatArray
    filled: IntArray
    tau: IntArray
    batches: IntArray


@dataclass(frozen=True)
class SglangThroughput(Policy[Empty, Windows]):
    """SGLang's throughput-aware tiers: most expected tokens per time, by acceptance at each depth.

    Attributes:
      tiers: draft lengths to choose from, increasing, 1 to 1024, whatever the batch size; none for
        SGLang's own, which depend on it.
      initial: draft length to begin with, 1 to 1024; the middle tier where it is none of them.
      window: batches remembered at each depth, 1 to 10000.
      interval: batches between decisions to switch, >= 1.
      hysteresis: gain that a switch must bring, as a share of the present score, >= 0; SGLang's
        optional one is 0.1.
    """

    tiers: tuple[int, ...] | None = None
    initial: int = 3
    window: int = 20
    interval: int = 10
    hysteresis: float = 0.0

    learns = "across sequences"
    heeds_prices = True

    def __post_init__(self) -> None:
        if self.tiers is not None:
            require_tiers("sglang-throughput", self.tiers, least=1)
        if not 1 <= self.initial <= MAX_TAU:
            raise PolicySpecError(
                f"sglang-throughput: initial = {self.initial}; it must be in 1..{MAX_TAU}"
            )
        if not 1 <= self.window <= _MOST_BATCHES:
            raise PolicySpecError(
                f"sglang-throughput: window = {self.window}; it must be in 1..{_MOST_BATCHES}"
            )
        if self.interval < 1:
            raise PolicySpecError(
                f"sglang-throughput: interval = {self.interval}; it must be at least 1"
            )
        if not self.hysteresis >= 0:
            raise PolicySpecError(
                f"sglang-throughput: hysteresis = {self.hysteresis}; it must be at least 0"
            )

    @functools.cached_property
    def _tiers(self) -> dict[int, tuple[int, ...]]:
        return _TIERS if self.tiers is None else {1: self.tiers}

    def init(self, num_sequences: int, seed: int) -> State[Empty, Windows]:
        smallest = self._tiers[1]
        depths = max(tier for tiers in self._tiers.values() for tier in tiers)
        tau = smallest[first_tier(smallest, self.initial)]
        filled = np.zeros(depths, np.int64)
        share = np.zeros((depths, self.window))
        return State(Empty(), Windows(share, filled, np.array([tau]), np.zeros(1, np.int64)))

    def decide(self, state: State[Empty, Windows], cycle: Cycle) -> Decision:
        return Decision(cycle.clip(np.full(cycle.max_tau.shape, state.shared.tau[0])))

    def update(self, state: State[Empty, Windows], outcome: Outcome) -> State[Empty, Windows]:
        if not outcome.num_draft_tokens.any():
            return state
        windows = _observed(state.shared, outcome)
        reach = min(int(windows.tau[0]), outcome.cycle.max_draft_tokens)
        due = windows.batches[0] % self.interval == 0
        if due and (windows.filled[:reach] >= self.window).all():
            windows = self._switched(windows, outcome.cycle)
        return State(Empty(), windows)

    def _switched(self, windows: Windows, cycle: Cycle) -> Windows:
        """After the choice of the tier for the cycle's batch size."""
        bounds = list(self._tiers)
        tiers = self._tiers[bounds[max(bisect.bisect_right(bounds, cycle.batch_size) - 1, 0)]]
        batch_ms = cycle.priced_ms().mean(axis=0)
        tokens = 1.0 + np.cumsum(_survival(windows))
        present = int(windows.tau[0])

        def score(tau: int) -> float:
            within = min(tau, cycle.max_draft_tokens)
            return float(tokens[within - 1] / batch_ms[within])

        best = max(tiers, key=score)
        if present in tiers and score(best) <= score(present) * (1.0 + self.hysteresis):
            return windows
        left = np.arange(windows.filled.size) >= best
        return windows._replace(
            share=np.where(left[:, None], 0.0, windows.share),
            filled=np.where(left, 0, windows.filled),
            tau=np.array([best]),
        )


def _observed(windows: Windows, outcome: Outcome) -> Windows:
    """With a batch's outcome in the windows of the depths that it reached."""
    share, filled, tau, batches = windows
    depth = np.arange(filled.size)
    tested = (outcome.num_draft_tokens[:, None] > depth) & (depth < tau)  # [B, P]
    accepted = tested & (outcome.num_accepted_tokens[:, None] > depth)
    count = tested.sum(axis=0)
    seen = np.flatnonzero(count)
    share = share.copy()
    share[seen, filled[seen] % share.shape[1]] = accepted.sum(axis=0)[seen] / count[seen]
    return Windows(share, filled + (count > 0), tau, batches + 1)


def _survival(windows: Windows) -> FloatArray:
    """p_k for every depth, observed or extrapolated, ``[P]``; depth 0 must have been observed."""
    share, filled = windows.share, windows.filled
    p: FloatArray = share.sum(axis=1) / np.clip(filled, 1, share.shape[1])
    known = int((filled > 0).argmin()) or filled.size
    ratio = 1.0
    if p[0] == 0:
        ratio = 0.0
    elif known > 1:
        ratio = min((p[known - 1] / p[0]) ** (1.0 / (known - 1)), 1.0)
    p[known:] = p[known - 1] * ratio ** np.arange(1, filled.size - known + 1)
    return p
