"""Figures of a run: by hand, by class, over time, and as JSON."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts
from adaptive_spec.simulations.serving import (
    Figures,
    OpenLoop,
    Requests,
    Served,
    StepLog,
    TauOverTime,
    serve,
)
from adaptive_spec.simulations.serving.figures import mean_interval
from adaptive_spec.traces import SequenceTrace, TraceInfo, TraceSet


def served(tau: int = 0) -> Served:
    """Three requests of 2, 4 and 1 tokens at 0, 10 and 30, each alone, a step a token."""
    sequences = tuple(
        SequenceTrace(str(i), "", 10, np.zeros(n, np.int64), np.ones(n, np.bool_))
        for i, n in enumerate((2, 4, 1))
    )
    traces = TraceSet(TraceInfo("v", "d", "block"), sequences)
    requests = Requests(
        np.arange(3), OpenLoop(np.array([0.0, 10.0, 30.0])), np.array([0, 1, 0]), ("a", "b")
    )
    return serve(
        f"fixed:tau={tau}", traces, requests, costs=ConstantCosts(), prefill_ms_per_token=0
    )


def test_by_hand() -> None:
    figures = Figures.of_all(served(), target_ms=2.0)
    assert (figures.requests, figures.tokens, figures.passes, figures.cut_short) == (3, 7, 7, 0)
    assert figures.latency_ms.p50.value == 2
    assert figures.latency_ms.p99.value == 4
    assert figures.time_to_first_token_ms.p99.value == 1
    assert figures.time_per_output_token_ms.p50.value == 1
    assert figures.passes_per_request.value == pytest.approx(7 / 3)
    assert figures.tokens_per_ms == pytest.approx(7 / 31)
    assert figures.requests_per_ms == pytest.approx(3 / 31)
    assert figures.goodput_per_ms == pytest.approx(2 / 31)


def test_of_one_class() -> None:
    run = served()
    figures = Figures.of(run.requests.of_class(0), run.makespan_ms)
    assert (figures.requests, figures.tokens) == (2, 3)
    assert np.isnan(figures.goodput_per_ms)


def test_json_holds_no_infinities() -> None:
    text = json.dumps(Figures.of_all(served()).as_dict(), allow_nan=False)
    report = json.loads(text)
    assert report["latency_ms"]["p99"] == {"value": 4.0, "low": 2.0, "high": None}
    assert report["goodput_per_ms"] is None


def test_tau_over_time() -> None:
    over = TauOverTime.of(served(tau=3).steps, bins=3)
    np.testing.assert_allclose(over.begin_ms, [0, 10, 20])
    # Who may draft what is never known beforehand here: tau is 3 throughout, where anything ran.
    assert over.tau.tolist() == [3, 3, 3]
    assert over.batch_size.tolist() == [1, 1, 1]
    assert over.waiting.tolist() == [0, 0, 0]
    more = TauOverTime.of(served().steps, bins=30)
    assert np.isnan(more.tau[5])
    assert json.dumps(more.as_dict(), allow_nan=False)


def test_one_step_is_one_stretch() -> None:
    steps = served().steps
    columns: Iterator[Any] = (column[:1] for column in steps)
    first = StepLog(*columns)
    assert TauOverTime.of(first, bins=2).tau[0] == 0


def test_requests_of_one_text_tell_little_more_than_one() -> None:
    values = np.repeat(np.array([1, 2, 3, 4, 5, 6]), 50)
    by_prompt = mean_interval(values, np.repeat(np.arange(6), 50), np.random.default_rng(0))
    by_request = mean_interval(values, np.arange(300), np.random.default_rng(0))
    assert by_prompt.value == by_request.value == 3.5
    assert by_prompt.high - by_prompt.low > 3 * (by_request.high - by_request.low)
