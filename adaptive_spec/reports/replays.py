"""Policies replayed on a sample of a trace, for everything that a report shows of them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.policy import Policy
from adaptive_spec.registry import make_policy
from adaptive_spec.simulations.comparison import compare_runs
from adaptive_spec.simulations.hindsight import Optimum, optimum
from adaptive_spec.simulations.simulator import CycleLog, Replay, replay
from adaptive_spec.traces import TraceSet

PRICES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Of a pass, in plain passes, at which the clairvoyant optimum is worked out."""


class Settings(NamedTuple):
    """How policies are replayed for a report.

    Attributes:
      max_draft_tokens: K, >= 1.
      requests: of the sample, about, >= 1.
      seed: of the policies and the intervals.
      compared: whether to compare the policies too, with intervals.
    """

    max_draft_tokens: int = 10
    requests: int = 500
    seed: int = 0
    compared: bool = True


class Replayed(NamedTuple):
    """A sample of a trace, and what policies, constants and foresight make of it.

    Attributes:
      name: of the trace; ``traces``: the sample; ``whole``: requests of the whole trace.
      costs: of the cycles; ``max_draft_tokens``: K.
      specs: of the policies, as given; ``policies``: the policies themselves.
      runs: by spec, with every cycle.
      statics: by tau, 0..K; ``foreseen``: the optimum at each of ``PRICES``.
      comparison: as ``compare`` writes it; None where it was not asked for.
    """

    name: str
    traces: TraceSet
    whole: int
    costs: CostModel
    max_draft_tokens: int
    specs: tuple[str, ...]
    policies: dict[str, Policy[Any, Any]]
    runs: dict[str, Replay]
    statics: tuple[Replay, ...]
    foreseen: tuple[Optimum, ...]
    comparison: dict[str, Any] | None

    def log(self, spec: str) -> CycleLog:
        """Every cycle of a policy."""
        log = self.runs[spec].log
        assert log is not None
        return log


def sample(traces: TraceSet, most: int) -> TraceSet:
    """About so many requests, in the trace's order, evenly spread over each category.

    A category too rare to be met that way is met once all the same.
    """
    if len(traces) <= most:
        return traces
    categories = np.array([sequence.category for sequence in traces])
    by_category = np.argsort(categories, kind="stable")
    even = by_category[np.linspace(0, len(traces) - 1, most).astype(np.int64)]
    _, first = np.unique(categories, return_index=True)
    rare = first[~np.isin(categories[first], categories[even])]
    return traces.select(np.union1d(even, rare))


def replayed(
    name: str,
    traces: TraceSet,
    specs: Sequence[str],
    *,
    costs: CostModel,
    settings: Settings,
    on_progress: Callable[[str], None] = lambda what: None,
) -> Replayed:
    """Replays policies on a sample of a trace.

    Args:
      name: what the trace is called.
      traces: the whole trace.
      specs: of the policies.
      costs: what cycles cost.
      settings: how.
      on_progress: called with what is about to be run.

    Raises:
      ConfigError: the trace does not tell of drafts of K tokens, or lacks signals.
      PolicySpecError: a spec that is none.
    """
    costs.require_drafters(traces.info.drafter_names)
    most = settings.max_draft_tokens
    traces.info.require_known(most)
    some = sample(traces, settings.requests)
    policies = {spec: make_policy(spec) for spec in specs}
    runs = {}
    for spec, policy in policies.items():
        on_progress(spec)
        try:
            runs[spec] = replay(
                policy,
                some,
                costs=costs,
                max_draft_tokens=most,
                seed=settings.seed,
                log_cycles=True,
            )
        except ConfigError as error:
            raise ConfigError(f"{name}: {spec}: {error}") from None
    on_progress("constants and foresight")
    comparison = None
    if settings.compared:
        comparison = compare_runs(
            list(runs.items()), some, costs=costs, max_draft_tokens=most, seed=settings.seed
        ).as_dict()
    flat = some.flat()
    return Replayed(
        name,
        some,
        len(traces),
        costs,
        most,
        tuple(specs),
        policies,
        runs,
        tuple(
            replay(Fixed(tau), flat, costs=costs, max_draft_tokens=most) for tau in range(most + 1)
        ),
        tuple(
            optimum(
                flat,
                costs=costs,
                max_draft_tokens=most,
                pass_price_ms=price * costs.plain_ms,
            )
            for price in PRICES
        ),
        comparison,
    )
