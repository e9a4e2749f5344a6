"""Stop after token i when q(x_i) < theta; theta <- argmin over ROC points of fpr + 3 (1 - tpr).

q(x_i) is the draft's probability of its own token. The rule, theta = 0.4 at first, 20 tokens at
most and the adaptation are those of assisted generation in Hugging Face transformers 5.x
(``ConfidenceCriteria``, ``AssistedCandidateGenerator.update_candidate_strategy``), from the authors
of DISCO (Mamou et al. 2024, arXiv 2405.04304). Of every generation, drafted tokens up to and
including the first miss are kept with whether they matched; with more than 5 of them, both kinds
among them, theta becomes the threshold that weighs a match given up three times a miss let through.

Signals: ``top1_probability``. Weakness: the 1:3 is fixed, whatever drafting costs; a threshold is
learned anew in each sequence; it never falls back. Departure: kept tokens are counted in hundredths
of probability (a bounded state), so that thresholds are multiples of 0.01.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.policies._inside import Judged, draft_upto, require_tau, require_within
from adaptive_spec.policies._stopping import MAX_CONFIDENCE_THRESHOLD, unconfident
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Empty, Outcome, Policy, State

BINS = 100
LEAST_SAMPLES = 6
MISS_TO_MATCH = 3.0
"""What stopping at a token that would have matched costs, over drafting on at one that does not."""


class Matches(NamedTuple):
    """What a sequence has shown.

    Attributes:
      threshold: ``[B]`` theta, in [0, 1].
      counts: ``[B, 2, BINS]`` tokens judged, by refused (0) or accepted (1) and by probability.
    """

    threshold: FloatArray
    counts: IntArray


@dataclass(frozen=True)
class Confidence(Policy[Matches, Empty]):
    """Stops when the draft's probability of its own token is low (transformers).

    Attributes:
      threshold: least probability to draft on at, in [0, 1].
      tau: most tokens to draft, 0 to 1024.
      adapt: move the threshold along the ROC curve of the sequence's own tokens.
    """

    threshold: float = MAX_CONFIDENCE_THRESHOLD
    tau: int = 20
    adapt: bool = True

    learns = "per sequence (adapt=false: nothing)"
    signals = ("top1_probability",)

    def __post_init__(self) -> None:
        require_within("confidence", "threshold", self.threshold, 0, 1)
        require_tau("confidence", self.tau)

    def init(self, num_sequences: int, seed: int) -> State[Matches, Empty]:
        threshold = np.full(num_sequences, self.threshold)
        return State(Matches(threshold, np.zeros((num_sequences, 2, BINS), np.int64)), Empty())

    def decide(self, state: State[Matches, Empty], cycle: Cycle) -> Decision:
        return draft_upto(cycle, self.tau)

    def keep_drafting(
        self,
        state: State[Matches, Empty],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        return ~unconfident(signals.top1_probability[:, -1], state.rows.threshold)

    def update(self, state: State[Matches, Empty], outcome: Outcome) -> State[Matches, Empty]:
        if not self.adapt or outcome.signals is None:
            return state
        probability = outcome.signals.top1_probability
        known = np.isfinite(probability)
        cell = np.clip(np.where(known, probability, 0.0) * BINS, 0, BINS - 1).astype(np.int64)
        counts = state.rows.counts.copy()
        accepted, refused = Judged.of(outcome)
        for label, judged in enumerate((refused, accepted)):
            row, depth = np.nonzero(judged & known)
            np.add.at(counts[:, label], (row, cell[row, depth]), 1)
        return State(Matches(_best_threshold(counts, state.rows.threshold), counts), state.shared)


def _best_threshold(counts: IntArray, before: FloatArray) -> FloatArray:
    """The threshold of least cost, the highest of several; ``before`` without enough evidence."""
    # At the threshold b / BINS, what lies in cell b or above is drafted on at.
    passed = counts[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
    total = passed[:, :, :1]
    rate = passed / np.maximum(total, 1)  # [B, 2, BINS]: fpr, tpr
    cost = rate[:, 0] + MISS_TO_MATCH * (1.0 - rate[:, 1])
    # A threshold is one of the probabilities seen.
    cost = np.where(counts.sum(axis=1) > 0, cost, np.inf)
    best = BINS - 1 - cost[:, ::-1].argmin(axis=1)
    enough = (total.sum(axis=(1, 2)) >= LEAST_SAMPLES) & total.all(axis=(1, 2))
    return np.where(enough, best / BINS, before)
