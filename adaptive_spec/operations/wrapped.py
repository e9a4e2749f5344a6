"""Policies that stand before another, as adapters' safety does: what is behind them.

By convention such a policy has the other one as ``policy``, and keeps its state as it is.
"""

from typing import Any

from adaptive_spec.policy import Policy
from adaptive_spec.registry import policy_spec


def innermost(policy: Policy[Any, Any]) -> Policy[Any, Any]:
    """The policy that decides."""
    behind = getattr(policy, "policy", None)
    return innermost(behind) if isinstance(behind, Policy) else policy


def spec_of(policy: Policy[Any, Any]) -> str:
    """The spec of the policy that decides; its class where it has none."""
    inner = innermost(policy)
    return policy_spec(inner) if hasattr(inner, "__dataclass_fields__") else type(inner).__name__


def failure_of(policy: Policy[Any, Any]) -> BaseException | None:
    """What a policy failed with, where one stands before it that goes on without it."""
    failure = getattr(policy, "failure", None)
    return failure if isinstance(failure, BaseException) else None
