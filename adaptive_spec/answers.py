"""What a policy may answer; anything else is refused with the method and the field to blame."""

from typing import Any

import numpy as np

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec.errors import PolicyContractError
from adaptive_spec.policy import Cycle, Decision, Policy, State


def require_state(policy: Policy[Any, Any], method: str, state: object) -> None:
    """Refuses what is no state.

    Raises:
      PolicyContractError: ``method`` of the policy returned something else.
    """
    if not isinstance(state, State):
        raise PolicyContractError(
            f"{type(policy).__name__}.{method}: must return a State(rows, shared), got "
            f"{type(state).__name__}"
        )


def checked_decision(
    policy: Policy[Any, Any], decision: object, cycle: Cycle
) -> tuple[IntArray, IntArray]:
    """What ``policy.decide`` chose.

    Returns:
      tau ``[B]``, and drafters ``[B]``: the default ones where it chose none.

    Raises:
      PolicyContractError: it is no decision, or one that the cycle does not allow.
    """
    name = type(policy).__name__
    if not isinstance(decision, Decision):
        raise PolicyContractError(
            f"{name}.decide: must return a Decision(tau), got {type(decision).__name__}"
        )
    return _tau(name, decision, cycle), _drafter(name, decision, cycle)


def who_catches_up(
    policy: Policy[Any, Any], decision: Decision, cycle: Cycle, drafts: IntArray
) -> BoolArray:
    """Which drafters are to read without drafting, ``[B, D]``: those asked to that are behind.

    Args:
      policy: whose decision it is.
      decision: as it was checked.
      cycle: what it was made for.
      drafts: ``[B]`` who drafts, and thereby reads anyway; -1 for nobody.

    Raises:
      PolicyContractError: ``catch_up`` is not one bool per row.
    """
    wanted, behind = decision.catch_up, cycle.behind_tokens > 0
    if wanted is None:
        return np.zeros(behind.shape, np.bool_)
    if (
        not isinstance(wanted, np.ndarray)
        or wanted.shape != drafts.shape
        or wanted.dtype != np.bool_
    ):
        raise PolicyContractError(
            f"{type(policy).__name__}.decide: catch_up must be one bool per row, or None"
        )
    reading: BoolArray = wanted[:, None] & behind & (np.arange(behind.shape[1]) != drafts[:, None])
    return reading


def _tau(name: str, decision: Decision, cycle: Cycle) -> IntArray:
    tau = decision.tau
    if not isinstance(tau, np.ndarray) or tau.shape != cycle.max_tau.shape:
        raise PolicyContractError(
            f"{name}.decide: tau must be an array of shape {cycle.max_tau.shape}, got "
            f"{getattr(tau, 'shape', type(tau).__name__)}"
        )
    if not np.issubdtype(tau.dtype, np.integer):
        raise PolicyContractError(
            f"{name}.decide: tau must be integers, got {tau.dtype}; use cycle.clip(tau)"
        )
    if ((tau < cycle.min_tau) | (tau > cycle.max_tau)).any():
        raise PolicyContractError(
            f"{name}.decide: tau {tau.tolist()[:8]} outside min_tau "
            f"{cycle.min_tau.tolist()[:8]}..max_tau {cycle.max_tau.tolist()[:8]}; "
            "use cycle.clip(tau)"
        )
    return tau


def _drafter(name: str, decision: Decision, cycle: Cycle) -> IntArray:
    default, chosen = cycle.drafter, decision.drafter
    if chosen is None:
        return default
    if (
        not isinstance(chosen, np.ndarray)
        or chosen.shape != default.shape
        or not np.issubdtype(chosen.dtype, np.integer)
    ):
        raise PolicyContractError(
            f"{name}.decide: drafter must be one integer per row, or None for the default"
        )
    known = (chosen >= 0) & (chosen < len(cycle.drafters))
    row = np.arange(chosen.size)
    allowed = known & cycle.available[row, np.where(known, chosen, 0)]
    if not (allowed | (chosen == default)).all():
        wrong = int(np.flatnonzero(~(allowed | (chosen == default)))[0])
        there = np.flatnonzero(cycle.available[wrong]).tolist()
        raise PolicyContractError(
            f"{name}.decide: drafter {int(chosen[wrong])} of row {wrong}; available there are "
            f"{there or 'none'} (see cycle.available)"
        )
    return chosen
