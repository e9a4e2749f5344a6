"""Policies compared on one trace: against plain decoding, the best static tau, and the optimum.

A policy's *share of the span* is (its speedup - best static) / (optimum - best static): 0 is as
good as the best constant, 1 is clairvoyant. The best static tau belongs on *other* prompts; chosen
on the trace itself it is a hindsight bound, and labelled so.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.budget import PassBudget
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.policy import Policy
from adaptive_spec.registry import make_policy, policy_spec
from adaptive_spec.simulations.bootstrap import percentile_interval, resampled_sums
from adaptive_spec.simulations.hindsight import Optimum, optimum
from adaptive_spec.simulations.simulator import Replay, replay
from adaptive_spec.simulations.summary import Summary
from adaptive_spec.traces.records import TraceSet

_SMALLEST_SPAN = 1e-9


class Interval(NamedTuple):
    """A ratio with its 95 % interval."""

    value: float
    low: float
    high: float


class Entry(NamedTuple):
    """One policy's results; ``span_share`` is None where optimum and best static coincide."""

    summary: Summary
    speedup_over_plain: Interval
    speedup_over_best_static: Interval
    span_share: Interval | None

    def as_dict(self) -> dict[str, object]:
        """The entry under the names of the JSON output."""
        share = self.span_share
        return {
            **self.summary.as_dict(),
            "speedup_over_plain": self.speedup_over_plain.value,
            "speedup_over_best_static": self.speedup_over_best_static.value,
            "span_share": None if share is None else share.value,
            "ci95": {
                "speedup_over_plain": list(self.speedup_over_plain[1:]),
                "speedup_over_best_static": list(self.speedup_over_best_static[1:]),
                "span_share": None if share is None else list(share[1:]),
            },
        }


class Comparison(NamedTuple):
    """Results of all policies on a trace.

    Attributes:
      plain, best_static, optimum: the marks to compare with.
      best_static_tau: the constant chosen; ``best_static_from``: on what.
      policies: in the order given.
      costs: description of the cost model; ``time_unit``: of its times; ``max_draft_tokens``: K.
    """

    plain: Entry
    best_static: Entry
    optimum: Entry
    best_static_tau: int
    best_static_from: str
    policies: tuple[Entry, ...]
    costs: str
    time_unit: str
    max_draft_tokens: int

    def as_dict(self) -> dict[str, object]:
        """The comparison as a JSON object."""
        return {
            "plain": self.plain.as_dict(),
            "best_static": {
                **self.best_static.as_dict(),
                "tau": self.best_static_tau,
                "chosen_on": self.best_static_from,
            },
            "optimum": self.optimum.as_dict(),
            "policies": [entry.as_dict() for entry in self.policies],
            "costs": self.costs,
            "time_unit": self.time_unit,
            "max_draft_tokens": self.max_draft_tokens,
        }


def best_static_tau(
    traces: TraceSet, *, costs: CostModel, max_draft_tokens: int = 10
) -> tuple[int, FloatArray]:
    """The fastest constant tau on a trace, and the time of each, ``[K + 1]``."""
    flat = traces.flat()
    times = np.array(
        [
            replay(Fixed(tau), flat, costs=costs, max_draft_tokens=max_draft_tokens).time_ms.sum()
            for tau in range(max_draft_tokens + 1)
        ]
    )
    return int(np.argmin(times)), times


def compare(
    policies: Sequence[str | Policy[Any, Any]],
    traces: TraceSet,
    *,
    costs: CostModel,
    max_draft_tokens: int = 10,
    budget: PassBudget | None = None,
    best_static_from: TraceSet | None = None,
    seed: int = 0,
    order: Sequence[int] | IntArray | None = None,
    resamples: int = 2000,
    on_progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Replays policies on a trace and compares them.

    Args:
      policies: policies or specs.
      traces: what to replay.
      costs: what cycles cost.
      max_draft_tokens: K.
      budget: pass budget that the policies (not the marks) are held to.
      best_static_from: another trace to choose the best static tau on; None takes ``traces``, with
        hindsight.
      seed: randomness of the policies and of the bootstrap.
      order: order of the requests, for policies that learn across them; every sequence once.
      resamples: bootstrap resamples, >= 1.
      on_progress: called with what is about to be run.

    Raises:
      ConfigError: no resamples, or an order that leaves sequences out.
    """
    if resamples < 1:
        raise ConfigError(f"resamples = {resamples}; it must be at least 1")
    if order is not None and sorted(order) != list(range(len(traces))):
        raise ConfigError("order: must name every sequence of the trace once")
    built = [(_label(policy), make_policy(policy)) for policy in policies]
    tell = on_progress or (lambda what: None)
    options: dict[str, Any] = {"costs": costs, "max_draft_tokens": max_draft_tokens}

    tell("best static tau")
    tau, _ = best_static_tau(best_static_from or traces, **options)
    flat = traces.flat()
    results: list[tuple[str, Replay | Optimum]] = [
        ("plain decoding", replay(Fixed(0), flat, **options)),
        (f"fixed:tau={tau}", replay(Fixed(tau), flat, **options)),
    ]
    tell("optimum")
    results.append(("optimum", optimum(flat, **options)))
    for name, policy in built:
        tell(name)
        outcome = replay(policy, traces, budget=budget, seed=seed, order=order, **options)
        results.append((name, outcome))

    entries = _entries(results, resamples, np.random.default_rng(seed))
    source = "this trace (hindsight)" if best_static_from is None else "another trace"
    return Comparison(
        entries[0],
        entries[1],
        entries[2],
        tau,
        source,
        tuple(entries[3:]),
        str(costs),
        costs.time_unit,
        max_draft_tokens,
    )


def _label(policy: str | Policy[Any, Any]) -> str:
    """A spec as it was written, or the one that builds the policy again."""
    return policy if isinstance(policy, str) else policy_spec(policy)


def _entries(
    results: list[tuple[str, Replay | Optimum]], resamples: int, generator: np.random.Generator
) -> list[Entry]:
    """Entries with intervals; results 0, 1, 2 are plain, best static and optimum."""
    columns = [column for _, r in results for column in (r.tokens, r.time_ms)]
    values = np.stack(columns, axis=1).astype(np.float64)  # [N, 2 * results]
    point = values.sum(axis=0)[None, :]
    sums = np.concatenate([point, resampled_sums(values, resamples, generator)])
    speed = sums[:, 0::2] / sums[:, 1::2]  # [1 + resamples, results], the point estimate first
    over_plain = speed / speed[:, :1]
    over_static = speed / speed[:, 1:2]
    span = over_plain[:, 2] - over_plain[:, 1]
    entries = []
    for i, (name, result) in enumerate(results):
        share = None
        if span[0] > _SMALLEST_SPAN:
            # A resample without any span has nothing to share; it says nothing of the policy.
            some = span > _SMALLEST_SPAN
            share = _interval((over_plain[some, i] - over_plain[some, 1]) / span[some])
        entries.append(
            Entry(
                Summary.of(name, result),
                _interval(over_plain[:, i]),
                _interval(over_static[:, i]),
                share,
            )
        )
    return entries


def _interval(samples: FloatArray) -> Interval:
    """The point estimate (first) with the interval of the resamples (the rest)."""
    low, high = percentile_interval(samples[1:]) if samples.size > 1 else (samples[0], samples[0])
    return Interval(float(samples[0]), float(low), float(high))
