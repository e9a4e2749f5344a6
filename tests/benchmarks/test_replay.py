"""Replay's speed in cycles per second, against an event-by-event loop on the same work."""

from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces import SequenceTrace, TraceInfo, TraceSet, run_lengths_of
from tests.simulations import naive


def traces(sequences: int) -> TraceSet:
    rng = np.random.default_rng(0)
    made = []
    for i in range(sequences):
        bits = rng.random(int(rng.integers(64, 192))) < 0.6
        runs = run_lengths_of(bits)
        made.append(SequenceTrace(str(i), "", 100, runs, np.ones(bits.size, np.bool_)))
    return TraceSet(TraceInfo("v", "d", "token"), tuple(made))


@pytest.mark.parametrize("spec", ["fixed:tau=3", "ewma", "bandit:scope=sequence"])
def test_replay(benchmark: Any, spec: str) -> None:
    flat = traces(20_000).flat()
    result = benchmark(replay, spec, flat, costs=ConstantCosts())
    seconds = benchmark.stats.stats.min
    benchmark.extra_info["million_cycles_per_second"] = result.cycles.sum() / seconds / 1e6
    print(f"\n{spec}: {result.cycles.sum() / seconds / 1e6:.1f} million cycles/s")  # noqa: T201


def test_event_by_event(benchmark: Any) -> None:
    some = traces(500)

    def loop() -> int:
        return sum(naive.fixed(sequence, 3, 0.125, 0.0).cycles for sequence in some)

    cycles = benchmark(loop)
    speed = cycles / benchmark.stats.stats.min / 1e6
    benchmark.extra_info["million_cycles_per_second"] = speed
    print(f"\nevent by event: {speed:.2f} million cycles/s")  # noqa: T201
