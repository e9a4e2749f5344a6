"""tau = argmax over k <= round(L) + margin of E[tokens | k] / priced time(k), L the run length.

``L`` is an exponentially weighted estimate of the accepted-prefix length per sequence, corrected
for censoring at tau (see ``_acceptance``: the plain average of accepted counts, as in GammaTune
(2504.00030) and SGLang's tiers, cannot see beyond the tau it chose itself). Tokens are expected
under a constant acceptance ``a = L / (1 + L)``: ``1 + a + ... + a**k`` (Leviathan et al. 2023,
eq. 1). Where no k >= 1 pays, tau is 0; short probes, ever rarer while they fail, find the way back.

Signals: accepted counts, costs, prices. Weakness: history within one sequence only; one number
cannot describe bursts.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.compiled_replay import CompiledReplay, CycleCounts, CyclePrices, Texts
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._acceptance import (
    LEAST_REJECTED,
    LONGEST_PAUSE_TOKENS,
    PROBE_TOKENS,
    SHORTEST_PAUSE_TOKENS,
    Acceptance,
    expected_tokens,
    newest_weight,
)
from adaptive_spec.policies._compiled import replay_kernels
from adaptive_spec.policy import MAX_TAU, Cycle, Decision, Empty, Outcome, Policy, State

_GRID = 1024
"""Acceptance is read to 1/1024, so that one table of tau serves all rows with the same costs."""


@dataclass(frozen=True)
class Ewma(Policy[Acceptance, Empty]):
    """Follows the moving average of the accepted-prefix length, as far as it pays.

    Attributes:
      smoothing: weight of the newest cycle, in (0, 1].
      margin: tokens drafted beyond the estimated run length at most, 0 to 1024.
      initial: run length assumed before any evidence, in tokens, 0 to 1024.
    """

    smoothing: float = 0.1
    margin: int = 1
    initial: float = 2.0

    learns = "per sequence"
    heeds_prices = True

    def __post_init__(self) -> None:
        if not 0 < self.smoothing <= 1:
            raise PolicySpecError(f"ewma: smoothing = {self.smoothing}; it must be in (0, 1]")
        if not 0 <= self.margin <= MAX_TAU:
            raise PolicySpecError(f"ewma: margin = {self.margin}; it must be in 0..{MAX_TAU}")
        if not 0 <= self.initial <= MAX_TAU:
            raise PolicySpecError(f"ewma: initial = {self.initial}; it must be in 0..{MAX_TAU}")

    def init(self, num_sequences: int, seed: int) -> State[Acceptance, Empty]:
        return State(Acceptance.fresh(num_sequences, self.initial), Empty())

    def decide(self, state: State[Acceptance, Empty], cycle: Cycle) -> Decision:
        priced = cycle.priced_ms()
        cell = np.minimum((state.rows.rate * _GRID).astype(np.int64), _GRID - 1)
        if priced.shape[0] == 1:
            best = _tau_by_acceptance(tuple(priced[0].tolist()), self.margin)[cell]
        else:
            best = _best_tau(_middle(cell), priced, self.margin)
        return Decision(cycle.clip(np.where(best > 0, best, state.rows.probe())))

    def update(self, state: State[Acceptance, Empty], outcome: Outcome) -> State[Acceptance, Empty]:
        return State(state.rows.learn(outcome, self.smoothing), Empty())

    def compiled_replay(self, drafters: int) -> CompiledReplay | None:
        fast = replay_kernels()
        if fast is None:
            return None
        rate = _middle(np.arange(_GRID))

        def run(order: IntArray, texts: Texts, prices: CyclePrices, counts: CycleCounts) -> None:
            _, contexts, depths = prices.shown_ms.shape
            best = None
            if contexts == 1:
                of_drafters = prices.shown_ms[:, 0].tolist()
                best = np.stack([_tau_by_acceptance(tuple(p), self.margin) for p in of_drafters])
            fast.replay_ewma(
                *(order, texts, prices, counts, best),
                expected=expected_tokens(rate[:, None], np.arange(depths)),
                farthest=_farthest(rate, self.margin),
                weight=newest_weight(np.arange(int(texts.num_tokens.max()) + 1), self.smoothing),
                initial=float(self.initial),
                least_rejected=LEAST_REJECTED,
                probe=PROBE_TOKENS,
                pauses=(SHORTEST_PAUSE_TOKENS, LONGEST_PAUSE_TOKENS),
            )

        return run


def _middle(cell: IntArray) -> FloatArray:
    """The acceptance that a cell stands for."""
    rate: FloatArray = (cell + 0.5) / _GRID
    return rate


def _farthest(rate: FloatArray, margin: int) -> FloatArray:
    """The largest tau that is looked at, as a whole number."""
    farthest: FloatArray = np.rint(rate / (1.0 - rate)) + margin
    return farthest


def _best_tau(rate: FloatArray, priced_ms: FloatArray, margin: int) -> IntArray:
    """The rule itself: rate ``[B]``, priced_ms ``[B or 1, K + 1]`` -> tau ``[B]``."""
    tau = np.arange(priced_ms.shape[1])
    gain = expected_tokens(rate[:, None], tau) / priced_ms
    gain[tau > _farthest(rate, margin)[:, None]] = -math.inf
    best: IntArray = np.argmax(gain, axis=1)
    return best


@functools.lru_cache(maxsize=256)
def _tau_by_acceptance(priced_ms: tuple[float, ...], margin: int) -> IntArray:
    """tau for each cell of acceptance, ``[_GRID]``, under costs that all rows share."""
    return _best_tau(_middle(np.arange(_GRID)), np.asarray(priced_ms)[None, :], margin)
