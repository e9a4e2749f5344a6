"""drafter = argmax of ``mean_i + beta sqrt(2 ln t / n_i)`` over the drafters that are available.

MetaSD (Kim et al. 2026, arXiv 2604.05417): drafters are the arms of UCB1, and the reward of one is
its alignment with the verifier over a draft, ``(1 / N) sum_i (1 - TV(p_i, q_i))``, ``N`` the
tokens asked for. Per sequence; the draft length is a constant.

Signals: accepted counts. Departures: the distance TV at each position is not reported to policies,
so ``A / N`` stands for it, ``A`` the tokens accepted (block efficiency, the weaker of the two
signals that the paper weighs); a drafter that proposes nothing at a position sits it out. ``beta``
and the draft length are ours.

Weakness: it weighs no costs, so that a slow drafter wins by one more accepted token; a rejected
first token says nothing of the rest of the draft; the length stays as it is.
"""

import math
from dataclasses import dataclass

import numpy as np

from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._arms import Tally, ucb1_index
from adaptive_spec.policies._inside import require_tau
from adaptive_spec.policy import (
    MAX_DRAFTERS,
    Cycle,
    Decision,
    Empty,
    Outcome,
    Policy,
    State,
)


@dataclass(frozen=True)
class MetaSD(Policy[Tally, Empty]):
    """Chooses between composed drafters, for each sequence the one most accepted (MetaSD).

    Attributes:
      tau: tokens to draft, 1 to 1024; capped by what a cycle allows.
      beta: factor of the bonus of drafters seldom asked, in (0, 1000].
    """

    tau: int = 3
    beta: float = 1.0

    learns = "per sequence"

    def __post_init__(self) -> None:
        require_tau("metasd", self.tau, least=1)
        if not 0 < self.beta <= 1000:
            raise PolicySpecError(f"metasd: beta = {self.beta}; it must be in (0, 1000]")

    def init(self, num_sequences: int, seed: int) -> State[Tally, Empty]:
        return State(Tally.fresh(num_sequences, MAX_DRAFTERS), Empty())

    def decide(self, state: State[Tally, Empty], cycle: Cycle) -> Decision:
        index = ucb1_index(*state.rows, 2.0 * self.beta**2)[:, : len(cycle.drafters)]
        best = np.where(cycle.available, index, -math.inf).argmax(axis=1)
        drafter = np.where(cycle.available.any(axis=1), best, cycle.drafter)
        return Decision(cycle.clip(np.full(drafter.shape, self.tau)), drafter=drafter)

    def update(self, state: State[Tally, Empty], outcome: Outcome) -> State[Tally, Empty]:
        share = outcome.num_accepted_tokens / np.maximum(outcome.tau, 1)
        drafted = outcome.num_draft_tokens > 0
        return State(state.rows.add(outcome.drafter, share, drafted), Empty())
