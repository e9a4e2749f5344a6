"""Stop after token i when sqrt(0.15 H_i) > 0.3, H_i the entropy of the draft in nats.

SVIP (Zhang et al. 2024, arXiv 2411.18462): the probability of acceptance is at least
``1 - sqrt(KL(q, p) / 2)`` (Pinsker), and the divergence is taken to be proportional to the draft's
own entropy at temperature 1. Constants 0.15 and 0.3, and the cap of 40 tokens, are those of the
authors' code; together they say H_i > 0.6 nats.

Signals: ``entropy``. Weakness: no state, no costs; the constants want tuning for each pair of
models, and entropy drifts with the length of the text; it never falls back. No departures.
"""

from dataclasses import dataclass

from adaptive_spec._arrays import BoolArray
from adaptive_spec.policies._inside import draft_upto, require_tau, require_within
from adaptive_spec.policies._stopping import SVIP_COEFFICIENT, SVIP_THRESHOLD, svip_stops
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Empty, Outcome, Policy, State


@dataclass(frozen=True)
class Svip(Policy[Empty, Empty]):
    """Stops when the draft's entropy is high, by a fixed bound on acceptance (SVIP).

    Attributes:
      threshold: largest ``sqrt(coefficient * entropy)`` to draft on at, in [0, 1].
      coefficient: of the entropy in nats, in [0, 100].
      tau: most tokens to draft, 0 to 1024.
    """

    threshold: float = SVIP_THRESHOLD
    coefficient: float = SVIP_COEFFICIENT
    tau: int = 40

    signals = ("entropy",)

    def __post_init__(self) -> None:
        require_within("svip", "threshold", self.threshold, 0, 1)
        require_within("svip", "coefficient", self.coefficient, 0, 100)
        require_tau("svip", self.tau)

    def init(self, num_sequences: int, seed: int) -> State[Empty, Empty]:
        return State(Empty(), Empty())

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        return draft_upto(cycle, self.tau)

    def keep_drafting(
        self,
        state: State[Empty, Empty],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        return ~svip_stops(signals.entropy[:, -1], self.threshold, self.coefficient)

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        return state
