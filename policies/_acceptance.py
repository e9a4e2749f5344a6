"""A running estimate of acceptance per sequence, right under censoring, and when to probe.

A draft that was accepted whole does not show where the run would have ended: its accepted count is
*right-censored* at tau. A plain mean of accepted counts estimates E[min(L, tau)], not E[L]; it
confirms small tau by itself. For a constant hazard of rejection the maximum-likelihood estimate
from censored runs is rejections seen / tokens tested, so two averages are kept, of accepted tokens
and of rejections; their ratio is the mean run length (the "total time on test" estimator of an
exponential lifetime, Epstein and Sobel, JASA 1953, here for the geometric).
"""

from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.policy import Outcome

PROBE_TOKENS = 2
SHORTEST_PAUSE_TOKENS = 8
LONGEST_PAUSE_TOKENS = 128
LEAST_REJECTED = 1e-6
"""It keeps the ratio finite after a long spell without a rejection."""
_TOKENS_PER_CYCLE = 8
"""Text after which, without drafting, evidence has aged as by one cycle with it."""


class Acceptance(NamedTuple):
    """What one sequence has shown of its drafter, ``[B]`` each.

    Attributes:
      accepted: moving average of accepted tokens per drafting cycle.
      rejected: moving average of rejections seen per drafting cycle, in (0, 1].
      quiet_tokens: tokens emitted since the last cycle that drafted.
      pause_tokens: tokens to stay quiet before the next probe.
    """

    accepted: FloatArray
    rejected: FloatArray
    quiet_tokens: IntArray
    pause_tokens: IntArray

    @classmethod
    def fresh(cls, num_sequences: int, run_length: float = 2.0) -> "Acceptance":
        """Before any evidence: one imagined rejection after ``run_length`` accepted tokens."""
        return cls(
            np.full(num_sequences, run_length),
            np.ones(num_sequences),
            np.zeros(num_sequences, np.int64),
            np.full(num_sequences, SHORTEST_PAUSE_TOKENS, np.int64),
        )

    @property
    def rate(self) -> FloatArray:
        """Probability that the next draft token is accepted, ``[B]``, in [0, 1)."""
        return self.accepted / (self.accepted + self.rejected)

    def probe(self) -> IntArray:
        """Tokens to draft where drafting does not pay: a short probe when one is due, else 0."""
        return np.where(self.quiet_tokens >= self.pause_tokens, PROBE_TOKENS, 0)

    def learn(self, outcome: Outcome, smoothing: float = 0.1) -> "Acceptance":
        """The estimate after an outcome; cycles that drafted nothing leave the averages alone.

        Evidence ages with the text even while nothing is drafted, so that a probe after a long
        pause counts for more. A draft refused outright doubles the pause before the next probe, up
        to 128 tokens, and any other halves it, down to 8: a dead drafter costs less and less.
        """
        drafted = outcome.num_draft_tokens > 0
        weight = np.where(drafted, newest_weight(self.quiet_tokens, smoothing), 0.0)
        refused = drafted & (outcome.num_accepted_tokens == 0)
        longer = np.minimum(2 * self.pause_tokens, LONGEST_PAUSE_TOKENS)
        shorter = np.maximum(self.pause_tokens // 2, SHORTEST_PAUSE_TOKENS)
        kept = np.where(drafted, shorter, self.pause_tokens)
        rejected = self.rejected + weight * (outcome.rejected - self.rejected)
        return Acceptance(
            self.accepted + weight * (outcome.num_accepted_tokens - self.accepted),
            np.maximum(rejected, LEAST_REJECTED),
            np.where(drafted, 0, self.quiet_tokens + outcome.num_emitted_tokens),
            np.where(refused, longer, kept),
        )


def newest_weight(quiet_tokens: IntArray, smoothing: float) -> FloatArray:
    """Weight of a cycle that drafts, by the tokens emitted since the last one that did."""
    age = 1.0 + quiet_tokens / _TOKENS_PER_CYCLE
    weight: FloatArray = 1.0 - (1.0 - smoothing) ** age
    return weight


def expected_tokens(rate: FloatArray, tau: int | IntArray) -> FloatArray:
    """Expected tokens of a cycle, ``1 + rate + ... + rate**tau`` (Leviathan et al. 2023, eq. 1)."""
    result: FloatArray = (1.0 - rate ** (np.asarray(tau) + 1)) / (1.0 - rate)
    return result
