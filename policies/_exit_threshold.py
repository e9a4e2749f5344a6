"""A stopping threshold that follows the share of drafted tokens accepted (Draft & Verify).

Algorithm of Zhang et al., *Draft & Verify*, ACL 2024 (arXiv 2309.08168), section 3.3, with the
defaults of the authors' code. After a cycle that drafted D tokens, A of them accepted::

    AR     = 0.5 AR + 0.5 A / D                    # 1 at first
    theta' = theta + 0.01   if AR < 0.9            # drafts too long: stop sooner
             theta          elif D == tau          # nothing stopped it: no evidence
             theta - 0.01   else
    theta  = 0.9 theta + 0.1 theta'

A higher threshold stops sooner. A cycle moves it by 0.001, so that it takes hundreds to move 0.1.
"""

from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray
from adaptive_spec.policies._inside import draft_upto, require_tau, require_within
from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, Policy, State

KEPT_ACCEPTANCE = 0.5
STEP = 0.01
KEPT_THRESHOLD = 0.9


class Exit(NamedTuple):
    """The rule's state.

    Attributes:
      threshold: ``[B]`` theta, in [0, 1].
      acceptance: ``[B]`` AR, the moving average of the share accepted, in [0, 1].
    """

    threshold: FloatArray
    acceptance: FloatArray

    @classmethod
    def fresh(cls, num_sequences: int, threshold: float) -> "Exit":
        """Before any evidence."""
        return cls(np.full(num_sequences, threshold), np.ones(num_sequences))

    def learn(self, outcome: Outcome, target: float) -> "Exit":
        """The state after an outcome; a cycle that drafted nothing changes nothing."""
        drafted, tau = outcome.num_draft_tokens, outcome.tau
        share = outcome.num_accepted_tokens / np.maximum(drafted, 1)
        acceptance = KEPT_ACCEPTANCE * self.acceptance + (1.0 - KEPT_ACCEPTANCE) * share
        step = np.where(acceptance < target, STEP, np.where(drafted == tau, 0.0, -STEP))
        moved = np.clip(self.threshold + (1.0 - KEPT_THRESHOLD) * step, 0.0, 1.0)
        seen = drafted > 0
        return Exit(
            np.where(seen, moved, self.threshold), np.where(seen, acceptance, self.acceptance)
        )


class Exiting(Policy[Exit, Empty]):
    """All of a rule with such a threshold but its stopping test, which is ``keep_drafting``.

    Attributes:
      threshold: where it begins, in [0, 1].
      target: share of drafted tokens to be accepted, in [0, 1].
      tau: most tokens to draft, 0 to 1024.
    """

    threshold: float
    target: float
    tau: int

    learns = "per sequence"

    def require_fields(self, name: str) -> None:
        """Refuses fields of the policy ``name`` that are out of range."""
        require_within(name, "threshold", self.threshold, 0, 1)
        require_within(name, "target", self.target, 0, 1)
        require_tau(name, self.tau)

    def init(self, num_sequences: int, seed: int) -> State[Exit, Empty]:
        return State(Exit.fresh(num_sequences, self.threshold), Empty())

    def decide(self, state: State[Exit, Empty], cycle: Cycle) -> Decision:
        return draft_upto(cycle, self.tau)

    def update(self, state: State[Exit, Empty], outcome: Outcome) -> State[Exit, Empty]:
        return State(state.rows.learn(outcome, self.target), state.shared)
