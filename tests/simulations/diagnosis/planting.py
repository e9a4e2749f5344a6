"""Traces and logs in which a fault was planted, or almost."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from adaptive_spec import ConstantCosts, MeasuredCosts
from adaptive_spec.costs import CostModel
from adaptive_spec.policy import NO_DRAFTER
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces import Hazards, LoggedCycle, TraceSet, synthetic_trace

COSTS = ConstantCosts(draft=0.125, verify=0.05)


def texts(
    *hazards: float,
    sequences: int = 30,
    tokens: int = 40,
    categories: Sequence[str] = ("",),
    prompts: Sequence[int] = (32,),
) -> TraceSet:
    """Stretches of requests with a hazard, a category and a prompt length each, one after another.

    Where there are fewer categories or prompt lengths than hazards, the last one goes on.
    """
    parts = []
    for i, hazard in enumerate(hazards):
        stretch = synthetic_trace(
            Hazards(hazard=hazard, seed=i),
            num_sequences=sequences,
            num_tokens=tokens,
            prompt_tokens=prompts[min(i, len(prompts) - 1)],
        )
        category = categories[min(i, len(categories) - 1)]
        parts += [dataclasses.replace(s, id=f"{i}/{s.id}", category=category) for s in stretch]
    info = dataclasses.replace(stretch.info, rule="greedy")
    return TraceSet(info, tuple(parts))


def mixed(traces: TraceSet, seed: int = 0) -> TraceSet:
    """The same requests in random order."""
    return traces.select(np.random.default_rng(seed).permutation(len(traces)))


def of_rule(traces: TraceSet, rule: str) -> TraceSet:
    """The trace as if it had been recorded under another verification rule."""
    return TraceSet(dataclasses.replace(traces.info, rule=rule), traces.sequences)


def saturating_costs() -> MeasuredCosts:
    """A device on which drafted tokens are free alone, and cost half a pass in a batch of 32."""
    widths = np.arange(11)
    passes = np.stack([10.0 + 0.1 * widths, 20.0 + 10.0 * widths])[:, None, :]
    return MeasuredCosts(
        (1, 32), (64,), tuple((widths + 1).tolist()), passes, *np.full((2, 2, 1), 0.5)
    )


def logged(
    traces: TraceSet,
    policy: str,
    costs: CostModel = COSTS,
    *,
    batch_size: int = 1,
    noise: float = 0.05,
    **options: Any,
) -> list[LoggedCycle]:
    """What a live engine would have logged, with noise in its times."""
    generator = np.random.default_rng(0)
    run = replay(policy, traces, costs=costs, log_cycles=True, **options)
    assert run.log is not None
    found, counts = [], dict.fromkeys(range(len(traces)), 0)
    for row in zip(*(column.tolist() for column in run.log), strict=True):
        sequence, position, tau, drafted, accepted, emitted, _, drafter, _ = row
        one = traces.sequences[sequence]
        context = one.prompt_tokens + position
        at = np.array([drafted]), batch_size, np.array([context])
        draft_ms, verify_ms = (
            float(part[0] * generator.uniform(1 - noise, 1 + noise))
            for part in (costs.draft_ms(*at), costs.verify_ms(*at))
        )
        found.append(
            LoggedCycle(
                one.id,
                counts[sequence],
                position,
                tau,
                drafted,
                accepted,
                emitted,
                None if drafter == NO_DRAFTER else "draft",
                np.full(emitted, -1, np.int8),
                None,
                None,
                None,
                None,
                draft_ms,
                verify_ms,
                context,
                batch_size,
            )
        )
        counts[sequence] += 1
    order = {one.id: i for i, one in enumerate(traces)}
    return sorted(found, key=lambda cycle: (order[cycle.id], cycle.cycle))
