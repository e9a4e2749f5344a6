"""Replay's speed in cycles per second, in every way there is, on the same work."""

from typing import Any

import pytest

from adaptive_spec import make_policy
from adaptive_spec.policies.fixed import Fixed
from tests.benchmarks import replay_speed

REQUESTS = {"event by event": 20, "lanes": 2_000, "compiled": 10_000}


@pytest.mark.parametrize("spec", ["fixed:tau=3", "ewma", "marginal"])
@pytest.mark.parametrize("way", REQUESTS)
def test_replay(benchmark: Any, spec: str, way: str) -> None:
    flat = next(replay_speed.parts(replay_speed.recorded().flat(), max(REQUESTS.values())))
    known = replay_speed.ways(make_policy(spec), flat)
    if way not in known:
        pytest.skip(f"{spec} is not replayed that way")
    requests = REQUESTS[way] // (100 if spec == "marginal" and way == "compiled" else 1)
    cycles = benchmark(known[way], requests)
    speed = cycles / benchmark.stats.stats.min / 1e6
    benchmark.extra_info["million_cycles_per_second"] = speed
    print(f"\n{spec}, {way}: {speed:.3f} million cycles/s")  # noqa: T201


def test_plain_loop(benchmark: Any) -> None:
    speed = benchmark(replay_speed.plainest, Fixed(3), replay_speed.recorded())
    print(f"\nplain Python loop: {speed.per_second / 1e6:.3f} million cycles/s")  # noqa: T201
