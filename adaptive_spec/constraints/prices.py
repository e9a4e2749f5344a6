"""From queues to the price that a request's next cycle pays for its verifier pass.

A budget asks for fewer passes, a latency target for less time; what matters to a decision is the
ratio of the two prices. A request whose fate is open buys time with passes: its time is worth
``1 + late_price * urgency`` times as much, and the price of its pass is divided by that. One that
will be in time anyhow, or is late whatever is done, saves passes.

``urgency`` is how much the chance of being late grows with a little more time: the normal density
at ``slack / spread``, over its peak. The slack is what is left of the target after the time that
the remaining tokens are expected to take; the spread is that of a sum of cycles, each of which
brings about as many tokens more or less as it brings on average (a run length is roughly
geometric).
"""

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.constraints.pass_budget import HIGHEST_PRICE


def urgency(
    slack_ms: FloatArray, remaining_tokens: FloatArray, ms_per_token: FloatArray, per_pass: float
) -> FloatArray:
    """How much depends on the time of the next cycles, ``[B]``, in [0, 1].

    Args:
      slack_ms: ``[B]`` time left until the target when the request is expected to finish.
      remaining_tokens: ``[B]`` expected, > 0.
      ms_per_token: ``[B]`` expected, > 0.
      per_pass: tokens that a pass brings, > 0.
    """
    spread = ms_per_token * np.sqrt(remaining_tokens * per_pass)
    density: FloatArray = np.exp(-0.5 * np.square(slack_ms / np.maximum(spread, 1e-9)))
    return density


def pass_price(price: float, late_price: float, urgent: FloatArray) -> FloatArray:
    """Price of the next pass, ``[B]``, in the unit of ``price``."""
    paid: FloatArray = price / (1.0 + late_price * urgent)
    return paid


def least_tau(price: FloatArray, phase: FloatArray, max_tau: IntArray, *, heeded: bool) -> IntArray:
    """Least tau that a price asks for, whatever the policy makes of it, ``[B]``.

    Of a rule that knows no prices, a token for every plain pass of price: the queue behind the
    price finds the least that keeps the budget. A rule that heeds prices is left alone while it
    can keep the budget by itself; what it does not do is done little by little up to the highest
    price, where drafts are as long as they may be. Fractions are dealt out over cycles.

    Args:
      price: ``[B]`` of a pass, in plain passes.
      phase: ``[B]`` in [0, 1), evenly spread over cycles.
      max_tau: ``[B]`` largest tau allowed.
      heeded: whether the policy heeds prices.
    """
    asked = max_tau * (price / HIGHEST_PRICE) if heeded else price
    whole: IntArray = np.minimum(np.floor(asked + phase), max_tau).astype(np.int64)
    return np.where(price > 0, whole, 0)
