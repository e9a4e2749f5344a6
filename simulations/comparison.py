"""Policies compared on one trace: against plain decoding, the best static tau, and the optimum.

A policy's *share of the span* is (its speedup - best static) / (optimum - best static): 0 is as
good as the best constant, 1 is clairvoyant. The best static tau belongs on *other* prompts; chosen
on the trace itself it is a hindsight bound, and labelled so.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.constraints import AnyConstraints
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.policy import Policy
from adaptive_spec.registry import make_policy, policy_spec
from adaptive_spec.simulations.bootstrap import Interval, resampled_sums
from adaptive_spec.simulations.hindsight import Optimum, optimum
from adaptive_spec.simulations.significance import Significance, significance
from adaptive_spec.simulations.simulator import Replay, flat_of, replay
from adaptive_spec.simulations.summary import Summary
from adaptive_spec.traces.flat import FlatTrace
from adaptive_spec.traces.records import TraceSet

_SMALLEST_SPAN = 1e-9
_MARKS = 3
"""Plain decoding, best static tau, optimum."""


class Entry(NamedTuple):
    """One policy's results.

    Attributes:
      summary: its totals.
      speedup_over_plain, speedup_over_best_static: in tokens per time, on the tokens it emitted;
        NaN where it emitted none.
      span_share: None there, and where optimum and best static coincide.
      against_best_static: whether it is faster or slower than that, tested together with all
        policies compared; None for the marks, and where nothing was emitted.
      ended_by_budget, ended_by_deadline: sequences that were cut short, and by what.
    """

    summary: Summary
    speedup_over_plain: Interval
    speedup_over_best_static: Interval
    span_share: Interval | None
    against_best_static: Significance | None = None
    ended_by_budget: int = 0
    ended_by_deadline: int = 0

    def as_dict(self) -> dict[str, object]:
        """The entry under the names of the JSON output."""
        nothing = math.isnan(self.speedup_over_plain.value)
        ratios = {
            "speedup_over_plain": None if nothing else self.speedup_over_plain,
            "speedup_over_best_static": None if nothing else self.speedup_over_best_static,
            "span_share": self.span_share,
        }
        return {
            **self.summary.as_dict(),
            **{name: None if ratio is None else ratio.value for name, ratio in ratios.items()},
            "against_best_static": (
                None if self.against_best_static is None else self.against_best_static.as_dict()
            ),
            "ended_by_budget": self.ended_by_budget,
            "ended_by_deadline": self.ended_by_deadline,
            "ci95": {
                name: None if ratio is None else list(ratio[1:]) for name, ratio in ratios.items()
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
    flat = flat_of(traces, max_draft_tokens)
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
    constraints: AnyConstraints = None,
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
      constraints: what the policies (not the marks) are held to.
      best_static_from: another trace to choose the best static tau on; None takes ``traces``, with
        hindsight.
      seed: randomness of the policies and of the bootstrap.
      order: order of the requests, for policies that learn across them; every sequence once.
      resamples: bootstrap resamples, >= 1.
      on_progress: called with what is about to be run.

    Raises:
      ConfigError: no resamples, or an order that leaves sequences out.
    """
    _require_resamples(resamples)
    if order is not None and sorted(order) != list(range(len(traces))):
        raise ConfigError("order: must name every sequence of the trace once")
    built = [(_label(policy), make_policy(policy)) for policy in policies]
    tell = on_progress or (lambda what: None)
    options: dict[str, Any] = {"costs": costs, "max_draft_tokens": max_draft_tokens}
    runs = []
    for name, policy in built:
        tell(name)
        outcome = replay(policy, traces, constraints=constraints, seed=seed, order=order, **options)
        runs.append((name, outcome))
    return compare_runs(
        runs,
        traces,
        best_static_from=best_static_from,
        seed=seed,
        resamples=resamples,
        on_progress=on_progress,
        **options,
    )


