"""Stop after token i when C(signals of token i, i) < 0.4, C a small network fitted offline.

DISCO (Mamou et al. 2024, arXiv 2405.04304): a network of two layers on the draft's ten largest
probabilities, its entropy, and the token's place i in the draft estimates the chance that the token
is accepted; it is trained once, on sequences decoded beforehand, and shared by all sequences.

Signals: ``top1_probability``, ``entropy``, ``margin``. Weakness: a head fits the pair of models and
the kind of text that it was fitted on; the threshold says nothing of costs; it never falls back.
Departures: of the ten probabilities there are the largest, and the margin to the next. The paper's
threshold and longest draft could not be recovered; 0.4 and 20 are the defaults that transformers
has for ``confidence``, which the same authors made of it.
"""

import functools
from dataclasses import dataclass

from adaptive_spec._arrays import BoolArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._head import DEFAULT_HEAD, Head, read_head
from adaptive_spec.policies._inside import draft_upto, require_tau, require_within
from adaptive_spec.policies._signal_features import SIGNALS, signal_features
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Empty, Outcome, Policy, State


@dataclass(frozen=True)
class Disco(Policy[Empty, Empty]):
    """Stops when a small network, fitted offline, expects the token to be refused (DISCO).

    Attributes:
      head: file written by `adaptive-spec fit-head`; None for the head of the built-in draft model.
      threshold: least chance of acceptance to draft on at, in [0, 1].
      tau: most tokens to draft, 0 to 1024.
    """

    head: str | None = None
    threshold: float = 0.4
    tau: int = 20

    learns = "nothing (its head: offline)"
    signals = SIGNALS

    def __post_init__(self) -> None:
        require_within("disco", "threshold", self.threshold, 0, 1)
        require_tau("disco", self.tau)
        try:
            self._network  # noqa: B018  # a file that cannot be read is refused here and now
        except PolicySpecError as error:
            raise PolicySpecError(f"disco: {error}") from None

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
        newest = DraftSignals(*(column[:, -1:] for column in signals))
        chance = self._network.acceptance(signal_features(newest, depth))[:, 0]
        return ~(chance < self.threshold)

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        return state

    @functools.cached_property
    def _network(self) -> Head:
        return read_head(DEFAULT_HEAD if self.head is None else self.head)
