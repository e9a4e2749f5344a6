"""Drives one sequence through a controller, cycle by cycle, with prescribed run lengths."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from adaptive_spec import ConstantCosts, Controller, CostModel, Policy
from adaptive_spec.controller import UNLIMITED_TOKENS

CHEAP = ConstantCosts(draft=0.1, verify=0.0)


def drive(
    policy: Policy[Any, Any],
    runs: Iterable[int],
    costs: CostModel = CHEAP,
    max_draft_tokens: int = 10,
    proposes: bool = True,
) -> list[int]:
    """tau of each cycle, when the draft's run lengths are ``runs``."""
    controller = Controller(policy, costs=costs, max_draft_tokens=max_draft_tokens)
    rows = controller.admit(np.array([10]), np.array([UNLIMITED_TOKENS]))
    taus = []
    for run in runs:
        plan = controller.decide(rows)
        drafted = plan.tau if proposes else np.zeros_like(plan.tau)
        accepted = np.minimum(drafted, run)
        controller.observe(plan, drafted, accepted, accepted + 1)
        taus.append(int(plan.tau[0]))
    return taus
