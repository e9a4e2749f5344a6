"""Windows of a trace are requests of their own, and replay like texts that were cut by hand."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import ConstantCosts, TraceError
from adaptive_spec.simulations import optimum, replay
from adaptive_spec.testing import strategies
from adaptive_spec.traces import SequenceTrace, TraceInfo, TraceSet, WindowedTrace, Windows


@st.composite
def windowed(draw: st.DrawFn) -> WindowedTrace:
    """One to eight windows, whole sequences and single tokens among them."""
    traces = draw(strategies.traces())
    chosen = []
    for _ in range(draw(st.integers(1, 8))):
        sequence = draw(st.integers(0, len(traces) - 1))
        recorded = traces.sequences[sequence].run_lengths.size
        begin = draw(st.integers(0, recorded - 1))
        count = draw(st.integers(1, recorded - begin))
        chosen.append((sequence, begin, count, count + draw(st.sampled_from([0, 0, 1, 30]))))
    return WindowedTrace(traces, Windows(*np.array(chosen, np.int64).T))


def cut(sequence: SequenceTrace, name: str, begin: int, count: int, limit: int) -> SequenceTrace:
    """The request of a window, as it would have been recorded."""
    reach = sequence.draftable_tokens
    runs = sequence.run_lengths[begin : begin + count]
    return dataclasses.replace(
        sequence,
        id=name,
        prompt_tokens=sequence.prompt_tokens + begin,
        run_lengths=np.minimum(runs, count - np.arange(count)),
        proposes=sequence.proposes[begin : begin + count],
        limit_tokens=limit,
        draftable_tokens=None if reach is None else max(reach - begin, 0),
    )


def cut_by_hand(trace: WindowedTrace) -> TraceSet:
    rows = zip(*(part.tolist() for part in trace.windows), strict=True)
    parts = (cut(trace.traces.sequences[i], str(n), *rest) for n, (i, *rest) in enumerate(rows))
    return TraceSet(trace.info, tuple(parts))


@given(windowed(), st.sampled_from(["fixed:tau=4", "ewma", "auto"]), strategies.cost_models())
def test_windows_replay_like_texts_cut_by_hand(trace: WindowedTrace, spec: str, costs: Any) -> None:
    for concurrency in (None, 2):
        options: Any = {"costs": costs, "concurrency": concurrency, "log_cycles": True}
        ours, theirs = (replay(spec, t, **options) for t in (trace, cut_by_hand(trace)))
        assert ours.log is not None
        assert theirs.log is not None
        for a, b in zip(ours.log, theirs.log, strict=True):
            np.testing.assert_array_equal(a, b)
        assert ours.tokens.tolist() == trace.windows.num_tokens.tolist()


@given(windowed(), strategies.constant_costs())
def test_their_optimum_is_that_of_texts_cut_by_hand(trace: WindowedTrace, costs: Any) -> None:
    ours, theirs = (optimum(t, costs=costs) for t in (trace, cut_by_hand(trace)))
    for a, b in zip(ours[:5], theirs[:5], strict=True):
        np.testing.assert_array_equal(a, b)


@given(strategies.traces(), strategies.cost_models())
def test_a_window_of_all_of_it_is_the_sequence(traces: TraceSet, costs: Any) -> None:
    flat = traces.flat()
    every = np.arange(len(traces))
    whole = Windows(every, np.zeros_like(every), flat.num_tokens, flat.limit_tokens)
    ours, theirs = (replay("auto", t, costs=costs) for t in (WindowedTrace(traces, whole), traces))
    for a, b in zip(ours[:5], theirs[:5], strict=True):
        np.testing.assert_array_equal(a, b)


def trace_of(*lengths: int) -> TraceSet:
    sequences = tuple(
        SequenceTrace(str(i), "", 5, np.zeros(n, np.int64), np.ones(n, np.bool_))
        for i, n in enumerate(lengths)
    )
    return TraceSet(TraceInfo("v", "d", "block"), sequences)


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ([[0], [0], [5], [5]], r"window 0 is of 5 tokens from position 0.* 4 tokens were recorded"),
        ([[0, 1], [0, 8], [4, 3], [4, 3]], r"window 1 is of 3 tokens from position 8.* 10 tokens"),
        ([[0], [-1], [2], [2]], r"window 0 is of 2 tokens from position -1"),
        ([[0], [0], [0], [2]], r"window 0 is of 0 tokens"),
        ([[2], [0], [1], [1]], r"sequence must lie in 0\.\.1"),
        ([[-1], [0], [1], [1]], r"sequence must lie in 0\.\.1"),
        ([[0], [0], [3], [2]], r"window 0 has limit_tokens = 2 and emits 3"),
        ([[], [], [], []], r"at least one; got \[0, 0, 0, 0\]"),
    ],
)
def test_impossible_windows_are_refused(windows: list[list[int]], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        WindowedTrace(trace_of(4, 10), Windows(*(np.array(part, np.int64) for part in windows)))


def test_windows_of_different_counts_are_refused() -> None:
    ones = np.ones(1, np.int64)
    with pytest.raises(TraceError, match="must be as many"):
        WindowedTrace(trace_of(4), Windows(0 * ones, ones, np.ones(2, np.int64), ones))


def test_totals() -> None:
    windows = Windows(*np.array([[0, 0, 1], [1, 2, 0], [3, 2, 10], [3, 9, 10]], np.int64))
    trace = WindowedTrace(trace_of(4, 10), windows)
    assert (len(trace), trace.num_tokens, trace.info.drafter) == (3, 15, "d")
    assert trace.flat().prompt_tokens.tolist() == [6, 7, 5]
    assert replay("fixed:tau=0", trace, costs=ConstantCosts()).tokens.tolist() == [3, 2, 10]
