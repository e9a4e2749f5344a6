"""Runs policies through a scenario, and says what became of its promises."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec.constraints import Constraints, Feasibility
from adaptive_spec.costs import CostModel
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.policy import Policy
from adaptive_spec.registry import policy_spec
from adaptive_spec.simulations.bootstrap import Interval
from adaptive_spec.simulations.scenarios.drawing import Workload
from adaptive_spec.simulations.scenarios.scenario import Scenario
from adaptive_spec.simulations.scenarios.verdicts import (
    Bound,
    Verdict,
    bounds_of,
    verdicts_of,
)
from adaptive_spec.simulations.serving import Figures, RequestLog, Served, TauOverTime, serve
from adaptive_spec.simulations.serving.figures import interval_dict, sums_by_prompt


class ScenarioResult(NamedTuple):
    """What came of one policy in a scenario.

    Attributes:
      policy: its spec.
      figures: of all requests; ``by_class``: of those of each class.
      verdicts: on every promise.
      speedup: over plain decoding: emitted tokens per time that clients wait. In a closed loop this
        is the ratio of throughputs.
      utilisation: share of the time in which it was busy.
      over_time: tau, batch and queue as the run went on.
      feasibility: what the controller said of each class at the end.
    """

    policy: str
    figures: Figures
    by_class: dict[str, Figures]
    verdicts: tuple[Verdict, ...]
    speedup: Interval
    utilisation: float
    over_time: TauOverTime
    feasibility: dict[str, Feasibility]

    @property
    def succeeded(self) -> bool:
        """Whether every promise was kept."""
        return all(verdict.verdict == "kept" for verdict in self.verdicts)

    def as_dict(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {
            "policy": self.policy,
            "succeeded": self.succeeded,
            "promises": [verdict.as_dict() for verdict in self.verdicts],
            "speedup_over_plain": interval_dict(self.speedup),
            "utilisation": self.utilisation,
            "all": self.figures.as_dict(),
            "classes": {name: figures.as_dict() for name, figures in self.by_class.items()},
            "over_time": self.over_time.as_dict(),
            "controller": {
                name: str(said) for name, said in self.feasibility.items() if said.infeasible
            },
        }


class ScenarioRun:
    """Runs one policy after the other on the same requests."""

    def __init__(
        self,
        scenario: Scenario,
        workload: Workload,
        *,
        costs: CostModel,
        seed: int = 0,
        on_finished: Callable[[int], None] | None = None,
    ) -> None:
        """Serves plain decoding, the mark, and works out what nobody can go below.

        Args:
          scenario: what is promised.
          workload: what is asked for.
          costs: what cycles cost.
          seed: randomness of policies and of intervals.
          on_finished: called with the number of requests finished since the last call.
        """
        self.scenario = scenario
        self.workload = workload
        self.costs = costs
        self.seed = seed
        self._on_finished = on_finished
        self.bounds: tuple[Bound, ...] = bounds_of(scenario, workload, costs)
        self._plain = self.serve(Fixed(0), None).requests

    def run(self, policy: str | Policy[Any, Any]) -> ScenarioResult:
        """Serves all requests with a policy, held to what was promised."""
        return self.judged(policy, self.serve(policy, self.scenario.constraints(self.costs)))

    def judged(self, policy: str | Policy[Any, Any], served: Served) -> ScenarioResult:
        """What came of a policy that served all requests."""
        targets = {k.name: k.target_ms(self.costs) for k in self.scenario.classes}
        by_class = {
            name: Figures.of(own, served.makespan_ms, target_ms=targets[name], seed=self.seed)
            for number, name in enumerate(served.classes)
            if (own := served.requests.of_class(number)).tokens.size
        }
        speedup = _speedup(served.requests, self._plain, np.random.default_rng(self.seed))
        return ScenarioResult(
            policy if isinstance(policy, str) else policy_spec(policy),
            Figures.of_all(served, seed=self.seed),
            by_class,
            verdicts_of(self.scenario, self.costs, by_class, self.bounds, speedup),
            speedup,
            served.utilisation,
            TauOverTime.of(served.steps),
            served.feasibility,
        )

    def serve(
        self,
        policy: str | Policy[Any, Any],
        constraints: Mapping[str, Constraints] | None,
        *,
        log_cycles: bool = False,
    ) -> Served:
        """Serves all requests with a policy, held to these constraints instead of the promises."""
        return serve(
            policy,
            self.workload.traces,
            self.workload.requests,
            costs=self.costs,
            max_batch=self.scenario.max_batch,
            max_draft_tokens=self.scenario.max_draft_tokens,
            constraints=constraints,
            seed=self.seed,
            log_cycles=log_cycles,
            on_finished=self._on_finished,
        )


def _speedup(own: RequestLog, plain: RequestLog, generator: np.random.Generator) -> Interval:
    """Tokens per time waited, over plain decoding's; prompts are resampled, the same for both."""
    columns = [column for log in (own, plain) for column in (log.tokens, log.latency_ms)]
    tokens, waited, plain_tokens, plain_waited = sums_by_prompt(columns, own.prompt, generator)
    return Interval.of((tokens / waited) / (plain_tokens / plain_waited))
