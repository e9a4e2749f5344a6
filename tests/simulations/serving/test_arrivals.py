"""Arrivals: rates, bursts, profiles, clients, and logs of real ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import ConfigError
from adaptive_spec.simulations.serving import ClosedLoop, OpenLoop, RequestStream, read_arrivals


def drawn(stream: RequestStream, count: int = 20_000, seed: int = 0) -> Any:
    return stream.draw(count, np.random.default_rng(seed)).times_ms


@pytest.mark.parametrize("variation", [0.0, 0.5, 1.0, 3.0])
def test_gaps_have_the_mean_and_the_variation_asked_for(variation: float) -> None:
    gaps = np.diff(drawn(RequestStream(7.0, variation)))
    assert gaps.mean() == pytest.approx(7.0, rel=0.08)
    assert gaps.std() / gaps.mean() == pytest.approx(variation, abs=0.08 * max(variation, 0.01))


def test_the_rate_follows_the_profile_over_and_over() -> None:
    stream = RequestStream(1.0, 1.0, profile=(1.0, 0.0, 3.0, 4.0), period_ms=1000.0)
    times = drawn(stream)
    part = (times % 1000.0) // 250.0
    shares = np.bincount(part.astype(np.int64), minlength=4) / times.size
    np.testing.assert_allclose(shares, [1 / 8, 0, 3 / 8, 4 / 8], atol=0.02)
    assert times[-1] == pytest.approx(20_000, rel=0.03)


def test_without_a_period_the_profile_spans_the_whole_stream() -> None:
    times = drawn(RequestStream(1.0, 0.0, profile=(1.0, 3.0)), count=1000)
    assert (times <= 500).sum() == 250
    assert times[-1] == pytest.approx(1000)


@given(
    st.floats(0, 10),
    st.lists(st.floats(0, 5), max_size=4).map(lambda more: (1.0, *more)),
    st.none() | st.floats(0.1, 1e4),
    st.integers(1, 200),
)
def test_times_never_fall(
    variation: float, profile: tuple[float, ...], period: float | None, count: int
) -> None:
    times = drawn(RequestStream(2.0, variation, profile, period), count)
    assert times.shape == (count,)
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0


def test_requests_are_due_when_their_time_has_come() -> None:
    arrivals = OpenLoop(np.array([1.0, 1.0, 4.0]))
    assert [arrivals.due(t, 0) for t in (0.0, 1.0, 3.9, 4.0)] == [0, 2, 2, 3]
    assert arrivals.next_ms(2) == 4.0


def test_clients_ask_again_when_answered() -> None:
    assert [ClosedLoop(3).due(0.0, finished) for finished in (0, 1, 5)] == [3, 4, 8]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RequestStream(0.0), "mean_gap_ms = 0.0; it must be above 0"),
        (lambda: RequestStream(float("nan")), "mean_gap_ms = nan"),
        (lambda: RequestStream(1.0, period_ms=-1.0), "period_ms = -1.0"),
        (lambda: RequestStream(1.0, 11.0), "variation = 11.0; allowed are 0 to 10"),
        (lambda: RequestStream(1.0, profile=()), r"profile = \[\]"),
        (lambda: RequestStream(1.0, profile=(0.0, 0.0)), "not all of them 0"),
        (lambda: RequestStream(1.0, profile=(1.0, -1.0)), "at least 0"),
        (lambda: ClosedLoop(0), "concurrency = 0; it must be at least 1"),
        (lambda: OpenLoop(np.array([1.0, 0.5])), "falls from 1 to 0.5 at request 1"),
        (lambda: OpenLoop(np.array([-1.0])), "from 0 on"),
        (lambda: OpenLoop(np.array([0.0, np.inf])), "finite"),
    ],
)
def test_what_is_impossible_is_refused(build: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


def written(folder: Path, *lines: object) -> Path:
    path = folder / "arrivals.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


def test_a_log_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, {"arrival_ms": 0}, {"arrival_ms": 2.5, "class": "short"})
    log = read_arrivals(path)
    assert log.arrivals.times_ms.tolist() == [0.0, 2.5]
    assert log.classes == ("", "short")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({}, r"arrival_ms = None; it must be a number in 0\.\.1e\+15"),
        ({"arrival_ms": "1"}, "arrival_ms = 1;"),
        ({"arrival_ms": True}, "arrival_ms = True"),
        ({"arrival_ms": -1}, "arrival_ms = -1"),
        ('{"arrival_ms": NaN}', "arrival_ms = nan"),
        ('{"arrival_ms": 1' + "0" * 400 + "}", "arrival_ms = "),
        ({"arrival_ms": 3}, "arrival_ms = 3 after 5; give requests in order"),
        ({"arrival_ms": 6, "class": 3}, "class = 3; it must be a string"),
        ({"arrival_ms": 6, "kind": ""}, "unknown key 'kind'; there are arrival_ms, class"),
        ("[1]", "expected a JSON object"),
    ],
)
def test_a_malformed_log_is_refused(tmp_path: Path, line: object, message: str) -> None:
    path = written(tmp_path, {"arrival_ms": 5}, line)
    with pytest.raises(ConfigError, match=f"line 2: .*{message}"):
        read_arrivals(path)


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_arrivals(tmp_path / "none.jsonl")
