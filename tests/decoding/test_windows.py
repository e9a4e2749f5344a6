"""A window of a recorded text is the live request that begins there, cycle for cycle."""

import functools
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Policy, make_policy
from adaptive_spec.decoding import Request
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.verification import GREEDY, CoupledNoise, VerificationRule
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces import TraceSet, WindowedTrace, Windows
from tests.decoding.replayed import (
    SEED,
    assert_same_cycles,
    drafter_of,
    live_engine,
    recorded,
    requests,
)
from tests.decoding.scripted import Scripted, Stopping

COSTS = ConstantCosts(draft=0.1, verify=0.05, plain_ms=7.0)
MOST = 8
REQUESTS = requests(8, longest=24)
SAMPLED = CoupledNoise(SamplingParameters(temperature=0.6, top_k=30), seed=4)


@functools.cache
def trace_of(name: str, rule: VerificationRule) -> TraceSet:
    engine = live_engine(
        drafter_of(name, 1), make_policy("fixed:tau=0"), costs=COSTS, most=MOST, rule=rule
    )
    done = engine.complete(REQUESTS)
    return recorded(drafter_of(name, 1), REQUESTS, done, signal_depth=MOST, rule=rule)


def windows_of(traces: TraceSet) -> tuple[Windows, list[Request]]:
    """Two windows of every text but for the shortest, and the requests that they stand for."""
    random = np.random.default_rng(3)
    chosen: list[tuple[int, ...]] = []
    asked: list[Request] = []
    for i, sequence in enumerate(traces):
        assert sequence.prompt_ids is not None
        assert sequence.output_ids is not None
        n = sequence.run_lengths.size
        for _ in range(2 if n > 6 else 0):
            begin = int(random.integers(1, n - 4))
            count = int(random.integers(3, n - begin + 1))
            chosen.append((i, begin, count, count))
            ids = [*sequence.prompt_ids.tolist(), *sequence.output_ids[:begin].tolist()]
            seed = REQUESTS[i].noise_seed(SAMPLED.seed)
            asked.append(Request(f"w{len(asked)}", ids, count, seed=seed))
    return Windows(*np.array(chosen).T), asked


STOPPING = Stopping(tau=8, signal="margin", threshold=0.2)


@pytest.mark.parametrize(
    ("name", "policy", "batch_size", "rule"),
    [
        ("lookup", "ewma", 3, GREEDY),
        ("lookup", Scripted(), 1, GREEDY),
        ("early-exit", "ewma", 1, GREEDY),
        ("early-exit", STOPPING, 3, GREEDY),
        ("early-exit", Scripted(), 3, SAMPLED),
        ("short-context", Scripted(), 3, GREEDY),
        ("short-context", STOPPING, 1, SAMPLED),
        ("lookup+early-exit", "auto", 3, GREEDY),
        ("lookup+early-exit", STOPPING, 1, GREEDY),
    ],
    ids=str,
)
def test_windows_replay_live_requests(
    name: str, policy: str | Policy[Any, Any], batch_size: int, rule: VerificationRule
) -> None:
    traces = trace_of(name, rule)
    windows, asked = windows_of(traces)
    policy = make_policy(policy)
    engine = live_engine(
        drafter_of(name, batch_size), policy, batch_size, costs=COSTS, most=MOST, rule=rule
    )
    completions = engine.complete(asked)
    result = replay(
        policy,
        WindowedTrace(traces, windows),
        costs=COSTS,
        max_draft_tokens=MOST,
        seed=SEED,
        concurrency=batch_size,
        log_cycles=True,
    )
    assert result.log is not None
    assert_same_cycles(completions, result.log)
    for i, completion in enumerate(completions):
        recorded_ids = traces.sequences[windows.sequence[i]].output_ids
        assert recorded_ids is not None
        begin, end = windows.begin[i], windows.begin[i] + windows.num_tokens[i]
        assert list(completion.token_ids) == recorded_ids[begin:end].tolist()
