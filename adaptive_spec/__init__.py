"""How many tokens should speculative decoding draft next? This package decides, and tells why.

A ``Policy`` decides, a ``Controller`` drives it. The same controller and policy run in the
decoder (``adaptive_spec.decoding``), in the exact replay of recorded traces
(``adaptive_spec.traces``, ``adaptive_spec.simulations``) and behind the command ``adaptive-spec``.
Built-in rules live in ``adaptive_spec.policies``. Importing this needs numpy and scipy only.
"""

from adaptive_spec._version import __version__
from adaptive_spec.constraints import Constraints, EndReason, Feasibility, LatencyTarget, PassBudget
from adaptive_spec.controller import Controller, Plan
from adaptive_spec.cost_files import parse_costs
from adaptive_spec.costs import ConstantCosts, CostModel, MeasuredCosts
from adaptive_spec.errors import (
    AdaptiveSpecError,
    ConfigError,
    ContextLengthError,
    CostsError,
    DrafterSpecError,
    MissingDependencyError,
    ModelLoadError,
    NumericsError,
    PolicyContractError,
    PolicySpecError,
    PromptError,
    TraceError,
    VocabularyMismatchError,
)
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Empty, Outcome, Policy, State
from adaptive_spec.registry import make_policy, policy_names

__all__ = [
    "AdaptiveSpecError",
    "ConfigError",
    "ConstantCosts",
    "Constraints",
    "ContextLengthError",
    "Controller",
    "CostModel",
    "CostsError",
    "Cycle",
    "Decision",
    "DraftSignals",
    "DrafterSpecError",
    "Empty",
    "EndReason",
    "Feasibility",
    "LatencyTarget",
    "MeasuredCosts",
    "MissingDependencyError",
    "ModelLoadError",
    "NumericsError",
    "Outcome",
    "PassBudget",
    "Plan",
    "Policy",
    "PolicyContractError",
    "PolicySpecError",
    "PromptError",
    "State",
    "TraceError",
    "VocabularyMismatchError",
    "__version__",
    "make_policy",
    "parse_costs",
    "policy_names",
]
