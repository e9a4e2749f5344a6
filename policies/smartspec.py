"""tau = argmax over k of goodput(k) = (1 + a + ... + a**k) / time(k), a a global acceptance rate.

Source: SmartSpec / TurboSpec, Liu et al. 2024 (arXiv 2406.14066): goodput is the sum over the batch
of ``(1 - a**(k+1)) / (1 - a)`` over the batch's time, maximised over k = 0..K before every step; a
is a moving average of recent acceptance. The tokens expected are Leviathan et al. 2023, eq. 1.

Signals: accepted counts, batch size, costs, prices. Weakness: one constant acceptance for all
sequences and depths, and accepted / drafted, which counts what follows a rejection as refused,
lies below it for every draft longer than one token; once tau is 0 no evidence comes in any more,
so that only other costs (a smaller batch) bring drafting back.

Departures: time comes from the cost model in force (theirs is linear in the batch's context and
query tokens) and heeds the price of a pass; weight and start of the moving average are not known
to us, .1 and .7 stand in for them.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, Policy, State


class GlobalAcceptance(NamedTuple):
    """Moving average of accepted / drafted over all sequences, ``[1]``, in [0, 1]."""

    rate: FloatArray


@dataclass(frozen=True)
class SmartSpec(Policy[Empty, GlobalAcceptance]):
    """SmartSpec's goodput: most expected tokens per time under one acceptance rate for everyone.

    Attributes:
      smoothing: weight of the newest batch in the acceptance rate, in (0, 1].
      initial: acceptance rate assumed before any evidence, in [0, 1].
    """

    smoothing: float = 0.1
    initial: float = 0.7

    learns = "across sequences"
    heeds_prices = True

    def __post_init__(self) -> None:
        if not 0 < self.smoothing <= 1:
            raise PolicySpecError(f"smartspec: smoothing = {self.smoothing}; it must be in (0, 1]")
        if not 0 <= self.initial <= 1:
            raise PolicySpecError(f"smartspec: initial = {self.initial}; it must be in [0, 1]")

    def init(self, num_sequences: int, seed: int) -> State[Empty, GlobalAcceptance]:
        return State(Empty(), GlobalAcceptance(np.array([self.initial])))

    def decide(self, state: State[Empty, GlobalAcceptance], cycle: Cycle) -> Decision:
        expected = (state.shared.rate ** np.arange(cycle.max_draft_tokens + 1)).cumsum()
        best = (expected / cycle.priced_ms().mean(axis=0)).argmax()
        return Decision(cycle.clip(np.full(cycle.max_tau.shape, best)))

    def update(
        self, state: State[Empty, GlobalAcceptance], outcome: Outcome
    ) -> State[Empty, GlobalAcceptance]:
        drafted = outcome.num_draft_tokens.sum()
        if drafted == 0:
            return state
        rate = state.shared.rate
        newest = outcome.num_accepted_tokens.sum() / drafted
        return State(Empty(), GlobalAcceptance(rate + self.smoothing * (newest - rate)))
