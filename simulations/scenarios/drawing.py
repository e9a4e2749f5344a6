"""From a scenario and a trace to requests: which stretch of which text, of which class, when."""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.hindsight import least_passes
from adaptive_spec.simulations.scenarios.degrading import degraded
from adaptive_spec.simulations.scenarios.scenario import ArrivalPlan, RequestKind, Scenario
from adaptive_spec.simulations.serving import (
    Arrivals,
    ClosedLoop,
    OpenLoop,
    Requests,
    RequestStream,
)
from adaptive_spec.simulations.serving.server import prefill_times
from adaptive_spec.traces.records import TraceInfo, TraceSet
from adaptive_spec.traces.synthetic import synthetic_trace
from adaptive_spec.traces.windows import WindowedTrace, Windows, windows_of

_NEAREST = 0.25
"""Share of the prompts that stand in for a class, where none is as long or as short as it asks."""
_ROUNDS = 60
"""Of drawing completions that can be decoded in few passes, before that is given up."""


class Workload(NamedTuple):
    """What is served.

    Attributes:
      traces: the texts asked for, one window a request.
      requests: as they come.
      notes: what a reader of results must know of how they were drawn.
    """

    traces: WindowedTrace
    requests: Requests
    notes: tuple[str, ...]


def made_up_trace(scenario: Scenario, seed: int) -> TraceSet:
    """A synthetic trace for a scenario: texts of each class, under its name as category."""
    sequences = []
    for number, kind in enumerate(scenario.classes):
        made_up = kind.made_up
        hazards = dataclasses.replace(made_up.hazards, seed=(seed + number) % (1 << 32))
        made = synthetic_trace(
            hazards,
            num_sequences=made_up.sequences,
            num_tokens=made_up.tokens,
            prompt_tokens=made_up.prompt_tokens,
        )
        sequences += [
            dataclasses.replace(s, id=f"{kind.name}/{s.id}", category=kind.name) for s in made
        ]
    info = TraceInfo("synthetic", "synthetic", "token", source="synthetic")
    return TraceSet(info, tuple(sequences))


def draw(
    scenario: Scenario,
    traces: TraceSet,
    *,
    costs: CostModel,
    generator: np.random.Generator,
    made_up: bool = False,
) -> Workload:
    """Draws the requests of a scenario.

    Args:
      scenario: what is asked for.
      traces: recorded texts, or those of ``made_up_trace``.
      costs: what cycles cost; the rate of arrivals goes by it.
      generator: draws everything.
      made_up: whether the trace is of ``made_up_trace``.

    Raises:
      ConfigError: the trace has no text that fits a class.
    """
    kinds = scenario.classes
    if made_up:
        kinds = tuple(
            dataclasses.replace(kind, categories=(kind.name,), prompt_tokens=None) for kind in kinds
        )
    shares = np.array([kind.share for kind in kinds])
    of_class = generator.choice(len(kinds), scenario.requests, p=shares / shares.sum())
    if scenario.arrivals.log is not None:
        number_of = {kind.name: number for number, kind in enumerate(kinds)}
        for i, name in enumerate(scenario.arrivals.log.classes[: scenario.requests]):
            of_class[i] = number_of.get(name, of_class[i])
    columns = np.zeros((4, scenario.requests), np.int64)
    notes = []
    for number, kind in enumerate(kinds):
        own = of_class == number
        chosen, note = _sequences(kind, traces)
        notes += note
        columns[:, own] = _windows(
            kind, traces, chosen, int(own.sum()), scenario.max_draft_tokens, generator
        )
    if scenario.degradation is not None:
        worse = degraded(traces, scenario.degradation.kept_agreement, generator)
        late = np.arange(scenario.requests) >= scenario.degradation.after * scenario.requests
        columns[0, late] += len(traces)
        traces = TraceSet(traces.info, (*traces.sequences, *worse.sequences))
    windowed = WindowedTrace(traces, Windows(*columns))
    arrivals = _arrivals(scenario.arrivals, windowed, scenario.max_batch, costs, generator)
    names = tuple(kind.name for kind in kinds)
    order = np.arange(scenario.requests)
    return Workload(windowed, Requests(order, arrivals, of_class, names), tuple(notes))


