"""Stop after token i when 1 - sqrt(0.2 H_i) < lambda; lambda follows the share accepted to 0.9.

AdaEDL (Agrawal, Jeon, Lee 2024, arXiv 2410.18351): the chance of acceptance is at least
``1 - sqrt(KL / 2)`` (Pinsker), estimated from the entropy H_i of the draft in nats, with 0.2 in
place of what is not known before verification. Their comparison drafts 7 tokens at most.

Signals: ``entropy``. Weakness: no costs; monotone in entropy, so that with the same cut it is SVIP;
it never falls back. Departures: how lambda moves is taken from Draft & Verify, whose target they
share (``_exit_threshold``); the paper's own update and its first lambda could not be recovered.
Ours is 0.6, H_i > 0.8 nats, near SVIP's cut; for the built-in draft at a draft cost of 0.125, on
half of the prompts that come with the package, any from 0.5 up is about as fast.
"""

from dataclasses import dataclass

from adaptive_spec._arrays import BoolArray
from adaptive_spec.policies._exit_threshold import Exit, Exiting
from adaptive_spec.policies._inside import require_within
from adaptive_spec.policies._stopping import ADAEDL_COEFFICIENT, ADAEDL_THRESHOLD, adaedl_stops
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Empty, State


@dataclass(frozen=True)
class AdaEdl(Exiting):
    """Stops on high entropy, by a bound that keeps the share accepted (AdaEDL).

    Attributes:
      threshold: least estimated acceptance to draft on at, to begin with, in [0, 1].
      coefficient: of the entropy in nats, in [0, 100].
      target: share of drafted tokens to be accepted, in [0, 1].
      tau: most tokens to draft, 0 to 1024.
    """

    threshold: float = ADAEDL_THRESHOLD
    coefficient: float = ADAEDL_COEFFICIENT
    target: float = 0.9
    tau: int = 7

    signals = ("entropy",)

    def __post_init__(self) -> None:
        self.require_fields("adaedl")
        require_within("adaedl", "coefficient", self.coefficient, 0, 100)

    def keep_drafting(
        self,
        state: State[Exit, Empty],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        return ~adaedl_stops(signals.entropy[:, -1], state.rows.threshold, self.coefficient)
