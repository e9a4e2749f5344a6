import json
from pathlib import Path

from adaptive_spec import policy_names
from tests.cli.running import refuse, succeed

FEW = ("--requests", 40)


def test_a_page_and_all_figures(tmp_path: Path) -> None:
    page, figures = tmp_path / "promises.md", tmp_path / "promises.json"
    result = succeed(
        *("promises", *FEW, "-p", "fixed:tau=3", "-p", "hazard", "-o", page, "--json", figures)
    )
    assert result.out == ""
    assert f"page written to {page}" in result.err
    text = page.read_text(encoding="utf-8")
    assert "```sh\nadaptive-spec promises --requests 40 -p fixed:tau=3 -p hazard" in text
    assert "synthetic" in text
    data = json.loads(figures.read_text(encoding="utf-8"))
    assert [one["policy"] for one in data["policies"]] == ["fixed:tau=3", "hazard"]
    for one in data["policies"]:
        assert set(one) == {"policy", "held", "overruled", "alone"}
        assert len(one["held"]["promises"]) == len(one["alone"]["promises"]) == 5


def test_by_default_everything_that_can_is_tried(tmp_path: Path) -> None:
    data = succeed("promises", "--requests", 4, "--json", "-").json()
    tried = [one["policy"] for one in data["policies"]]
    left_out = [one["policy"] for one in data["left_out"]]
    assert sorted([*tried, *left_out]) == policy_names()
    assert {"auto", "ewma", "smartspec"} <= set(tried)
    assert {"svip", "confidence"} <= set(left_out)  # synthetic texts have no signals


def test_a_trace_and_a_scenario_of_one_s_own(trace: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'description = "Mine"\n[costs]\ndraft = 0.1\nverify = 0.0\n[arrivals]\nconcurrency = 2\n'
        "[classes.a]\naverage_passes = 1\np95_ms = 900\n"
        "[classes.a.synthetic]\nhazard = 0.1\nprompt_tokens = 5\ntokens = 9\n",
        encoding="utf-8",
    )
    costs = ("--costs", "draft=0.1,plain_ms=20")
    out = succeed("promises", trace, "--scenario", mine, *FEW, *costs, "-p", "svip").out
    assert out.startswith("# Promises: `mine`\n")
    assert "infeasible" in out
    assert "times in ms" in out
    assert "greedy, float32" in out


def test_what_makes_no_sense_is_refused() -> None:
    assert "unknown scenario 'caht'" in refuse("promises", "--scenario", "caht")
    assert "svip: needs the drafter's entropy" in refuse("promises", *FEW, "-p", "svip")
    assert "unknown policy" in refuse("promises", *FEW, "-p", "fixde")