def _sequences(kind: RequestKind, traces: TraceSet) -> tuple[IntArray, list[str]]:
    """Texts that a class is drawn from, and what to say of the choice."""
    categories = {sequence.category for sequence in traces}
    wanted = set(kind.categories) & categories
    notes: list[str] = []
    if kind.categories and not wanted:
        there = ", ".join(sorted(filter(None, categories))) or "no names"
        missing = ", ".join(kind.categories)
        notes.append(
            f"class {kind.name}: the trace has no prompts of {missing}; taken from all that it has "
            f"({there})"
        )
    shortest = (kind.completion_tokens or (1, 1))[0]
    possible = np.array(
        [
            i
            for i, sequence in enumerate(traces)
            if (not wanted or sequence.category in wanted) and sequence.run_lengths.size >= shortest
        ],
        np.int64,
    )
    if not possible.size:
        raise ConfigError(
            f"class {kind.name!r}: the trace has no answer of at least {shortest} tokens; record "
            f"one with --max-new-tokens {shortest} or more, or change completion_tokens or "
            "categories"
        )
    low, high = kind.prompt_tokens or (1, 1 << 30)
    lengths = traces.flat().prompt_tokens[possible]
    beside = np.maximum(np.maximum(low - lengths, lengths - high), 0)
    if not beside.min():
        return possible[beside == 0], notes
    # As many as make a class of their own, and no more than are like each other.
    nearest = np.argsort(beside, kind="stable")[: math.ceil(_NEAREST * possible.size)]
    notes.append(
        f"class {kind.name}: the trace has no prompts of {low} to {high} tokens; taken from those "
        f"that come nearest, of {lengths[nearest].min()} to {lengths[nearest].max()}"
    )
    return possible[nearest], notes


def _windows(
    kind: RequestKind,
    traces: TraceSet,
    chosen: IntArray,
    count: int,
    max_draft_tokens: int,
    generator: np.random.Generator,
) -> IntArray:
    """Windows as columns, ``[4, count]``."""
    flat = traces.flat()
    if kind.completion_tokens is None:
        sequence = generator.choice(chosen, count)
        whole = flat.num_tokens[sequence], flat.limit_tokens[sequence]
        return np.stack([sequence, np.zeros_like(sequence), *whole])
    found = np.zeros((4, 0), np.int64)
    low, high = kind.completion_tokens
    for _ in range(_ROUNDS):
        if found.shape[1] >= count:
            break
        sequence = generator.choice(chosen, max(count, 64))
        recorded = flat.num_tokens[sequence]
        length = generator.integers(low, np.minimum(high, recorded) + 1)
        begin = generator.integers(0, recorded - length + 1)
        drawn = np.stack([sequence, begin, length, length])
        if kind.fewest_passes is not None:
            windows = windows_of(flat, Windows(*drawn))
            least = least_passes(windows, max_draft_tokens=max_draft_tokens)
            drawn = drawn[:, least <= kind.fewest_passes]
        found = np.concatenate([found, drawn], axis=1)
    if found.shape[1] < count:
        raise ConfigError(
            f"class {kind.name!r}: hardly any completion of {low} to {high} tokens can be decoded "
            f"in {kind.fewest_passes} passes on this trace; raise fewest_passes, or ask for "
            "shorter ones"
        )
    return found[:, :count]


def _arrivals(
    plan: ArrivalPlan,
    traces: WindowedTrace,
    max_batch: int,
    costs: CostModel,
    generator: np.random.Generator,
) -> Arrivals:
    if plan.concurrency is not None:
        return ClosedLoop(plan.concurrency)
    logged = None if plan.log is None else plan.log.arrivals.times_ms[: len(traces)]
    if plan.load is None:
        assert logged is not None
        if costs.time_unit != "ms":
            raise ConfigError(
                f"arrivals: the log is in ms, but times are in {costs.time_unit}; give costs in "
                "ms, or a load to stretch the log to"
            )
        return OpenLoop(logged)
    flat = traces.flat()
    context = flat.prompt_tokens + flat.num_tokens // 2
    plain = costs.verify_ms(np.zeros_like(context), max_batch, context)
    busy = plain * flat.num_tokens / max_batch
    gap = float((busy + prefill_times(flat.prompt_tokens, costs)).mean()) / plan.load
    if logged is not None:
        span = float(logged[-1] - logged[0])
        stretched = logged - logged[0]
        return OpenLoop(stretched * (gap * len(traces) / span) if span > 0 else stretched)
    return RequestStream(gap, plan.variation, plan.profile).draw(len(traces), generator)
