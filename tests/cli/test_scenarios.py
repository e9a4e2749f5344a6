import json
import re
from pathlib import Path

import pytest

from adaptive_spec.simulations.scenarios import load_scenario, scenario_names
from adaptive_spec.simulations.scenarios.frontier import PRICES
from tests.cli.running import refuse, succeed

SMALL = ("--requests", 40, "-p", "fixed:tau=3")


def test_the_list_says_what_happens_in_each() -> None:
    out = succeed("simulate", "--scenario", "list").out
    for name in scenario_names():
        assert name in out
        assert load_scenario(name).description[:40] in out
    listed = succeed("simulate", "--scenario", "list", "--json", "-").json()
    assert [entry["name"] for entry in listed["scenarios"]] == list(scenario_names())


def test_without_a_trace_texts_are_synthetic_and_said_to_be() -> None:
    result = succeed("simulate", "--scenario", "writing-assistant", *SMALL, "-p", "ewma")
    for text in ("a synthetic trace", "fixed:tau=3", "ewma", "average passes", "p95 latency"):
        assert text in result.out
    assert "times in plain verifier passes" in result.out


def test_json_holds_every_promise() -> None:
    command = ("simulate", "--scenario", "writing-assistant", *SMALL, "--json", "-")
    report = succeed(*command).json()
    assert report["texts"] == "synthetic"
    assert report["requests"] == 40
    (entry,) = report["policies"]
    assert len(entry["promises"]) == 5
    assert {p["verdict"] for p in entry["promises"]} <= {"kept", "not kept", "infeasible"}
    assert succeed(*command).json() == report
    assert succeed(*command, "--seed", 1).json() != report


def test_on_a_trace_of_one_s_own(trace: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'description = "Mine"\n[costs]\ndraft = 0.1\nverify = 0.0\n[arrivals]\nconcurrency = 2\n'
        '[classes.a]\ncategories = ["poetry"]\naverage_passes = 1\np95_ms = 900\n'
        "[classes.a.synthetic]\nhazard = 0.1\nprompt_tokens = 5\ntokens = 9\n",
        encoding="utf-8",
    )
    costs = ("--costs", "draft=0.1,plain_ms=20")
    result = succeed("simulate", trace, "--scenario", mine, *SMALL, *costs, "--json", "-")
    report = result.json()
    assert "the trace has no prompts of poetry" in result.err.replace("\n", " ")
    assert (report["texts"], report["time_unit"]) == ("recorded", "ms")
    passes, latency, _ = report["policies"][0]["promises"]
    assert passes["verdict"] == "infeasible"
    assert passes["nearest"] > 1
    assert latency["target"] == 900
    told = " ".join(succeed("simulate", trace, "--scenario", mine, *SMALL, *costs).out.split())
    policy = report["policies"][0]["policy"]
    assert f"the controller declared, with {policy}: a: infeasible, by" in told
    assert "p95_ms = 900, but times are in plain" in refuse("simulate", trace, "--scenario", mine)


def test_the_frontier_says_how_near_the_controller_came_to_the_best_price() -> None:
    options = ("--scenario", "writing-assistant", *SMALL, "--max-draft-tokens", 5, "--frontier")
    report = succeed("simulate", *options, "--json", "-").json()
    (one,) = report["frontiers"]
    assert [entry["price"] for entry in one["prices"]] == list(PRICES)
    assert one["online"]["all"]["passes"]["value"] == pytest.approx(
        report["policies"][0]["all"]["passes_per_request"]["value"]
    )
    best, ceiling = one["best_price_in_hindsight"], report["clairvoyant"]
    assert best["tokens_per_time"] <= ceiling["tokens_per_time"]
    out = succeed("simulate", *options).out
    online = re.search(r"online price: [\d.]+ passes at [\d.]+ tokens/time, (.*)", out)
    assert online is not None
    for text in ("fixed:tau=3: frontier", "best static tau in hindsight", "clairvoyant: "):
        assert text in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a TRACE"),
        (("--scenario", "caht"), "unknown scenario 'caht'"),
        (("--scenario", "chat", "--concurrency", 2), "leave out --concurrency"),
        (("--scenario", "chat", "--average-passes", 2), "the scenario says what is promised"),
        (("--scenario", "chat", "--requests", 0), "--requests"),
        (("--scenario", "none.toml"), "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[object, ...], message: str) -> None:
    assert message in refuse("simulate", *arguments)


def test_requests_belong_to_scenarios(trace: Path) -> None:
    assert "it is for scenarios" in refuse("simulate", trace, "--requests", 3)
    assert "it is for scenarios" in refuse("simulate", trace, "--frontier")


def test_results_go_to_a_file_beside_the_tables(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    out = succeed("simulate", "--scenario", "code-edit", *SMALL, "--json", target).out
    assert "promises" in out
    assert json.loads(target.read_text(encoding="utf-8"))["scenario"] == "code-edit"
