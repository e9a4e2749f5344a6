"""The serving simulation's speed in cycles of sequences per second, eight at a time."""

from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts
from adaptive_spec.simulations.serving import ClosedLoop, Requests, RequestStream, serve
from adaptive_spec.traces import Hazards, synthetic_trace

REQUESTS = 400


@pytest.mark.parametrize("loop", ["closed", "open"])
@pytest.mark.parametrize("spec", ["fixed:tau=3", "ewma"])
def test_serving(benchmark: Any, spec: str, loop: str) -> None:
    flat = synthetic_trace(Hazards(0.3), num_sequences=REQUESTS).flat()
    arrivals: Any = ClosedLoop(8)
    if loop == "open":  # more than can be served, so that batches are full
        arrivals = RequestStream(2.0, 2.0).draw(REQUESTS, np.random.default_rng(0))
    requests = Requests(np.arange(REQUESTS), arrivals)
    served = benchmark(serve, spec, flat, requests, costs=ConstantCosts(), max_batch=8)
    speed = served.requests.passes.sum() / benchmark.stats.stats.min
    benchmark.extra_info["thousand_cycles_per_second"] = speed / 1e3
    print(f"\n{spec}, {loop} loop: {speed / 1e3:.0f} thousand cycles/s")  # noqa: T201
