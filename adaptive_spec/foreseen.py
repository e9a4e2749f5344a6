"""Drafts of which everything is known beforehand, as in replay: how far a policy lets them go."""

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.controller import Controller, Plan
from adaptive_spec.policy import DraftSignals


def draft_on(
    controller: Controller, plan: Plan, upto: IntArray, signals: DraftSignals
) -> tuple[IntArray, DraftSignals]:
    """Drafts on while the policy wants to, where all signals are known beforehand.

    Drafters draft one after the other, and meanwhile the policy is shown the signals of that
    drafter's rows alone.

    Args:
      controller: whose policy looks inside the draft.
      plan: as returned by its ``decide``.
      upto: ``[B]`` most tokens to draft, ``<= plan.tau``.
      signals: ``[B, K]`` what the row's drafter would say of each token.

    Returns:
      Tokens drafted ``[B]``, and their signals ``[B, K]``, NaN beyond them.
    """
    drafted = np.zeros_like(upto)
    for drafter in np.unique(plan.drafter[upto > 0]).tolist():
        most = np.where(plan.drafter == drafter, upto, 0)
        drafted = drafted + _draft_with_one(controller, plan, most, signals)
    return drafted, _shown(signals, drafted)


def _draft_with_one(
    controller: Controller, plan: Plan, upto: IntArray, signals: DraftSignals
) -> IntArray:
    drafted, going = np.minimum(upto, 1), upto > 1
    for depth in range(1, int(upto.max(initial=0))):
        if not going.any():
            break
        seen = DraftSignals(*(column[:, :depth] for column in _shown(signals, drafted)))
        going = going & controller.keep_drafting(plan, depth, seen) & (upto > depth)
        drafted = drafted + going
    return drafted


def _shown(signals: DraftSignals, drafted: IntArray) -> DraftSignals:
    """Signals of the tokens drafted so far, NaN beyond them."""
    beyond = np.arange(signals.entropy.shape[1]) >= drafted[:, None]
    return DraftSignals(*(np.where(beyond, np.nan, column) for column in signals))
