"""Stop after token i when q(x_i) < theta; theta follows the share accepted towards 0.9.

The adaptive exit of Draft & Verify (Zhang et al., ACL 2024, arXiv 2309.08168); how theta moves is
in ``_exit_threshold``. q(x_i) is the draft's probability of its own token. Defaults are the
authors': 8 tokens at most, theta = 0.8 at first under greedy decoding (0.5 when sampling), 0.9 the
share of drafted tokens that are to be accepted. State lives for one generation.

Signals: ``top1_probability``. Weakness: the target says nothing of costs; theta moves by 0.001 a
cycle, so that within one answer it hardly does; it never falls back. Departures: theta is held
within [0, 1], and cycles that drafted nothing are passed over.
"""

from dataclasses import dataclass

from adaptive_spec._arrays import BoolArray
from adaptive_spec.policies._exit_threshold import Exit, Exiting
from adaptive_spec.policies._stopping import unconfident
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Empty, State


@dataclass(frozen=True)
class DraftVerify(Exiting):
    """Stops on low probability, by a threshold that keeps the share accepted (Draft & Verify).

    Attributes:
      threshold: least probability to draft on at, to begin with, in [0, 1].
      target: share of drafted tokens to be accepted, in [0, 1].
      tau: most tokens to draft, 0 to 1024.
    """

    threshold: float = 0.8
    target: float = 0.9
    tau: int = 8

    signals = ("top1_probability",)

    def __post_init__(self) -> None:
        self.require_fields("draft-verify")

    def keep_drafting(
        self,
        state: State[Exit, Empty],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        return ~unconfident(signals.top1_probability[:, -1], state.rows.threshold)
