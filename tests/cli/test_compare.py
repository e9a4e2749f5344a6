import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from adaptive_spec import parse_costs
from adaptive_spec.cli import output
from adaptive_spec.simulations.comparison import best_static_tau
from adaptive_spec.traces import read_trace
from tests.cli.running import refuse, succeed

PROMISED = {
    "policy",
    "time",
    "tokens",
    "cycles",
    "passes_per_request",
    "acceptance_rate",
    "speedup_over_plain",
    "speedup_over_best_static",
    "span_share",
    "ci95",
}
RATIOS = {"speedup_over_plain", "speedup_over_best_static", "span_share"}


def compare(*arguments: object) -> dict[str, Any]:
    report: dict[str, Any] = succeed("compare", *arguments, "--resamples", 50, "--json", "-").json()
    return report


def test_json_has_what_was_promised(trace: Path) -> None:
    report = compare(trace)
    assert set(report) >= {"plain", "best_static", "optimum", "policies"}
    assert set(report["best_static"]) >= {"tau", "chosen_on"}
    for entry in (report["plain"], report["best_static"], report["optimum"], *report["policies"]):
        assert set(entry) >= PROMISED
    for entry in report["policies"]:
        assert set(entry["ci95"]) == RATIOS
        for ratio in RATIOS:
            low, high = entry["ci95"][ratio]
            assert low <= entry[ratio] <= high
    names = ["fixed:tau=1", "fixed:tau=3", "fixed:tau=5", "ewma", "auto"]
    assert [entry["policy"] for entry in report["policies"]] == names


def test_the_marks_are_where_they_belong(trace: Path) -> None:
    report = compare(trace, "-p", "fixed:tau=0", "-p", "fixed:tau=4")
    plain, static, optimum = report["plain"], report["best_static"], report["optimum"]
    assert plain["speedup_over_plain"] == static["speedup_over_best_static"] == 1.0
    assert (static["span_share"], optimum["span_share"]) == (0.0, 1.0)
    assert optimum["time"] <= static["time"] <= plain["time"]
    zero, four = report["policies"]
    assert {key: zero[key] for key in ("time", "tokens", "cycles", "span_share")} == {
        key: plain[key] for key in ("time", "tokens", "cycles", "span_share")
    }
    assert optimum["time"] <= four["time"]


def test_the_best_static_tau_may_come_from_another_trace(trace: Path, lookup_trace: Path) -> None:
    costs = parse_costs("draft=0.125,verify=0.3")
    command = (trace, "--costs", "draft=0.125,verify=0.3", "-p", "ewma")
    here = compare(*command)["best_static"]
    there = compare(*command, "--best-static-from", lookup_trace)["best_static"]
    taus = [best_static_tau(read_trace(t), costs=costs)[0] for t in (trace, lookup_trace)]
    assert [here["tau"], there["tau"]] == taus
    assert taus[0] != taus[1]  # or nothing was shown
    assert here["chosen_on"] == "this trace (hindsight)"
    assert there["chosen_on"] == "another trace"
    assert there["time"] > here["time"]


def test_the_table_shows_policies_and_marks(trace: Path) -> None:
    result = succeed("compare", trace, "-p", "ewma:margin=2", "--resamples", 20)
    for words in ("plain decoding", "best static (tau=", "ewma:margin=2", "clairvoyant optimum"):
        assert words in result.out
    assert "costs: draft=0.125,verify=0" in result.out
    assert "95 % interval" in result.out


def test_json_can_go_to_a_file_beside_the_table(trace: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    result = succeed("compare", trace, "--resamples", 20, "--json", target)
    assert "clairvoyant optimum" in result.out
    assert json.loads(target.read_text(encoding="utf-8"))["optimum"]["span_share"] == 1.0


def test_without_a_span_there_is_no_share(trace: Path) -> None:
    report = compare(trace, "--max-draft-tokens", 0)
    assert report["max_draft_tokens"] == 0
    for entry in report["policies"]:
        assert entry["span_share"] is entry["ci95"]["span_share"] is None
        assert entry["speedup_over_plain"] == 1.0


def test_the_seed_decides(trace: Path) -> None:
    assert compare(trace, "--seed", 5) == compare(trace, "--seed", 5)


@pytest.mark.parametrize("resamples", [0, -1, 10**9])
def test_absurd_resamples_are_refused(trace: Path, resamples: int) -> None:
    assert "--resamples" in refuse("compare", trace, "--resamples", resamples)


def test_a_missing_other_trace(trace: Path, tmp_path: Path) -> None:
    message = refuse("compare", trace, "--best-static-from", tmp_path / "no.parquet", code=1)
    assert "no.parquet" in message


@pytest.mark.parametrize("width", [80, 110])
def test_every_policy_has_its_name_in_any_terminal(
    trace: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "results", Console(width=width, highlight=False))
    result = succeed("compare", trace, "--resamples", 20, "-p", "ewma", "-p", "fixed:tau=3")
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= width
    for name in ("plain", "best static", "fixed:tau=3", "ewma", "clairvoyant"):
        line = next(line for line in lines if line.lstrip().startswith(f"{name} "))
        assert line.count(".") >= 2  # and its figures
    assert "\u2026" not in result.out  # nothing is cut short
    report = compare(trace, "-p", "ewma")
    entry = report["policies"][0]
    for figure in (
        f"{entry['tokens_per_cycle']:.2f}",
        f"{entry['passes_per_request']:.1f}",
        f"{entry['acceptance_rate']:.0%}",
        f"{entry['wasted_draft_tokens']}",
        f"{entry['speedup_over_plain']:.3f}",
    ):
        assert figure in result.out
