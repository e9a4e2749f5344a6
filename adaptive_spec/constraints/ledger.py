"""The books of a class of requests: what finished requests took, and how far it is overspent.

Two virtual queues stand for the two averages (drift-plus-penalty: Neely, Stochastic Network
Optimization, 2010, ch. 4). One grows by ``passes - B`` with every finished request, the other by
``[late] - (1 - quantile)``; neither falls below zero. Their lengths set what a pass and what a
millisecond costs (``prices``).

Three additions to the plain queue:

- *A price that grows faster than the queue.* ``exp(Q / V) - 1`` is ``Q / V`` while that is small,
  and reaches a price of 20 at ``3 V`` instead of ``20 V``: what is overspent until the right price
  is found grows with its logarithm. (The drift argument holds for any price that rises with the
  queue, with its integral for the square.)
- *Repayment.* A queue settles at a length that is never paid back. As long as the books are over
  the budget, ``B`` is aimed at a little lower, by the excess over ``REPAID_WITHIN`` requests.
- *No wind-up.* What cannot be kept is not aimed at, but ``_ABOVE_LEAST`` times the least possible
  (``feasibility``), nor is more repaid at once than that leaves room for. Of two promises that
  cannot be kept together, the budget is kept. And no queue grows beyond the length where a longer
  one would change nothing.
"""

import math
from typing import NamedTuple

from adaptive_spec.constraints.feasibility import Feasibility
from adaptive_spec.constraints.pass_budget import HIGHEST_PRICE, PassBudget
from adaptive_spec.constraints.promises import Constraints

REPAID_WITHIN = 100
"""Requests within which most of what was overspent is saved again."""
_ABOVE_LEAST = 1.02
"""At exactly the least possible, drafts would be as long as allowed, at any cost in time."""
_NOTHING_KNOWN = Feasibility(0)
_HIGHEST_LOG = math.log1p(HIGHEST_PRICE)
_MOST_LATE = 20.0
"""Longest queue of late requests, in units of ``patience``."""


class Ledger(NamedTuple):
    """What finished requests took.

    Attributes:
      requests: finished requests.
      passes, tokens: verifier passes that they took, and tokens that they emitted.
      late: those of them that took longer than the latency target.
      queue_passes: virtual queue of passes, >= 0.
      queue_late: virtual queue of late requests, >= 0.
      over_passes: passes beyond what was promised when they were spent; below zero where fewer were
        needed. Requests of a time when nothing was promised do not count.
      over_late: late requests beyond the share that was promised when they finished, likewise.
    """

    requests: int = 0
    passes: int = 0
    tokens: int = 0
    late: int = 0
    queue_passes: float = 0.0
    queue_late: float = 0.0
    over_passes: float = 0.0
    over_late: float = 0.0

    def settle(
        self,
        constraints: Constraints,
        passes: int,
        tokens: int,
        latency_ms: float,
        known: Feasibility = _NOTHING_KNOWN,
    ) -> "Ledger":
        """The ledger after a request finished.

        Args:
          constraints: what is promised.
          passes: that it took.
          tokens: that it emitted.
          latency_ms: from its arrival to its last token.
          known: what cannot be kept is not aimed at, but what is nearest to it.
        """
        after = self._replace(
            requests=self.requests + 1, passes=self.passes + passes, tokens=self.tokens + tokens
        )
        budget, latency = constraints.budget, constraints.latency
        if budget is not None and budget.average_passes is not None:
            units = 1 if budget.per == "request" else tokens
            aim = budget.average_passes - self.excess_passes(constraints) / REPAID_WITHIN
            if not math.isnan(known.least_passes):
                feasible = min(known.least_passes, budget.average_passes)
                nearest = _ABOVE_LEAST * known.least_passes
                aim = max(aim, nearest if known.budget_infeasible else feasible)
            queue = self.queue_passes + passes - aim * units
            longest = _HIGHEST_LOG * _patience_passes(budget, after)
            after = after._replace(
                queue_passes=min(max(queue, 0.0), longest),
                over_passes=self.over_passes + passes - budget.average_passes * units,
            )
        if latency is not None and latency.target_ms is not None:
            late, allowed = int(latency_ms > latency.target_ms), 1 - latency.quantile
            excess = max(self.over_late, 0.0)
            aimed = max(allowed - excess / REPAID_WITHIN, 0.0)
            if not math.isnan(known.least_late):
                aimed = max(allowed, _ABOVE_LEAST * known.least_late)
            queue = min(max(self.queue_late + late - aimed, 0.0), _MOST_LATE * latency.patience)
            after = after._replace(
                late=self.late + late, queue_late=queue, over_late=self.over_late + late - allowed
            )
        return after

    def excess_passes(self, constraints: Constraints) -> float:
        """Passes spent beyond what was promised, per unit that the budget counts by, >= 0."""
        budget = constraints.budget
        if budget is None or budget.average_passes is None:
            return 0.0
        excess = max(self.over_passes, 0.0)
        if budget.per == "request":
            return excess
        return excess / (max(self.tokens / self.requests, 1.0) if self.requests else 1.0)

    def pass_price(self, constraints: Constraints) -> float:
        """Price of one verifier pass, in plain verifier passes, >= 0."""
        budget = constraints.budget
        if budget is not None and budget.price is not None:
            return budget.price
        if budget is None or self.queue_passes == 0.0:
            return 0.0
        return math.expm1(min(self.queue_passes / _patience_passes(budget, self), _HIGHEST_LOG))

    def late_price(self, constraints: Constraints) -> float:
        """What one late request costs, in units of ``prices.urgency``, >= 0."""
        latency = constraints.latency
        return 0.0 if latency is None else self.queue_late / latency.patience

    @property
    def mean_passes(self) -> float:
        """Mean passes per finished request; NaN before the first."""
        return self.passes / self.requests if self.requests else math.nan

    def plus(self, other: "Ledger") -> "Ledger":
        """The books of both taken together."""
        return Ledger(
            self.requests + other.requests,
            self.passes + other.passes,
            self.tokens + other.tokens,
            self.late + other.late,
            self.queue_passes + other.queue_passes,
            self.queue_late + other.queue_late,
            self.over_passes + other.over_passes,
            self.over_late + other.over_late,
        )


def _patience_passes(budget: PassBudget, ledger: Ledger) -> float:
    """V in passes: what so many requests may take on average."""
    tokens = 1.0
    if budget.per == "token" and ledger.requests:
        tokens = max(ledger.tokens / ledger.requests, 1.0)
    return budget.patience * (budget.average_passes or 1.0) * tokens
