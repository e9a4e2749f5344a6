"""Promises of a product, and how they are kept: verifier passes, latency, by class of request."""

from adaptive_spec.constraints.bucket import Payment
from adaptive_spec.constraints.feasibility import Feasibility
from adaptive_spec.constraints.frontier import Frontier
from adaptive_spec.constraints.keeper import EndReason, Keeper, asked_tau
from adaptive_spec.constraints.latency_target import LatencyTarget
from adaptive_spec.constraints.ledger import Ledger
from adaptive_spec.constraints.pass_budget import PassBudget
from adaptive_spec.constraints.promises import AnyConstraints, ByClass, Constraints

__all__ = [
    "AnyConstraints",
    "ByClass",
    "Constraints",
    "EndReason",
    "Feasibility",
    "Frontier",
    "Keeper",
    "LatencyTarget",
    "Ledger",
    "PassBudget",
    "Payment",
    "asked_tau",
]
