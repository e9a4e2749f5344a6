"""Serving: the cycles of replay, the times of a naive twin, and what holds of any queue."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import ConfigError, ConstantCosts
from adaptive_spec.constraints import Constraints, EndReason, LatencyTarget, PassBudget
from adaptive_spec.costs import MeasuredCosts
from adaptive_spec.simulations import replay
from adaptive_spec.simulations.serving import ClosedLoop, OpenLoop, Requests, Served, serve
from adaptive_spec.testing import strategies
from adaptive_spec.traces import SequenceTrace, TraceInfo, TraceSet, WindowedTrace, Windows
from tests.simulations.serving import naive
from tests.simulations.serving.workloads import workloads

Workload = tuple[TraceSet, Requests]
SPECS = st.sampled_from(["fixed:tau=0", "fixed:tau=4", "ewma", "auto", "bandit"])


def all_of(traces: TraceSet, arrivals: Any) -> Requests:
    return Requests(np.arange(len(traces)), arrivals)


@given(strategies.traces(signals=True), strategies.cost_models(), st.integers(1, 5), st.data())
def test_a_closed_loop_runs_the_cycles_of_replay(
    traces: TraceSet, costs: Any, concurrency: int, data: Any
) -> None:
    # One that learns across requests, one that looks back, one that looks inside drafts.
    spec = data.draw(st.sampled_from(["bandit", "auto", "confidence", "fixed:tau=3"]))
    expected = replay(spec, traces, costs=costs, concurrency=concurrency, seed=3, log_cycles=True)
    options: Any = {"max_batch": concurrency, "seed": 3, "log_cycles": True}
    served = serve(spec, traces, all_of(traces, ClosedLoop(concurrency)), costs=costs, **options)
    assert expected.log is not None
    assert served.log is not None
    for ours, theirs in zip(served.log, expected.log, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(served.requests.passes, expected.cycles)
    np.testing.assert_array_equal(served.requests.tokens, expected.tokens)
    assert served.steps.cycle_ms.sum() == pytest.approx(expected.engine_ms)


@pytest.mark.parametrize(
    "budget",
    [
        PassBudget(2.0),
        PassBudget(0.5, per="token"),
        PassBudget(2.0, hard=True, burst_passes=3.0),
        PassBudget(3.0, hard=True, when_spent="carry-on"),
        PassBudget(max_passes=3),
    ],
    ids=str,
)
@given(strategies.traces(max_sequences=12), st.integers(1, 4))
def test_budgets_are_kept_and_booked_as_in_replay(
    budget: PassBudget, traces: TraceSet, concurrency: int
) -> None:
    options: Any = {"costs": ConstantCosts(), "constraints": Constraints(budget)}
    expected = replay("ewma", traces, concurrency=concurrency, **options)
    requests = all_of(traces, ClosedLoop(concurrency))
    served = serve("ewma", traces, requests, max_batch=concurrency, **options)
    np.testing.assert_array_equal(served.requests.passes, expected.cycles)
    np.testing.assert_array_equal(served.requests.tokens, expected.tokens)
    np.testing.assert_array_equal(served.requests.end_reason, expected.end_reason)
    assert served.ledgers == expected.ledgers


@given(workloads(), st.integers(0, 6), st.integers(1, 4), st.sampled_from([0.0, 0.01]))
def test_equals_the_naive_twin(
    workload: Workload, tau: int, max_batch: int, prefill: float
) -> None:
    traces, requests = workload
    if not isinstance(requests.arrivals, OpenLoop):
        requests = requests._replace(arrivals=OpenLoop(np.zeros(requests.sequence.size)))
    served = serve(
        f"fixed:tau={tau}",
        traces,
        requests,
        costs=ConstantCosts(0.125, 0.05),
        max_batch=max_batch,
        prefill_ms_per_token=prefill,
    ).requests
    expected = naive.serve(
        [traces.sequences[i] for i in requests.sequence],
        requests.arrivals.times_ms.tolist(),  # type: ignore[attr-defined]
        tau=tau,
        max_batch=max_batch,
        draft=0.125,
        verify=0.05,
        prefill=prefill,
    )
    got = (served.arrival_ms, served.admitted_ms, served.first_token_ms, served.finished_ms)
    for column, ours in zip(zip(*expected, strict=True), (*got, served.passes), strict=True):
        np.testing.assert_allclose(ours, column)


def run(workload: Workload, spec: str, costs: Any, max_batch: int, **options: Any) -> Served:
    traces, requests = workload
    return serve(spec, traces, requests, costs=costs, max_batch=max_batch, **options)


@given(workloads(), SPECS, strategies.cost_models(), st.integers(1, 5))
def test_every_request_is_served_once(
    workload: Workload, spec: str, costs: Any, max_batch: int
) -> None:
    traces, asked = workload
    served = run(workload, spec, costs, max_batch)
    done, steps = served.requests, served.steps
    lengths = np.array([s.run_lengths.size for s in traces])
    assert done.tokens.tolist() == lengths[asked.sequence].tolist()
    assert done.complete.all()
    np.testing.assert_array_equal(done.request_class, asked.request_class)
    assert steps.tokens.sum() == done.tokens.sum()
    assert steps.batch_size.sum() == done.passes.sum()
    assert steps.batch_size.max() <= max_batch
    assert steps.batch_size.min() >= 1


@given(workloads(), SPECS, strategies.cost_models(), st.integers(1, 5))
def test_the_clock_only_goes_forward(
    workload: Workload, spec: str, costs: Any, max_batch: int
) -> None:
    served = run(workload, spec, costs, max_batch)
    done, steps = served.requests, served.steps
    ends = steps.begin_ms + steps.prefill_ms + steps.cycle_ms
    assert (steps.begin_ms[1:] >= ends[:-1]).all()
    lives = (done.arrival_ms, done.admitted_ms, done.first_token_ms, done.finished_ms)
    assert (np.diff(np.stack(lives), axis=0) >= 0).all()
    assert (np.diff(done.arrival_ms) >= 0).all()
    assert 0 < served.utilisation <= 1
    assert done.time_to_first_token_ms.min() >= 0


@given(workloads(), SPECS, strategies.cost_models(), st.integers(1, 5))
def test_first_come_first_served_and_nobody_waits_beside_a_free_place(
    workload: Workload, spec: str, costs: Any, max_batch: int
) -> None:
    served = run(workload, spec, costs, max_batch)
    done, steps = served.requests, served.steps
    assert (np.diff(done.admitted_ms) >= 0).all()
    assert (steps.batch_size[steps.waiting > 0] == max_batch).all()
    for request, came in enumerate(done.arrival_ms):  # admitted at the first step that can
        begun = (steps.begin_ms >= came) & (steps.begin_ms < done.admitted_ms[request])
        assert (steps.batch_size[begun] == max_batch).all()


@given(workloads(), SPECS, st.integers(1, 5))
def test_nobody_is_faster_than_alone(workload: Workload, spec: str, max_batch: int) -> None:
    served = run(workload, spec, ConstantCosts(0.1, 0.05), max_batch, prefill_ms_per_token=0.01)
    done = served.requests
    prompts = np.array([s.prompt_tokens for s in workload[0]])[done.sequence]
    whole = done.num_draft_tokens * 0.15 / done.passes  # the mean draft, which it has to wait for
    alone = done.passes * (1 + whole) + 0.01 * prompts
    assert (done.latency_ms >= alone - 1e-6).all()


@given(workloads(), SPECS, strategies.cost_models(), st.integers(1, 5))
def test_little_s_law(workload: Workload, spec: str, costs: Any, max_batch: int) -> None:
    """The mean number there is the rate of arrivals times the mean time spent there."""
    served = run(workload, spec, costs, max_batch)
    done, steps = served.requests, served.steps
    running = float((steps.batch_size * (steps.prefill_ms + steps.cycle_ms)).sum())
    assert running == pytest.approx(float((done.finished_ms - done.admitted_ms).sum()), rel=1e-9)
    # In the queue: how many wait, from one event to the next.
    events = np.unique(np.concatenate([done.arrival_ms, done.admitted_ms]))
    waiting = [
        ((done.arrival_ms <= t) & (done.admitted_ms > t)).sum() for t in events[:-1].tolist()
    ]
    queued = float((np.diff(events) * np.array(waiting)).sum()) if events.size > 1 else 0.0
    assert queued == pytest.approx(float((done.admitted_ms - done.arrival_ms).sum()), abs=1e-6)


def trace_of(*runs: list[int], prompt: int = 10) -> TraceSet:
    sequences = tuple(
        SequenceTrace(str(i), "", prompt, np.array(r), np.ones(len(r), np.bool_))
        for i, r in enumerate(runs)
    )
    return TraceSet(TraceInfo("v", "d", "block"), sequences)


def test_times_by_hand() -> None:
    # The first decodes alone for two steps; the second joins at 2 and its prompt stops both.
    traces = trace_of([0, 0, 0], [0, 0])
    requests = all_of(traces, OpenLoop(np.array([0.0, 1.5])))
    served = serve(
        "fixed:tau=0", traces, requests, costs=ConstantCosts(), prefill_ms_per_token=0.05
    )
    done, steps = served.requests, served.steps
    assert steps.begin_ms.tolist() == [0.0, 1.5, 3.0]
    assert steps.prefill_ms.tolist() == [0.5, 0.5, 0.0]
    assert steps.batch_size.tolist() == [1, 2, 2]
    assert done.finished_ms.tolist() == [4.0, 4.0]
    assert done.time_to_first_token_ms.tolist() == [1.5, 1.5]
    assert done.time_per_output_token_ms.tolist() == [1.25, 1.0]
    assert served.makespan_ms == 4.0
    assert served.utilisation == 1.0


def test_an_idle_engine_waits_for_the_next_request() -> None:
    traces = trace_of([0], [0])
    requests = all_of(traces, OpenLoop(np.array([5.0, 25.0])))
    served = serve("fixed:tau=0", traces, requests, costs=ConstantCosts(), prefill_ms_per_token=0)
    assert served.steps.begin_ms.tolist() == [5.0, 25.0]
    assert served.makespan_ms == 21.0
    assert served.utilisation == pytest.approx(2 / 21)


def test_a_prompt_takes_a_pass_over_all_of_it() -> None:
    traces = trace_of([0], prompt=100)
    costs = ConstantCosts(verify=0.1)
    served = serve("fixed:tau=0", traces, all_of(traces, ClosedLoop(1)), costs=costs)
    assert served.steps.prefill_ms.tolist() == [pytest.approx(1 + 99 * 0.1)]


def test_steps_are_priced_by_the_batch() -> None:
    grid = np.array([[[1.0, 2.0]], [[3.0, 4.0]]])
    nothing = np.zeros((2, 1))
    costs = MeasuredCosts((1, 2), (64,), (1, 9), grid, nothing, nothing)
    traces = trace_of([0, 0], [0])
    requests = all_of(traces, ClosedLoop(2))
    served = serve("fixed:tau=0", traces, requests, costs=costs, prefill_ms_per_token=0)
    assert served.steps.cycle_ms.tolist() == [3.0, 1.0]


def test_one_width_per_step() -> None:
    traces = trace_of([3, 2, 1, 0], [0, 0, 0, 0])
    requests = all_of(traces, ClosedLoop(2))
    options: Any = {"costs": ConstantCosts(), "uniform_widths": (0, 2, 4)}
    served = serve("fixed:tau=3", traces, requests, **options)
    assert served.steps.tau[0] == 8


def test_the_maximum_of_passes_cuts_requests_short() -> None:
    traces = trace_of([0] * 10, [0, 0])
    served = serve(
        "fixed:tau=0",
        traces,
        all_of(traces, ClosedLoop(2)),
        costs=ConstantCosts(),
        constraints=Constraints(PassBudget(max_passes=4)),
    )
    assert served.requests.tokens.tolist() == [4, 2]
    assert served.requests.end_reason.tolist() == [EndReason.BUDGET, EndReason.NONE]
    assert served.ledgers["all"].requests == 2


def test_deadlines_end_requests_in_the_queue_and_in_the_middle() -> None:
    traces = trace_of([0] * 10, [0] * 3, [0] * 3)
    served = serve(
        "fixed:tau=0",
        traces,
        all_of(traces, OpenLoop(np.zeros(3))),
        costs=ConstantCosts(),
        max_batch=2,
        prefill_ms_per_token=0.05,
        constraints=Constraints(latency=LatencyTarget(deadline_ms=5.0)),
    )
    done, steps = served.requests, served.steps
    # Two prompts take 1 ms, and the one of the third, when a place is free at 4, half of one.
    assert done.end_reason.tolist() == [EndReason.DEADLINE, EndReason.NONE, EndReason.DEADLINE]
    assert done.tokens.tolist() == [3, 3, 0]
    assert done.finished_ms.tolist() == [4.5, 4.0, 4.5]
    assert np.isnan(done.first_token_ms[2])
    assert steps.batch_size.tolist() == [2, 2, 2, 0]
    assert steps.prefill_ms.tolist() == [1.0, 0.0, 0.0, 0.5]


def test_classes_have_books_of_their_own() -> None:
    traces = trace_of([0, 0], [0] * 4)
    requests = Requests(np.array([0, 1, 0]), ClosedLoop(2), np.array([1, 0, 1]), ("long", "short"))
    by_class = {"short": Constraints(PassBudget(average_passes=2)), "long": Constraints()}
    options: Any = {"costs": ConstantCosts(), "constraints": by_class}
    served = serve("fixed:tau=0", traces, requests, **options)
    assert {name: ledger.passes for name, ledger in served.ledgers.items()} == {
        "short": 4,
        "long": 4,
    }
    assert served.ledgers["short"].requests == 2
    assert set(served.feasibility) == {"short", "long"}
    with pytest.raises(ConfigError, match="'long': there is none of that name"):
        serve(
            "fixed:tau=0", traces, requests, costs=ConstantCosts(), constraints={"x": Constraints()}
        )


def test_requests_know_which_recorded_text_they_come_from() -> None:
    traces = trace_of([0] * 4, [0] * 6)
    windows = Windows(*np.array([[1, 1, 2, 2], [0, 0, 3, 3]]).T)
    requests = Requests(np.array([1, 0, 0]), ClosedLoop(1))
    served = serve("fixed:tau=0", WindowedTrace(traces, windows), requests, costs=ConstantCosts())
    assert served.requests.prompt.tolist() == [0, 1, 1]
    assert served.requests.tokens.tolist() == [3, 2, 2]


@given(workloads(), st.sampled_from(["bandit:algorithm=thompson", "ewma"]))
def test_the_same_seed_serves_the_same(workload: Workload, spec: str) -> None:
    first, second = (run(workload, spec, ConstantCosts(), 3, seed=5) for _ in range(2))
    for a, b in zip(
        (*first.requests, *first.steps), (*second.requests, *second.steps), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_progress_counts_every_request() -> None:
    counts: list[int] = []
    traces = trace_of([0], [0, 0], [0])
    requests = all_of(traces, ClosedLoop(2))
    serve("fixed:tau=0", traces, requests, costs=ConstantCosts(), on_finished=counts.append)
    assert sum(counts) == 3


ONE = Requests(np.zeros(1, np.int64), ClosedLoop(1))


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"sequence": np.array([2])}, {}, r"must name sequences 0\.\.1"),
        ({"sequence": np.array([-1])}, {}, r"must name sequences 0\.\.1"),
        ({"sequence": np.zeros(0, np.int64)}, {}, "at least one"),
        ({"arrivals": OpenLoop(np.zeros(2))}, {}, "1 of them, and times_ms has 2 arrivals"),
        ({"request_class": np.array([1])}, {}, r"one of 0\.\.0 for each of them \(all\)"),
        ({"request_class": np.zeros(2, np.int64)}, {}, r"one of 0\.\.0 for each"),
        ({}, {"max_batch": 0}, "max_batch = 0; it must be at least 1"),
        ({}, {"prefill_ms_per_token": -1.0}, r"prefill_ms_per_token = -1\.0; it must be at least"),
    ],
)
def test_impossible_requests_are_refused(
    changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    traces = trace_of([0], [0])
    with pytest.raises(ConfigError, match=message):
        serve("ewma", traces, ONE._replace(**changes), costs=ConstantCosts(), **options)
