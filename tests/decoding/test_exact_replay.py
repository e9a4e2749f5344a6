"""The second oracle: the simulator replays the live engine's cycles exactly.

Live runs decide on the cost model's times, as `adaptive-spec validate` has them do; the trace is
recorded from plain decoding. Every number of every cycle must agree, for every drafter and policy,
in batches too, with ends of all kinds, pass budgets, and policies that look inside the draft.
"""

import functools
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Constraints, LatencyTarget, PassBudget, Policy, make_policy
from adaptive_spec.decoding import (
    Completion,
)
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.verification import GREEDY, CoupledNoise, VerificationRule
from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.measured_times import MeasuredTimes
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces import TraceSet
from tests.decoding.replayed import (
    SEED,
    assert_same_cycles,
    drafter_of,
    live_engine,
    recorded,
    requests,
)
from tests.decoding.scripted import DRAFTERS, Scripted, Stopping

COSTS = ConstantCosts(draft=0.1, verify=0.05, plain_ms=7.0)
MOST = 8
REQUESTS = requests(8, longest=24)
SAMPLED = CoupledNoise(
    SamplingParameters(temperature=0.6, top_k=30, top_p=0.97, repetition_penalty=1.1), seed=4
)

POLICIES: list[str | Policy[Any, Any]] = [
    "fixed:tau=0",
    "fixed:tau=3",
    "fixed:tau=8,fallback=true",
    "ewma",
    "bandit",
    "bandit:algorithm=ucb-tuned",
    "bandit:algorithm=thompson",
    "bandit:algorithm=exp3,scope=sequence",
    "nightjar",
    Scripted(),
]


def live(
    name: str,
    policy: Policy[Any, Any],
    batch_size: int = 1,
    constraints: Constraints | None = None,
    rule: VerificationRule = GREEDY,
) -> list[Completion]:
    engine = live_engine(
        drafter_of(name, batch_size),
        policy,
        batch_size,
        costs=COSTS,
        most=MOST,
        constraints=constraints,
        rule=rule,
        record_signals=True,
    )
    return engine.complete(REQUESTS)


@functools.cache
def trace_of(name: str, rule: VerificationRule = GREEDY) -> TraceSet:
    plain = live(name, make_policy("fixed:tau=0"), rule=rule)
    return recorded(drafter_of(name, 1), REQUESTS, plain, signal_depth=MOST, rule=rule)


def run_both(
    name: str,
    policy: str | Policy[Any, Any],
    batch_size: int,
    constraints: Constraints | None = None,
    rule: VerificationRule = GREEDY,
) -> list[Completion]:
    built = make_policy(policy)
    completions = live(name, built, batch_size, constraints, rule)
    result = replay(
        built,
        trace_of(name, rule),
        costs=COSTS,
        max_draft_tokens=MOST,
        constraints=constraints,
        seed=SEED,
        concurrency=batch_size,
        log_cycles=True,
    )
    assert result.log is not None
    assert_same_cycles(completions, result.log)
    return completions


def test_the_traces_hold_what_makes_replay_hard() -> None:
    for name in DRAFTERS:
        traces = trace_of(name)
        reasons = {sequence.finish_reason for sequence in traces}
        assert reasons == {"eos", "length"}, "sequences end in both ways"
        runs = np.concatenate([sequence.run_lengths for sequence in traces])
        assert 0 < (runs > 0).mean() < 1, "drafts are accepted and rejected"
    assert not all(sequence.proposes.all() for sequence in trace_of("lookup"))
    reach = [s.draftable_tokens for s in trace_of("short-context")]
    assert min(r for r in reach if r is not None) < 15, "contexts end within sequences"


@pytest.mark.parametrize("batch_size", [1, 4, 8])
@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("name", [*DRAFTERS, "short-context"])
def test_every_cycle_is_replayed(
    name: str, policy: str | Policy[Any, Any], batch_size: int
) -> None:
    completions = run_both(name, policy, batch_size)
    for completion, sequence in zip(completions, trace_of(name), strict=True):
        assert sequence.output_ids is not None
        assert list(completion.token_ids) == sequence.output_ids.tolist()


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(
    ("name", "signal", "threshold"),
    [
        ("draft-model", "top1_probability", 0.05),
        ("draft-model", "margin", 0.2),
        ("draft-model", "entropy", 3.1),
        ("early-exit", "top1_probability", 0.04),
        ("short-context", "margin", 0.2),
        ("lookup", "match_length", 1.5),
    ],
)
def test_policies_that_look_inside_the_draft_are_replayed(
    name: str, signal: str, threshold: float, batch_size: int
) -> None:
    completions = run_both(name, Stopping(tau=8, signal=signal, threshold=threshold), batch_size)
    lengths = {cycle.num_draft_tokens for c in completions for cycle in c.cycles}
    assert len(lengths) > 2, "some drafts were stopped, some were not"


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("policy", ["confidence:threshold=0.05", "specdec-pp:threshold=0.96"])
def test_published_rules_that_stop_inside_the_draft_are_replayed(
    policy: str, batch_size: int
) -> None:
    completions = run_both("draft-model", policy, batch_size)
    lengths = {cycle.num_draft_tokens for c in completions for cycle in c.cycles}
    assert len(lengths) > 2, "some drafts were stopped, some were not"


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("policy", ["ewma", Scripted()], ids=str)
@pytest.mark.parametrize("name", [*DRAFTERS, "short-context"])
def test_every_cycle_of_sampled_text_is_replayed(
    name: str, policy: str | Policy[Any, Any], batch_size: int
) -> None:
    completions = run_both(name, policy, batch_size, rule=SAMPLED)
    traces = trace_of(name, SAMPLED)
    for completion, sequence in zip(completions, traces, strict=True):
        assert sequence.output_ids is not None
        assert list(completion.token_ids) == sequence.output_ids.tolist()
    runs = np.concatenate([sequence.run_lengths for sequence in traces])
    assert 0 < (runs > 0).mean() < 1, "drafts are accepted and rejected"


