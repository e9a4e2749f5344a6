"""The draft ends where the stopping test says so that leads UCB1 over four published tests.

TapOut at sequence level (Sridhar et al. 2025, arXiv 2511.02017): an arm is a stopping test, one is
played per cycle, and after drafting ``D`` tokens of which ``A`` were accepted its reward is
``alpha A / tau + (1 - alpha) A / D``; the next is the largest ``mean + sqrt(2 ln t / n)``.
The arms, with their own published defaults (``_stopping``): max-confidence, SVIP, AdaEDL, logit
margin.

Signals: top-1 probability, entropy and margin of the draft; where one is NaN its arms draft on.
Departures: the paper's fifth arm, on differences of SVIP's bound, is left out, for its formula is
not known to us; nor are the thresholds that its arms carry, and AdaEDL's stays where it begins.

Weakness: the reward is not throughput: accepted tokens count, whatever it cost to draft them. No
arm falls back to plain decoding, and one leads for all sequences alike.
"""

from dataclasses import dataclass

import numpy as np

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec.policies._arms import Choice, Tally, ucb1_index
from adaptive_spec.policies._inside import require_tau, require_within
from adaptive_spec.policies._stopping import adaedl_stops, svip_stops, unconfident, undecided
from adaptive_spec.policy import (
    Cycle,
    Decision,
    DraftSignals,
    Empty,
    Outcome,
    Policy,
    State,
)

_TESTS = 4
_EXPLORATION = 2.0


@dataclass(frozen=True)
class TapOut(Policy[Empty, Tally]):
    """Ends the draft by whichever published stopping test has brought the most (TapOut).

    Attributes:
      tau: most tokens to draft, 1 to 1024.
      alpha: share of the accepted length in the reward, in [0, 1]; the rest is the accepted share.
    """

    tau: int = 40
    alpha: float = 0.5

    learns = "across sequences"
    signals = ("top1_probability", "entropy", "margin")

    def __post_init__(self) -> None:
        require_tau("tapout", self.tau, least=1)
        require_within("tapout", "alpha", self.alpha, 0, 1)

    def init(self, num_sequences: int, seed: int) -> State[Empty, Tally]:
        return State(Empty(), Tally.fresh(1, _TESTS))

    def decide(self, state: State[Empty, Tally], cycle: Cycle) -> Decision:
        tau = cycle.clip(np.full(cycle.max_tau.shape, self.tau))
        return Decision(tau, Choice.certain(np.full(tau.shape, self._leader(state))))

    def keep_drafting(
        self,
        state: State[Empty, Tally],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        entropy, arm = signals.entropy[:, -1], decision.memo.arm
        stops = [
            unconfident(signals.top1_probability[:, -1]),
            svip_stops(entropy),
            adaedl_stops(entropy),
            undecided(signals.margin[:, -1]),
        ]
        on: BoolArray = ~np.stack(stops)[arm, np.arange(arm.size)]
        return on

    def update(self, state: State[Empty, Tally], outcome: Outcome) -> State[Empty, Tally]:
        arm: IntArray = outcome.decision.memo.arm
        drafted, accepted = outcome.num_draft_tokens, outcome.num_accepted_tokens
        longest = max(min(self.tau, outcome.cycle.max_draft_tokens), 1)
        share = accepted / np.maximum(drafted, 1)
        reward = self.alpha * accepted / longest + (1.0 - self.alpha) * share
        return State(Empty(), state.shared.add(arm, reward, drafted > 0))

    def _leader(self, state: State[Empty, Tally]) -> int:
        tally = state.shared
        return int(ucb1_index(tally.pulls, tally.rewards, _EXPLORATION)[0].argmax())
