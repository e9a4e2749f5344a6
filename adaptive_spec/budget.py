"""The budget of verifier passes, as a price and as a limit.

Average. A virtual queue grows by ``passes - B`` with every finished request and never falls below
zero; its length over ``patience`` is the price of a pass, in plain verifier passes
(drift-plus-penalty: Neely, Stochastic Network Optimization, 2010, ch. 4). A price pushes tau *up*:
fewer, longer cycles. Falling back to tau = 0 would spend passes fastest.

Per-request maximum. With ``m`` passes left and ``r`` tokens to go, no rule can finish unless it
drafts at least ``ceil(r / m) - 1`` tokens a cycle: that is the least tau allowed. When the passes
are gone the request ends with the text verified so far (``finish_reason="budget"``).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.errors import ConfigError

UNLIMITED_TOKENS = 1 << 30
"""Limit of a sequence whose length is not bounded beforehand."""


@dataclass(frozen=True)
class PassBudget:
    """How many verifier passes requests may take.

    Attributes:
      average_passes: mean passes per request to keep, > 0; None for no such budget.
      max_passes: most passes of any one request, >= 1; None for no limit.
      patience: V, how slowly the price follows the queue, in passes, > 0. The average is kept
        within O(V / requests), the cost of keeping it is within O(1 / V) of the least.
    """

    average_passes: float | None = None
    max_passes: int | None = None
    patience: float = 20.0

    def __post_init__(self) -> None:
        average = self.average_passes
        if average is not None and not (math.isfinite(average) and average > 0):
            raise ConfigError(f"budget: average_passes = {average}; it must be above 0")
        if self.max_passes is not None and self.max_passes < 1:
            raise ConfigError(f"budget: max_passes = {self.max_passes}; it must be at least 1")
        if not (math.isfinite(self.patience) and self.patience > 0):
            raise ConfigError(f"budget: patience = {self.patience}; it must be above 0")

    def least_tau(self, passes: IntArray, remaining_tokens: IntArray) -> IntArray:
        """Least tau with which a request can still finish within ``max_passes``, ``[B]``.

        Where it is not known how many tokens are to go, nothing can be asked for: 0.
        """
        if self.max_passes is None:
            return np.zeros_like(passes)
        left = np.maximum(self.max_passes - passes, 1)
        least = -(-remaining_tokens // left) - 1
        return np.where(remaining_tokens > UNLIMITED_TOKENS // 2, 0, least)


class Ledger(NamedTuple):
    """What has been spent by finished requests, and the queue that sets the price.

    Attributes:
      requests: finished requests.
      passes: verifier passes that they took.
      queue_passes: virtual queue Q, >= 0.
    """

    requests: int = 0
    passes: int = 0
    queue_passes: float = 0.0

    def settle(self, budget: PassBudget, passes: IntArray) -> "Ledger":
        """The ledger after requests finished that took ``passes``, ``[finished]``."""
        queue = self.queue_passes
        if budget.average_passes is not None:
            for spent in passes.tolist():
                queue = max(0.0, queue + spent - budget.average_passes)
        return Ledger(self.requests + passes.size, self.passes + int(passes.sum()), queue)

    def pass_price(self, budget: PassBudget) -> float:
        """Price of one verifier pass, in plain verifier passes, >= 0."""
        return self.queue_passes / budget.patience

    @property
    def mean_passes(self) -> float:
        """Mean passes per finished request; NaN before the first."""
        return self.passes / self.requests if self.requests else math.nan
