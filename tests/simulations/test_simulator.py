"""Replay: equal to a naive twin, exact in tokens, the same in lanes and one by one."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import (
    ConfigError,
    ConstantCosts,
    Constraints,
    Cycle,
    Decision,
    PassBudget,
    Policy,
    State,
)
from adaptive_spec.policy import DraftSignals, Empty, Outcome
from adaptive_spec.simulations import simulator
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.testing import strategies
from adaptive_spec.traces import SequenceTrace, SignalTrace, TraceInfo, TraceSet
from tests.simulations import naive

SPECS = st.sampled_from(
    [
        "fixed:tau=0",
        "fixed:tau=4",
        "fixed:tau=3,fallback=true",
        "ewma",
        "bandit",
        "bandit:algorithm=exp3,scope=sequence",
    ]
)


@given(strategies.traces(), st.integers(0, 8), st.sampled_from([0.0, 0.1, 0.5]))
def test_equals_the_naive_twin(traces: TraceSet, tau: int, draft: float) -> None:
    result = replay(f"fixed:tau={tau}", traces, costs=ConstantCosts(draft, 0.05))
    for i, sequence in enumerate(traces):
        expected = naive.fixed(sequence, tau, draft, 0.05)
        got = (result.tokens[i], result.cycles[i], result.num_draft_tokens[i])
        assert got == expected[:3]
        assert result.num_accepted_tokens[i] == expected.accepted
        assert result.time_ms[i] == pytest.approx(expected.time)


@given(strategies.traces(), SPECS, strategies.cost_models(), st.sampled_from([None, 1, 2, 5]))
def test_emits_what_the_trace_holds(
    traces: TraceSet, spec: str, costs: Any, concurrency: int | None
) -> None:
    result = replay(spec, traces, costs=costs, concurrency=concurrency)
    assert result.tokens.tolist() == [s.run_lengths.size for s in traces]
    assert (result.num_accepted_tokens <= result.num_draft_tokens).all()
    assert (result.cycles >= 1).all()
    assert (result.cycles <= result.tokens).all()
    assert not result.ended_by_budget.any()
    # Each cycle emits one token of the verifier's own, but for one that ends within its draft.
    own = result.tokens - result.num_accepted_tokens
    assert ((own == result.cycles) | (own == result.cycles - 1)).all()


@given(strategies.traces(), strategies.cost_models())
def test_lanes_give_the_same_as_one_by_one(traces: TraceSet, costs: Any) -> None:
    for spec in ("fixed:tau=3", "ewma", "bandit:algorithm=thompson,scope=sequence"):
        in_lanes = replay(spec, traces, costs=costs, seed=4)
        alone = replay(spec, traces, costs=costs, seed=4, concurrency=1)
        assert in_lanes.engine_ms == pytest.approx(alone.engine_ms)
        for a, b in zip(in_lanes[:5], alone[:5], strict=True):
            np.testing.assert_allclose(a, b)


@given(strategies.traces(max_sequences=12))
def test_lanes_are_refilled(traces: TraceSet) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulator, "LANES", 3)
        few = replay("gammatune", traces, costs=ConstantCosts())
    many = replay("gammatune", traces, costs=ConstantCosts())
    for a, b in zip(few[:5], many[:5], strict=True):
        np.testing.assert_allclose(a, b)


@given(strategies.traces(drafting="token"))
def test_a_longer_tau_never_takes_more_cycles_with_a_token_drafter(traces: TraceSet) -> None:
    cycles = [replay(f"fixed:tau={tau}", traces, costs=ConstantCosts()).cycles for tau in range(9)]
    for shorter, longer in itertools.pairwise(cycles):
        assert (longer <= shorter).all()


@given(strategies.traces(), st.sampled_from(["ewma", "bandit"]))
def test_the_log_adds_up(traces: TraceSet, spec: str) -> None:
    result = replay(spec, traces, costs=ConstantCosts(), log_cycles=True)
    assert result.log is not None
    for i in range(len(traces)):
        mine = result.log.sequence == i
        assert mine.sum() == result.cycles[i]
        emitted = result.log.num_emitted_tokens[mine]
        starts = np.concatenate(([0], np.cumsum(emitted)[:-1]))
        assert result.log.position[mine].tolist() == starts.tolist()
        assert result.log.cycle_ms[mine].sum() == pytest.approx(result.time_ms[i])
        assert (result.log.num_draft_tokens[mine] <= result.log.tau[mine]).all()


def trace_of(*runs: list[int], **fields: Any) -> TraceSet:
    sequences = tuple(
        SequenceTrace(str(i), "", 10, np.array(r), np.ones(len(r), np.bool_), **fields)
        for i, r in enumerate(runs)
    )
    return TraceSet(TraceInfo("v", "d", "block"), sequences)


def test_a_batch_waits_for_its_longest_draft() -> None:
    # One row accepts 3 of 3 and is done in one cycle; the other rejects at once, four times.
    traces = trace_of([3, 2, 1, 0], [0, 0, 0, 0])
    costs = ConstantCosts(draft=0.5)
    result = replay("fixed:tau=3", traces, costs=costs, concurrency=2, max_draft_tokens=3)
    assert result.cycles.tolist() == [1, 4]
    assert result.time_ms.tolist() == [2.5, 10.0]
    assert result.engine_ms == 10.0


def test_free_slots_go_to_the_next_in_order() -> None:
    traces = trace_of([1, 0], [0, 0, 0], [0])
    result = replay(
        "fixed:tau=2", traces, costs=ConstantCosts(), concurrency=2, order=[2, 1, 0],
        log_cycles=True,
    )  # fmt: skip
    assert result.log is not None
    assert result.log.sequence.tolist() == [2, 1, 0, 1, 1]


def test_the_maximum_of_passes_cuts_a_sequence_short() -> None:
    traces = trace_of([0] * 10, [0, 0], limit_tokens=10)
    constraints = Constraints(PassBudget(max_passes=4))
    result = replay("fixed:tau=0", traces, costs=ConstantCosts(), constraints=constraints)
    assert result.tokens.tolist() == [4, 2]
    assert result.ended_by_budget.tolist() == [True, False]


class Confident(Policy[Empty, Empty]):
    """Drafts on while the top-1 probability stays at or above one half."""

    def init(self, num_sequences: int, seed: int) -> State[Empty, Empty]:
        return State(Empty(), Empty())

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        return Decision(cycle.max_tau)

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        return state

    def keep_drafting(
        self,
        state: State[Empty, Empty],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> Any:
        return signals.top1_probability[:, -1] >= 0.5


@given(strategies.traces(signals=True))
def test_stopping_inside_the_draft_follows_the_signals(traces: TraceSet) -> None:
    result = replay(Confident(), traces, costs=ConstantCosts(), log_cycles=True)
    assert result.log is not None
    assert result.tokens.tolist() == [s.run_lengths.size for s in traces]
    token_by_token = traces.info.drafting == "token"
    log = result.log
    for i, p, tau, drafted in zip(
        log.sequence, log.position, log.tau, log.num_draft_tokens, strict=True
    ):
        signal = traces.sequences[i].signals["top1_probability"]
        run = traces.sequences[i].run_lengths[p] if token_by_token else 0
        said = [*signal.first[p : p + run + 1], *signal.later[p + run]]
        expected, limit = 1, tau * traces.sequences[i].proposes[p]
        while expected < limit and said[expected - 1] >= 0.5:
            expected += 1
        assert drafted == min(expected, limit)


def test_a_policy_that_looks_inside_needs_signals() -> None:
    with pytest.raises(ConfigError, match="holds no draft signals"):
        replay(Confident(), trace_of([0, 0]), costs=ConstantCosts())


class Content(Confident):
    needs_signals = False


def test_unless_it_can_do_without() -> None:
    result = replay(Content(), trace_of([0, 0]), costs=ConstantCosts(), log_cycles=True)
    assert result.log is not None
    np.testing.assert_array_equal(result.log.num_draft_tokens, result.log.tau)


def test_a_policy_that_looks_deeper_than_was_recorded_is_refused() -> None:
    later = np.zeros((3, 4))
    sequence = SequenceTrace(
        "a",
        "",
        5,
        np.zeros(2, np.int64),
        np.ones(2, np.bool_),
        signals={"top1_probability": SignalTrace(np.zeros(3), later)},
    )
    traces = TraceSet(TraceInfo("v", "d", "block"), (sequence,))
    replay(Confident(), traces, costs=ConstantCosts(), max_draft_tokens=5)
    with pytest.raises(ConfigError, match=r"drafts up to 5 tokens.*up to 6"):
        replay(Confident(), traces, costs=ConstantCosts(), max_draft_tokens=6)


def test_progress_is_reported() -> None:
    seen: list[int] = []
    replay("ewma", trace_of(*[[0]] * 5), costs=ConstantCosts(), on_finished=seen.append)
    assert sum(seen) == 5


@pytest.mark.parametrize(
    "options",
    [{"order": []}, {"order": [5]}, {"order": [-1]}, {"order": [0, 0]}, {"concurrency": 0}],
)
def test_impossible_runs_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        replay("ewma", trace_of([0]), costs=ConstantCosts(), **options)