@pytest.mark.parametrize(
    ("name", "signal", "threshold"),
    [("draft-model", "margin", 0.2), ("lookup", "match_length", 1.5)],
)
def test_policies_that_look_inside_sampled_drafts_are_replayed(
    name: str, signal: str, threshold: float
) -> None:
    policy = Stopping(tau=8, signal=signal, threshold=threshold)
    completions = run_both(name, policy, 3, rule=SAMPLED)
    lengths = {cycle.num_draft_tokens for c in completions for cycle in c.cycles}
    assert len(lengths) > 2, "some drafts were stopped, some were not"


@pytest.mark.parametrize("name", DRAFTERS)
def test_recorded_signals_are_those_of_live_drafts(name: str) -> None:
    from adaptive_spec.simulations.signals import SignalSource

    source = SignalSource.of(trace_of(name))
    for i, completion in enumerate(live(name, Scripted())):
        for cycle in completion.cycles:
            if cycle.num_draft_tokens:
                at = np.array([i]), np.array([cycle.position])
                expected = source.at(*at, cycle.num_draft_tokens)
                assert cycle.signals is not None
                for ours, theirs in zip(cycle.signals, expected, strict=True):
                    np.testing.assert_allclose(ours, theirs[0], atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(
    ("constraints", "ending"),
    [
        (Constraints(PassBudget(max_passes=7)), "budget"),
        (Constraints(PassBudget(average_passes=9.0, patience=0.3)), None),
        (Constraints(PassBudget(average_passes=6.0, hard=True, burst_passes=5)), "budget"),
        (
            Constraints(
                PassBudget(average_passes=6.0, hard=True, burst_passes=5, when_spent="carry-on")
            ),
            None,
        ),
        (Constraints(latency=LatencyTarget(deadline_ms=9.0 * COSTS.plain_ms)), "deadline"),
        (
            Constraints(
                PassBudget(average_passes=7.0, patience=0.3),
                LatencyTarget(target_ms=12.0 * COSTS.plain_ms, quantile=0.6, patience=0.5),
            ),
            None,
        ),
    ],
)
def test_constraints_are_replayed(
    constraints: Constraints, ending: str | None, batch_size: int
) -> None:
    for policy in ("ewma", "fixed:tau=1"):
        completions = run_both("draft-model", policy, batch_size, constraints)
        reasons = {completion.finish_reason for completion in completions}
        assert ending is None or ending in reasons
        if constraints.budget is not None and constraints.budget.max_passes is not None:
            most = max(len(completion.cycles) for completion in completions)
            assert most == constraints.budget.max_passes


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_run_by_the_clock_is_replayed_at_its_own_times(batch_size: int) -> None:
    promised = Constraints(
        PassBudget(average_passes=7.0, patience=0.3),
        LatencyTarget(target_ms=12.0 * COSTS.plain_ms, quantile=0.6, patience=0.5),
    )
    for policy in ("bandit", "hazard"):  # they learn from times
        engine = live_engine(
            drafter_of("draft-model", batch_size),
            make_policy(policy),
            batch_size,
            costs=COSTS,
            most=MOST,
            constraints=promised,
            measured_times=True,
        )
        completions = engine.complete(REQUESTS)
        result = replay(
            policy,
            trace_of("draft-model"),
            costs=COSTS,
            max_draft_tokens=MOST,
            constraints=promised,
            seed=SEED,
            concurrency=batch_size,
            measured=[MeasuredTimes.of(c.prefill_ms, c.cycles) for c in completions],
            log_cycles=True,
        )
        assert result.log is not None
        assert_same_cycles(completions, result.log)
        assert engine.controller.ledgers == result.ledgers
        assert result.time_ms.tolist() == pytest.approx([c.decode_ms for c in completions])


def test_times_of_other_sequences_are_refused() -> None:
    traces = trace_of("draft-model")
    nothing = MeasuredTimes(0.0, ())
    for concurrency, measured in ((1, []), (None, [nothing] * len(REQUESTS))):
        with pytest.raises(ConfigError, match="measured: times of"):
            replay("fixed", traces, costs=COSTS, concurrency=concurrency, measured=measured)
