"""A scenario: who asks for what and when, what it costs, what was promised, what is success."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from adaptive_spec.constraints import Constraints, LatencyTarget, PassBudget
from adaptive_spec.costs import PLAIN_PASSES, ConstantCosts, CostModel, MeasuredCosts
from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.serving import ArrivalLog
from adaptive_spec.traces.synthetic import Hazards

QUANTILE = 0.95
"""Of the latencies that are promised."""


class _PlannedCosts(MeasuredCosts):
    """Curves that nobody measured, in plain verifier passes."""

    @property
    def time_unit(self) -> str:
        return PLAIN_PASSES


@dataclass(frozen=True)
class CostPlan:
    """What cycles cost, in plain verifier passes.

    Attributes:
      draft: time of a draft step.
      verify: time of one more verified token; None where ``saturation_tokens`` says.
      saturation_tokens: tokens, of all sequences together, that a pass takes at the price of one;
        beyond, its time grows in proportion (the knee of a roofline).
    """

    draft: float
    verify: float | None = None
    saturation_tokens: int | None = None

    def model(self, max_batch: int, max_draft_tokens: int) -> CostModel:
        """The cost model for batches and drafts up to these."""
        if self.saturation_tokens is None:
            return ConstantCosts(self.draft, self.verify or 0.0)
        knee = self.saturation_tokens
        # The last two are for prompts, which are read one by one.
        widths = sorted({*range(1, max_draft_tokens + 2), knee, 2 * max(knee, 4096)})
        batches = np.arange(1, max_batch + 1)
        grid = np.maximum(batches[:, None, None] * np.array(widths) / knee, 1.0)
        start = np.zeros((max_batch, 1))
        return _PlannedCosts(
            tuple(batches.tolist()),
            (1,),
            tuple(widths),
            grid,
            start,
            np.full_like(start, self.draft),
            hardware=f"no hardware: {self}",
        )

    def __str__(self) -> str:
        if self.saturation_tokens is None:
            return f"draft={self.draft:g},verify={self.verify or 0.0:g}"
        return f"draft={self.draft:g}, passes that saturate at {self.saturation_tokens} tokens"


@dataclass(frozen=True)
class ArrivalPlan:
    """When requests come: ``load`` (with its shape), ``log`` (with or without), or ``concurrency``.

    Attributes:
      load: of an open loop: the rate, over that at which plain decoding in full batches would be
        just busy. A log is stretched to it; without, its times are milliseconds.
      variation, profile: as in ``RequestStream``; one profile spans the whole run.
      log: when real requests came; its classes are those of the scenario, or "" to draw one.
      concurrency: of a closed loop: clients.
    """

    load: float | None = None
    variation: float = 1.0
    profile: tuple[float, ...] = (1.0,)
    concurrency: int | None = None
    log: ArrivalLog | None = None


@dataclass(frozen=True)
class Degradation:
    """The drafter gets worse while requests go on.

    Attributes:
      after: share of the requests that come before.
      kept_agreement: share of its right tokens that stay right.
    """

    after: float
    kept_agreement: float


@dataclass(frozen=True)
class MadeUp:
    """Texts of a class where there is no trace: hazards, and lengths in tokens."""

    hazards: Hazards
    prompt_tokens: int
    tokens: int
    sequences: int = 64


@dataclass(frozen=True)
class RequestKind:
    """A class of requests.

    Attributes:
      name: of the class; ``share``: of all requests, relative to other classes.
      categories: prompts of the trace that it is drawn from; all, where the trace has none of them.
      prompt_tokens: least and most of a recorded prompt; None for any.
      completion_tokens: least and most that are asked for: stretches of the recorded answers. None
        for whole answers.
      fewest_passes: only completions that can be decoded in so many passes, with foresight; None
        for any.
      average_passes: promised verifier passes per request; None for no such promise.
      p95_plain_passes, p95_ms: promised 95th percentile of the latency, as a multiple of a plain
        verifier pass, or in milliseconds; None for no such promise.
      made_up: its texts where there is no trace.
    """

    name: str
    share: float
    made_up: MadeUp
    categories: tuple[str, ...] = ()
    prompt_tokens: tuple[int, int] | None = None
    completion_tokens: tuple[int, int] | None = None
    fewest_passes: int | None = None
    average_passes: float | None = None
    p95_plain_passes: float | None = None
    p95_ms: float | None = None

    def target_ms(self, costs: CostModel) -> float | None:
        """The promised latency under these costs.

        Raises:
          ConfigError: it was promised in milliseconds, and the costs know none.
        """
        if self.p95_ms is None:
            passes = self.p95_plain_passes
            return None if passes is None else passes * costs.plain_ms
        if costs.time_unit != "ms":
            raise ConfigError(
                f"class {self.name!r}: p95_ms = {self.p95_ms:g}, but times are in "
                f"{costs.time_unit}; give costs in ms, or p95_plain_passes"
            )
        return self.p95_ms

    def constraints(self, costs: CostModel) -> Constraints:
        """What a controller is to keep."""
        target, average = self.target_ms(costs), self.average_passes
        return Constraints(
            None if average is None else PassBudget(average),
            None if target is None else LatencyTarget(target, QUANTILE),
        )


@dataclass(frozen=True)
class Scenario:
    """A scenario.

    Attributes:
      name, description: for people.
      classes: of requests, at least one.
      arrivals: when they come.
      costs: what cycles cost where nothing else is given.
      requests: how many; ``max_batch``: sequences decoded together; ``max_draft_tokens``: K.
      degradation: of the drafter; None for none.
      least_speedup: over plain decoding, for success: emitted tokens per time that clients wait.
    """

    name: str
    description: str
    classes: tuple[RequestKind, ...]
    arrivals: ArrivalPlan
    costs: CostPlan
    requests: int = 1000
    max_batch: int = 8
    max_draft_tokens: int = 10
    degradation: Degradation | None = None
    least_speedup: float = 1.0

    def constraints(self, costs: CostModel) -> Mapping[str, Constraints]:
        """What a controller is to keep, by class."""
        return {kind.name: kind.constraints(costs) for kind in self.classes}
