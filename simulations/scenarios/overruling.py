"""How often keeping promises takes the decision out of a policy's hands.

A controller that keeps a pass budget or a latency target raises the least tau, or lowers the
largest, of policies that would not do so by themselves. A *watched* policy decides as it would
have, and asks itself once more, in the same state, what it would have decided without.
"""

from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray
from adaptive_spec.policy import DECLARED, Cycle, Decision, DraftSignals, Outcome, Policy, State


class Overruled(NamedTuple):
    """What became of a policy's decisions.

    Attributes:
      cycles: of all sequences, that it decided on.
      raised: those of them in which it would have drafted less than it had to: chosen a smaller
        tau, or stopped the draft earlier.
      lowered: those in which it would have chosen a larger tau than it could.
    """

    cycles: int
    raised: int
    lowered: int

    @property
    def raised_share(self) -> float:
        """In 0..1; 0 before the first cycle."""
        return self.raised / max(self.cycles, 1)

    @property
    def lowered_share(self) -> float:
        """In 0..1; 0 before the first cycle."""
        return self.lowered / max(self.cycles, 1)


class Watched(Policy[Any, Any]):
    """Another policy, whose decisions it passes on and counts; made by ``watched``.

    It counts what goes through it, so it is good for one run in which every plan is drafted before
    the next one is made.
    """

    def __init__(self, policy: Policy[Any, Any]) -> None:
        """Watches a policy from its first cycle on."""
        self._policy = policy
        self._cycles = self._raised = self._lowered = 0
        self._counted: BoolArray = np.zeros(0, np.bool_)  # as raised, of the last plan

    @property
    def overruled(self) -> Overruled:
        """What became of its decisions so far."""
        return Overruled(self._cycles, self._raised, self._lowered)

    @property
    def looks_inside_draft(self) -> bool:
        """As the policy does."""
        return self._policy.looks_inside_draft

    def init(self, num_sequences: int, seed: int) -> State[Any, Any]:
        """The policy's state."""
        return self._policy.init(num_sequences, seed)

    def update(self, state: State[Any, Any], outcome: Outcome) -> State[Any, Any]:
        """The policy's state after an outcome."""
        return self._policy.update(state, outcome)

    def decide(self, state: State[Any, Any], cycle: Cycle) -> Decision:
        """The policy's decision, compared with the one that it would have made."""
        decision = self._policy.decide(state, cycle)
        free = _without_promises(cycle, heeds_prices=self._policy.heeds_prices)
        wanted = decision.tau
        if (free.min_tau != cycle.min_tau).any() or (free.max_tau != cycle.max_tau).any():
            wanted = self._policy.decide(state, free).tau
        self._counted = wanted < cycle.min_tau
        self._cycles += wanted.size
        self._raised += int(self._counted.sum())
        self._lowered += int((wanted > cycle.max_tau).sum())
        return decision

    def keep_drafting(
        self,
        state: State[Any, Any],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        """The policy's answer; where the controller goes on all the same, that is counted."""
        on = self._policy.keep_drafting(state, cycle, decision, depth, signals)
        forced = ~on & (cycle.min_tau > depth) & ~self._counted
        self._counted = self._counted | forced
        self._raised += int(forced.sum())
        return on


def watched(policy: Policy[Any, Any]) -> Watched:
    """A policy that decides as another one does, and counts when it could not."""
    declared = {name: getattr(policy, name) for name in DECLARED}
    kind: type[Watched] = type(type(policy).__name__, (Watched,), declared)
    return kind(policy)


def _without_promises(cycle: Cycle, *, heeds_prices: bool) -> Cycle:
    """The cycle as it would be, were least and largest tau left alone.

    The largest is lowered only for policies that know no prices. A draft that ends for want of the
    drafter's context looks the same.
    """
    most = cycle.max_tau
    if not heeds_prices:
        most = np.minimum(cycle.remaining_tokens - 1, cycle.max_draft_tokens)
    return cycle._replace(min_tau=np.zeros_like(most), max_tau=most)
