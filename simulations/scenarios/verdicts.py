"""Whether each promise of a scenario was kept, and whether anybody could have kept it.

A promise is *infeasible* where even a clairvoyant breaks it: the fewest possible passes of the same
requests are more than promised, or each of them, decoded alone, at once and in the least time that
foresight allows, is too slow. These bounds hold for every policy. What is within them may yet be
out of reach for a policy that must guess, in a batch that is full, or beside another promise.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray
from adaptive_spec.costs import CostModel
from adaptive_spec.simulations.bootstrap import Interval
from adaptive_spec.simulations.hindsight import least_passes, optimum
from adaptive_spec.simulations.scenarios.drawing import Workload
from adaptive_spec.simulations.scenarios.scenario import QUANTILE, Scenario
from adaptive_spec.simulations.serving.figures import Figures, interval_dict
from adaptive_spec.simulations.serving.server import prefill_times

TOLERANCE = 0.01
"""By which an average of passes may be exceeded in a run and still count as kept."""


class Bound(NamedTuple):
    """What no policy can go below, for one class; NaN where it has no requests.

    Attributes:
      passes: mean per request.
      latency_ms: at the promised quantile.
    """

    passes: float
    latency_ms: float


def bounds_of(scenario: Scenario, workload: Workload, costs: CostModel) -> tuple[Bound, ...]:
    """The bounds of each class."""
    flat = workload.traces.flat()
    most = scenario.max_draft_tokens
    passes = least_passes(flat, max_draft_tokens=most)
    time_ms = optimum(flat, costs=costs, max_draft_tokens=most).time_ms
    time_ms = time_ms + prefill_times(flat.prompt_tokens, costs)
    of_class = workload.requests.request_class
    assert of_class is not None
    found = []
    for number in range(len(scenario.classes)):
        own = of_class == number
        if own.any():
            found.append(Bound(float(passes[own].mean()), _quantile(time_ms[own])))
        else:
            found.append(Bound(math.nan, math.nan))
    return tuple(found)


def _quantile(times: FloatArray) -> float:
    return float(np.quantile(times, QUANTILE, method="inverted_cdf"))


class Verdict(NamedTuple):
    """What became of a promise.

    Attributes:
      request_class: whose promise; "all" for the scenario's own.
      promise: what was promised: "average passes", "p95 latency" or "speedup over plain".
      target: what it was to be: at most, or at least for a speedup.
      value: what it was, with its 95 % interval.
      verdict: "kept", "not kept" or "infeasible".
      clear: whether the interval lies on one side of the target.
      nearest: the nearest target that is not infeasible for certain; NaN where nothing is known.
    """

    request_class: str
    promise: str
    target: float
    value: Interval
    verdict: str
    clear: bool
    nearest: float = math.nan

    def as_dict(self) -> dict[str, Any]:
        """The verdict under the names of the JSON output; what is not finite becomes None."""
        nearest = None if math.isnan(self.nearest) else self.nearest
        return {**self._asdict(), "value": interval_dict(self.value), "nearest": nearest}


def at_most(
    request_class: str,
    promise: str,
    value: Interval,
    target: float,
    nearest: float,
    tolerance: float = 0.0,
) -> Verdict:
    """The verdict on a promise to stay at or below a target."""
    allowed = target * (1 + tolerance)
    verdict = "kept" if value.value <= allowed else "not kept"
    clear = not value.low <= allowed < value.high
    if nearest > target:
        verdict, clear = "infeasible", True
    return Verdict(request_class, promise, target, value, verdict, clear, nearest)


def verdicts_of(
    scenario: Scenario,
    costs: CostModel,
    figures: dict[str, Figures],
    bounds: tuple[Bound, ...],
    speedup: Interval,
) -> tuple[Verdict, ...]:
    """Verdicts on all promises.

    Args:
      scenario: what was promised.
      costs: what cycles cost.
      figures: of each class that had requests.
      bounds: of each class.
      speedup: over plain decoding.
    """
    found = []
    for kind, bound in zip(scenario.classes, bounds, strict=True):
        if kind.name not in figures:
            continue
        own, target_ms = figures[kind.name], kind.target_ms(costs)
        if kind.average_passes is not None:
            passes = own.passes_per_request, kind.average_passes, bound.passes, TOLERANCE
            found.append(at_most(kind.name, "average passes", *passes))
        if target_ms is not None:
            latency = own.latency_ms.p95, target_ms, bound.latency_ms
            found.append(at_most(kind.name, "p95 latency", *latency))
    least = scenario.least_speedup
    kept = "kept" if speedup.value >= least else "not kept"
    clear = not speedup.low < least <= speedup.high
    return (*found, Verdict("all", "speedup over plain", least, speedup, kept, clear))
