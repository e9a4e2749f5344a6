"""The budget of verifier passes: how many requests may take, on average and at most."""

import math
from dataclasses import dataclass
from typing import Literal

from adaptive_spec.errors import ConfigError

HIGHEST_PRICE = 64.0
"""Highest price of a pass, in plain passes: a draft token is then worth its time unless its chance
is a sixty-fourth of what would have to be without a price."""


@dataclass(frozen=True)
class PassBudget:
    """How many verifier passes the requests of a class may take.

    A *soft* average is a price: it is kept in the long run (``prices``). A *hard* one is a token
    bucket (``bucket``): after R requests were admitted, ``average_passes * R + burst_passes`` are
    never exceeded, whatever happens, unless requests carry on when their passes are spent. A
    *price* that is known beforehand (what a pass costs the product, or a multiplier found in
    hindsight) stays as it is, whatever is spent.

    Attributes:
      average_passes: mean passes to keep; None for no average. Per request at least 1, since no
        request takes fewer; per token in (0, 1], since every pass emits at least one.
      per: what the average counts by, "request" or emitted "token". A hard average is per request.
      hard: whether the average is a limit, and not only a price.
      burst_passes: what a hard average may be exceeded by for a while, >= 0: the credit that
        requests leave unspent is kept up to this.
      max_passes: most passes of any one request, >= 1; None for no limit.
      when_spent: what becomes of a request that has no pass left: "end" it with the text verified
        so far (``finish_reason="budget"``), or "carry-on" over budget with drafts as long as
        allowed.
      patience: V, how slowly the price follows what is overspent, in budgets of an average
        request, > 0. The larger, the nearer is the time to the least that the budget allows, and
        the later the budget is kept.
      price: what a pass costs on top of its time, in plain passes, in 0..64, in the place of
        ``average_passes``; None to have the average set it, if there is one.
    """

    average_passes: float | None = None
    per: Literal["request", "token"] = "request"
    hard: bool = False
    burst_passes: float = 20.0
    max_passes: int | None = None
    when_spent: Literal["end", "carry-on"] = "end"
    patience: float = 5.0
    price: float | None = None

    def __post_init__(self) -> None:
        average, most, price = self.average_passes, self.max_passes, self.price
        if self.per not in ("request", "token"):
            raise ConfigError(f"budget: per = {self.per!r}; allowed are 'request' and 'token'")
        if average is not None:
            if self.per == "request" and not 1 <= average < math.inf:
                raise ConfigError(
                    f"budget: average_passes = {average}; per request it must be at least 1, for "
                    "every request takes a pass"
                )
            if self.per == "token" and not 0 < average <= 1:
                raise ConfigError(
                    f"budget: average_passes = {average}; per token it must be in (0, 1], for "
                    "every pass emits a token"
                )
        if most is not None and most < 1:
            raise ConfigError(f"budget: max_passes = {most}; it must be at least 1")
        if None not in (average, most) and self.per == "request" and most < average:  # type: ignore[operator]
            raise ConfigError(
                f"budget: max_passes = {most} is below average_passes = {average}, which could "
                "then never be reached; raise the one or drop the other"
            )
        if self.hard and (average is None or self.per != "request"):
            raise ConfigError(
                "budget: hard = True needs average_passes, per = 'request'; a limit of one request "
                "alone is max_passes"
            )
        if not 0 <= self.burst_passes < math.inf:
            raise ConfigError(
                f"budget: burst_passes = {self.burst_passes}; it must be 0 or more, and finite"
            )
        if self.when_spent not in ("end", "carry-on"):
            raise ConfigError(
                f"budget: when_spent = {self.when_spent!r}; allowed are 'end' and 'carry-on'"
            )
        if price is not None and not 0 <= price <= HIGHEST_PRICE:
            raise ConfigError(
                f"budget: price = {price}; it must be in 0..{HIGHEST_PRICE:g} plain passes"
            )
        if None not in (average, price):
            raise ConfigError(
                f"budget: price = {price} and average_passes = {average}; an average sets its own "
                "price: give the one or the other"
            )
        if not 0 < self.patience < math.inf:
            raise ConfigError(f"budget: patience = {self.patience}; it must be above 0")