def compare_runs(
    runs: Sequence[tuple[str, Replay]],
    traces: TraceSet,
    *,
    costs: CostModel,
    max_draft_tokens: int = 10,
    best_static_from: TraceSet | None = None,
    seed: int = 0,
    resamples: int = 2000,
    on_progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Compares replays of all sequences of a trace that are there already, by name.

    Everything else is as in ``compare``; the replays must be at the same costs and K.

    Raises:
      ConfigError: no resamples.
    """
    _require_resamples(resamples)
    tell = on_progress or (lambda what: None)
    options: dict[str, Any] = {"costs": costs, "max_draft_tokens": max_draft_tokens}

    tell("best static tau")
    tau, _ = best_static_tau(best_static_from or traces, **options)

    def marks_of(flat: FlatTrace) -> list[tuple[str, Replay | Optimum]]:
        return [
            ("plain decoding", replay(Fixed(0), flat, **options)),
            (f"fixed:tau={tau}", replay(Fixed(tau), flat, **options)),
            ("optimum", optimum(flat, **options)),
        ]

    tell("optimum")
    flat = traces.flat()
    results = [*marks_of(flat), *runs]

    def marks_on(tokens: IntArray) -> FloatArray:
        """Speeds of the marks on the first tokens of each sequence, as in ``_Row``."""
        begun = np.flatnonzero(tokens)
        columns = np.zeros((len(traces), 6))
        if begun.size:
            some = flat.take(begun)._replace(num_tokens=tokens[begun])
            columns[begun] = np.concatenate([_columns(r) for _, r in marks_of(some)], axis=1)
        return columns

    marks = np.concatenate([_columns(result) for _, result in results], axis=1)[:, :6]
    rows = [_Row(name, result, marks) for name, result in results]
    for i, (name, result) in enumerate(results[_MARKS:], start=_MARKS):
        if isinstance(result, Replay) and result.end_reason.any():
            # What was cut short is compared with the marks on the same tokens.
            rows[i] = _Row(name, result, marks_on(result.tokens))
    entries = _entries(rows, resamples, np.random.default_rng(seed))
    source = "this trace (hindsight)" if best_static_from is None else "another trace"
    return Comparison(
        entries[0],
        entries[1],
        entries[2],
        tau,
        source,
        tuple(entries[_MARKS:]),
        str(costs),
        costs.time_unit,
        max_draft_tokens,
    )


def _require_resamples(resamples: int) -> None:
    if resamples < 1:
        raise ConfigError(f"resamples = {resamples}; it must be at least 1")


class _Row(NamedTuple):
    """A result, and the marks to hold it against: plain, best static, optimum.

    Attributes:
      name: of the result.
      result: totals of it.
      marks: ``[N, 6]`` tokens and time of each mark, side by side.
    """

    name: str
    result: Replay | Optimum
    marks: FloatArray


def _columns(result: Replay | Optimum) -> FloatArray:
    """Tokens and time, ``[N, 2]``."""
    return np.stack([result.tokens, result.time_ms], axis=1)


def _label(policy: str | Policy[Any, Any]) -> str:
    """A spec as it was written, or the one that builds the policy again."""
    return policy if isinstance(policy, str) else policy_spec(policy)


def _entries(rows: list[_Row], resamples: int, generator: np.random.Generator) -> list[Entry]:
    """Entries with intervals; every resample takes the same prompts for all of them."""
    values = np.concatenate([c for row in rows for c in (_columns(row.result), row.marks)], axis=1)
    point = values.sum(axis=0)[None, :]  # [1, 8 * rows]
    sums = np.concatenate([point, resampled_sums(values, resamples, generator)])
    tokens, time_ms = sums[:, 0::2], sums[:, 1::2]
    # [1 + resamples, 4 * rows], the point estimate first; NaN where nothing was run.
    speeds = np.divide(tokens, time_ms, out=np.full_like(tokens, np.nan), where=time_ms > 0)
    over_static = [speeds[:, 4 * i] / speeds[:, 4 * i + 2] for i in range(len(rows))]
    tested = [None] * _MARKS + significance(over_static[_MARKS:])
    entries = []
    for i, row in enumerate(rows):
        own, plain, static, best = speeds[:, 4 * i : 4 * i + 4].T
        span = (best - static) / plain
        share = None
        if span[0] > _SMALLEST_SPAN:
            # A resample without any span has nothing to share; it says nothing of the policy.
            some = span > _SMALLEST_SPAN
            share = Interval.of(((own - static) / plain)[some] / span[some])
        replayed = row.result if isinstance(row.result, Replay) else None
        entries.append(
            Entry(
                Summary.of(row.name, row.result),
                _known(own / plain),
                _known(over_static[i]),
                share,
                tested[i],
                0 if replayed is None else int(replayed.ended_by_budget.sum()),
                0 if replayed is None else int(replayed.ended_by_deadline.sum()),
            )
        )
    return entries


def _known(ratios: FloatArray) -> Interval:
    """The first with the interval of the rest, as far as the prompts drawn emitted anything."""
    if math.isnan(ratios[0]):
        return Interval(math.nan, math.nan, math.nan)
    return Interval.of(ratios[~np.isnan(ratios)])
