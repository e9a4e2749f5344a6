"""Whether promises can be kept at all, and what the nearest ones are that can.

A budget is declared infeasible when the least possible passes of the requests seen are above it by
more than chance would have it; a latency target when the fastest tau would be late too often, and
requests are; both together when no mixture of tau keeps both. Until then nothing is said.

Drafts longer than those that were tried get the benefit of the doubt: what is declared infeasible
must be so by the largest chances of acceptance that what was seen allows. Otherwise a policy that
drafts little would never be asked for the longer drafts that show what they bring.
"""

import math
from typing import NamedTuple

from adaptive_spec.constraints.frontier import Frontier, Recent, frontier, least_mixture
from adaptive_spec.constraints.promises import Constraints
from adaptive_spec.constraints.survival import Survival

FEWEST_REQUESTS = 10
"""Finished requests, and fates of first draft tokens, before anything is said."""
_SIGNIFICANT = 1.6449
"""Standard errors for one false alarm in twenty looks (the normal distribution's 95 % point)."""

_DOUBT = 1.0
"""Standard errors by which acceptance at every depth may be better than it seems, at all of them at
once, which is rarer than at one."""


class Feasibility(NamedTuple):
    """What can be promised to a class of requests, as far as its recent ones tell.

    Attributes:
      requests: finished requests that it rests on; with fewer than ``FEWEST_REQUESTS`` nothing is
        known, and nothing is declared infeasible.
      budget_infeasible, latency_infeasible: whether the one promise cannot be kept, whatever tau.
      infeasible: whether they cannot be kept together (or one of them alone).
      least_passes: least average possible, as the budget counts (per request or token); NaN while
        unknown. Where the budget is infeasible it is the nearest that is feasible.
      least_latency_ms: least latency possible at the target's quantile; NaN while unknown.
      passes_for_latency: least average with which the latency target can be kept; infinite where it
        can't.
      latency_for_budget_ms: least latency with which the budget can be kept; infinite where it
        can't.
      least_late: least share of requests beyond the target while the budget is kept, where that is
        more than promised; NaN where the latency target can be kept, and while unknown.
      frontier: passes, latency and speed of every tau; None while unknown.
      time_unit: of the latencies, for messages.
    """

    requests: int
    budget_infeasible: bool = False
    latency_infeasible: bool = False
    infeasible: bool = False
    least_passes: float = math.nan
    least_latency_ms: float = math.nan
    passes_for_latency: float = math.nan
    latency_for_budget_ms: float = math.nan
    least_late: float = math.nan
    frontier: Frontier | None = None
    time_unit: str = "ms"

    def __str__(self) -> str:
        if not self.infeasible:
            return f"nothing is infeasible, by {self.requests} requests"
        said = []
        if self.budget_infeasible:
            said.append(f"the least passes possible are {self.least_passes:.3g}")
        if self.latency_infeasible:
            said.append(
                f"the least latency possible is {self.least_latency_ms:.4g} {self.time_unit}"
            )
        if not said:
            said.append(
                "both promises cannot be kept together: the latency target takes "
                f"{self.passes_for_latency:.3g} passes, the budget takes a latency of "
                f"{self.latency_for_budget_ms:.4g} {self.time_unit}"
            )
        return f"infeasible, by {self.requests} requests: {'; '.join(said)}"


def assess(constraints: Constraints, recent: Recent, survival: Survival) -> Feasibility:
    """What the recent requests of a class say of its promises.

    Args:
      constraints: what is promised.
      recent: finished requests, at least one.
      survival: how far their drafts were accepted.
    """
    budget, latency = constraints.budget, constraints.latency
    average = None if budget is None else budget.average_passes
    target_ms = None if latency is None else latency.target_ms
    quantile = 0.95 if latency is None else latency.quantile
    seen = frontier(survival.chances(), recent, quantile, target_ms)
    at_best = frontier(survival.chances(_DOUBT), recent, quantile, target_ms)
    per_token = budget is not None and budget.per == "token"
    passes, passes_at_best = (
        known.passes_per_token if per_token else known.passes_per_request
        for known in (seen, at_best)
    )
    least_passes, least_ms = float(passes.min()), float(seen.latency_ms.min())
    count = recent.tokens.size

    no_budget = no_latency = neither = False
    least_late = math.nan
    for_latency, for_budget_ms = least_passes, least_ms
    sure = _SIGNIFICANT * float(recent.passes.std()) / math.sqrt(count)
    if per_token:
        sure /= max(float(recent.tokens.mean()), 1.0)
    if average is not None:
        no_budget = float(passes_at_best.min()) - sure > average
        within = passes <= average
        for_budget_ms = float(seen.latency_ms[within].min(initial=math.inf))
    if target_ms is not None:
        allowed = 1.0 - quantile
        spread = _SIGNIFICANT * math.sqrt(allowed * quantile / count)
        late_now = float((recent.waited_ms + recent.decode_ms > target_ms).mean())
        is_late = late_now > allowed + spread
        no_latency = is_late and float(at_best.late.min()) > allowed + spread
        for_latency = least_mixture(passes, seen.late, allowed)
        hoped = least_mixture(passes_at_best, at_best.late, allowed)
        neither = is_late and average is not None and hoped - sure > average
        if no_latency or neither:
            kept = math.inf if average is None else max(average, least_passes)
            least_late = least_mixture(seen.late, passes, kept)
    return Feasibility(
        count,
        no_budget,
        no_latency,
        no_budget or no_latency or neither,
        least_passes,
        least_ms,
        for_latency,
        for_budget_ms,
        least_late,
        seen,
    )
