"""What rules that stop inside the draft have in common: the cap, and what a cycle judged.

After each drafted token the rule says whether to draft another; the token on which it stopped has
been drafted and is verified. A signal that is missing (NaN) is no reason to stop.
"""

from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policy import MAX_TAU, Cycle, Decision, Outcome


def require_tau(name: str, tau: int, least: int = 0) -> None:
    """Refuses a cap of the policy ``name`` that is out of range."""
    require_within(name, "tau", tau, least, MAX_TAU)


def require_within(name: str, field: str, value: float, low: float, high: float) -> None:
    """Refuses a field of the policy ``name`` outside ``low..high``, or not a number."""
    if not low <= value <= high:
        raise PolicySpecError(f"{name}: {field} = {value}; it must be in {low:g}..{high:g}")


def draft_upto(cycle: Cycle, tau: int) -> Decision:
    """Up to ``tau`` tokens for every sequence; the rule stops within."""
    return Decision(cycle.clip(np.full(cycle.max_tau.shape, tau, np.int64)))


class Judged(NamedTuple):
    """Drafted tokens that verification judged: the accepted ones and the first that was refused.

    Attributes:
      accepted: ``[B, K]`` tokens that were accepted.
      refused: ``[B, K]`` the token that was refused, at most one in a row. What was drafted behind
        it was never judged.
    """

    accepted: BoolArray
    refused: BoolArray

    @classmethod
    def of(cls, outcome: Outcome) -> "Judged":
        """Those of a cycle; a draft cut short by the sequence's end has no refused token."""
        depth = np.arange(outcome.cycle.max_draft_tokens)
        accepted = outcome.num_accepted_tokens[:, None]
        return cls(depth < accepted, (depth == accepted) & outcome.rejected[:, None])
