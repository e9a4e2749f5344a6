import re
from pathlib import Path

import pytest

from adaptive_spec.traces import write_trace
from adaptive_spec.traces.synthetic import Hazards, synthetic_trace
from tests.cli.running import refuse, succeed


def passes(trace: Path, *options: object) -> float:
    command = ("simulate", trace, "-p", "fixed:tau=0", "--json", "-")
    (entry,) = succeed(*command, *options).json()["policies"]
    return float(entry["passes_per_request"])


def test_a_hard_average_ends_requests_and_carry_on_does_not(trace: Path) -> None:
    assert passes(trace) == 30
    hard = ("--average-passes", 5, "--hard-average", "--burst-passes", 4)
    assert passes(trace, *hard) <= 5 + 4 / 4
    cut = succeed("simulate", trace, *hard, "-p", "fixed:tau=0", "--json", "-").json()
    assert cut["policies"][0]["ended_by_budget"] > 0
    going_on = succeed(
        "simulate", trace, *hard, "--when-spent", "carry-on", "-p", "fixed:tau=0", "--json", "-"
    ).json()
    assert going_on["policies"][0]["ended_by_budget"] == 0
    assert going_on["policies"][0]["tokens"] == 120


def test_a_deadline_ends_requests(trace: Path) -> None:
    assert passes(trace, "--deadline", 7) == 7
    command = ("simulate", trace, "-p", "fixed:tau=0", "--deadline", 7, "--json", "-")
    assert succeed(*command).json()["policies"][0]["ended_by_deadline"] == 4


def test_a_deadline_before_the_first_pass(trace: Path) -> None:
    command = ("simulate", trace, "-p", "fixed:tau=2", "--deadline", 0.5)
    (entry,) = succeed(*command, "--json", "-").json()["policies"]
    assert (entry["cycles"], entry["tokens_per_cycle"]) == (0, None)
    assert entry["ended_by_deadline"] == 4
    assert "fixed:tau=2" in succeed(*command).out


def test_a_deadline_that_nobody_meets_is_no_figure_in_a_comparison(trace: Path) -> None:
    command = ("compare", trace, "-p", "fixed:tau=2", "--deadline", 0.5, "--resamples", 5)
    shown = succeed(*command).out
    [row] = [line for line in shown.splitlines() if "fixed:tau=2" in line]
    assert row.split()[1:] == ["-", "-", "-", "0", "0", "-", "-", "-"]
    assert "nan" not in shown
    [entry] = succeed(*command, "--json", "-").json()["policies"]
    assert (entry["ended_by_deadline"], entry["speedup_over_plain"]) == (4, None)


def test_a_latency_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    write_trace(synthetic_trace(Hazards(0.5), num_sequences=60, num_tokens=12), path)
    command = ("simulate", path, "-p", "fixed:tau=2", "--latency-target")
    told = succeed(*command, 3).err.replace("\n", " ")
    assert "fixed:tau=2: infeasible, by 60 requests: the least latency possible is" in told
    assert "plain verifier passes" in told
    in_ms = succeed(*command, 30, "--costs", "draft=0.125,plain_ms=10").err.replace("\n", " ")
    assert re.search(r"the least latency possible is [\d.]+ ms", in_ms)
    assert "infeasible" not in succeed(*command, 30).err
    report = succeed(*command, 3, "--json", "-").json()
    assert report["policies"][0]["late"] > 30


def test_infeasible_is_said_per_token_too(trace: Path) -> None:
    command = ("simulate", trace, "--average-passes", 0.01, "--passes-per", "token")
    assert "no policy can keep 0.01 passes per token" in succeed(*command).err.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--average-passes", 0), "per request it must be at least 1"),
        (("--average-passes", 5, "--max-passes", 3), "could then never be reached"),
        (("--hard-average",), "need --average-passes"),
        (("--passes-per", "token"), "need --average-passes"),
        (("--passes-per", "day"), "'day'"),
        (("--burst-passes", 3), "belongs to --hard-average"),
        (("--when-spent", "carry-on"), "needs --max-passes or --hard-average"),
        (("--average-passes", 5, "--when-spent", "carry-on"), "needs --max-passes or --hard-"),
        (("--latency-quantile", 0.5), "--latency-quantile needs --latency-target"),
        (("--deadline", 9, "--latency-quantile", 0.5), "needs --latency-target"),
        (("--latency-target", -250), "target_ms = -250"),
        (("--latency-target", 250, "--latency-quantile", 1.5), "quantile = 1.5"),
        (("--latency-target", 250, "--deadline", 100), "is below target_ms"),
    ],
)
@pytest.mark.parametrize("command", ["simulate", "compare"])
def test_absurd_constraints_are_refused(
    trace: Path, command: str, options: tuple[object, ...], message: str
) -> None:
    assert message in refuse(command, trace, *options)
