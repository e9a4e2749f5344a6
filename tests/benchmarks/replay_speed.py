"""Replay's speed: cycles per second by policy and way, and how it grows with the requests.

    python -m tests.benchmarks.replay_speed --policy fixed:tau=3 --policy ewma --largest 1000000

Requests are windows of 64 to 128 tokens of a synthetic trace, drawn part by part, so that there may
be more of them than fit into memory. Each policy is first replayed on the same few of them in every
way there is: compiled, by the controller in lanes (where sequences are independent), by the
controller event by event (one request after the other), and, constant lengths, by the plainest
loop that Python has for them. Then come more and more requests, as long as one size is expected to
take no more seconds than ``--patience``. Times are of the processor, drawing the requests included;
memory is the most that the process has held so far.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec import ConstantCosts, Controller, make_policy
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.policy import Policy
from adaptive_spec.simulations.compiled import CompiledReplays
from adaptive_spec.simulations.driven import DrivenReplay, Part
from adaptive_spec.simulations.simulator import LANES, replay_parts
from adaptive_spec.traces import Hazards, TraceSet
from adaptive_spec.traces.flat import FlatTrace
from adaptive_spec.traces.synthetic import synthetic_trace
from adaptive_spec.traces.windows import Windows, windows_of
from tests.simulations import naive

COSTS = ConstantCosts(draft=0.125)
PART = 1 << 16
"""Requests that are in memory at a time."""
SHORTEST, LONGEST = 64, 128


def recorded() -> TraceSet:
    """What the requests are windows of: calm stretches and bursts of rejections."""
    hazards = Hazards(0.25, burst=0.8, enter=0.02, leave=0.04)
    return synthetic_trace(hazards, num_sequences=500, num_tokens=2 * LONGEST)


def parts(whole: FlatTrace, requests: int) -> Iterator[FlatTrace]:
    """So many windows of a trace, part by part."""
    random = np.random.default_rng(0)
    for begin in range(0, requests, PART):
        count = min(PART, requests - begin)
        tokens = random.integers(SHORTEST, LONGEST + 1, count)
        sequence = random.integers(0, whole.start.size, count)
        windows = Windows(sequence, random.integers(0, LONGEST, count), tokens, tokens)
        yield windows_of(whole, windows)


class Speed(NamedTuple):
    """How long some cycles took."""

    cycles: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Cycles."""
        return self.cycles / self.seconds


def timed(run: Callable[[], int]) -> Speed:
    """The speed of something that returns its cycles."""
    began = time.process_time()
    cycles = run()
    return Speed(cycles, max(time.process_time() - began, 1e-9))


def ways(policy: Policy[Any, Any], flat: FlatTrace) -> dict[str, Callable[[int], int]]:
    """All ways to replay the first so many requests of a trace; each returns its cycles."""

    def controller(lockstep: bool) -> Controller:
        return Controller(policy, costs=COSTS, lockstep=lockstep, drafters=flat.drafters)

    def run(replays: Any) -> Callable[[int], int]:
        return lambda count: int(replays.run(Part(flat, np.arange(count))).cycles.sum())

    found = {"event by event": run(DrivenReplay(controller(lockstep=True), 1))}
    if controller(lockstep=True).sequences_are_independent:
        found["lanes"] = run(DrivenReplay(controller(lockstep=False), LANES))
    compiled = CompiledReplays.of(controller(lockstep=True), 4 * LONGEST)
    if compiled is not None:
        found["compiled"] = run(compiled)
        found["compiled"](1)  # compiles, or loads what was compiled
    return found


def plainest(policy: Fixed, traces: TraceSet) -> Speed:
    """The speed of a loop over constant lengths."""
    return timed(
        lambda: sum(
            naive.fixed(sequence, policy.tau, COSTS.draft, 0.0).cycles for sequence in traces
        )
    )


def report(spec: str, largest: int, patience_s: float) -> Iterator[str]:
    """Lines about a policy."""
    policy, traces = make_policy(spec), recorded()
    whole = traces.flat()
    few = next(parts(whole, PART))
    speeds = {}
    for name, run in ways(policy, few).items():
        count = 30 if name == "event by event" else LANES
        speeds[name] = timed(lambda run=run, count=count: run(count))  # type: ignore[misc]
    if isinstance(policy, Fixed) and not policy.fallback:
        speeds["plain Python loop"] = plainest(policy, traces)
    slowest = speeds["event by event"].per_second
    for name, speed in speeds.items():
        ratio = speed.per_second / slowest
        yield f"{spec:16}{name:>18}{speed.per_second:14,.0f} cycles/s {ratio:10,.1f} x"
    requests, expected_s = 1000, 1000 * LONGEST / max(s.per_second for s in speeds.values())
    while requests <= largest and expected_s <= patience_s:
        grown = timed(lambda: sum(_cycles(policy, parts(whole, requests))))  # noqa: B023
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        yield (
            f"{spec:16}{requests:>12,} requests {grown.cycles:>14,} cycles {grown.seconds:8.2f} s"
            f"{grown.per_second:14,.0f} cycles/s {peak:8,.0f} MiB"
        )
        requests, expected_s = 10 * requests, 10 * grown.seconds


def _cycles(policy: Policy[Any, Any], of: Iterator[FlatTrace]) -> Iterator[int]:
    for result in replay_parts(policy, of, costs=COSTS):
        yield int(result.cycles.sum())


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--policy", action="append", help="spec; may be given more than once")
    options.add_argument("--largest", type=int, default=1_000_000, help="most requests")
    options.add_argument("--patience", type=float, default=120.0, help="seconds for one size")
    chosen = options.parse_args(arguments)
    for spec in chosen.policy or ["fixed:tau=3", "ewma", "marginal", "auto"]:
        for line in report(spec, chosen.largest, chosen.patience):
            print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
