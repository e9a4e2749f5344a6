"""Scenarios come from files; what is wrong in one is named, with what is allowed."""

from pathlib import Path

import pytest

from adaptive_spec import ConfigError
from adaptive_spec.simulations.scenarios import load_scenario, scenario_names

GOOD = """
description = "Something"
requests = 50

[costs]
draft = 0.1
verify = 0.02

[arrivals]
load = 0.5

[classes.a]
completion_tokens = [2, 4]
average_passes = 2
[classes.a.synthetic]
hazard = 0.2
prompt_tokens = 10
tokens = 20
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_these_come_with_the_package() -> None:
    assert scenario_names() == (
        "batch-summarisation",
        "chat",
        "code-edit",
        "drafter-degrades",
        "traffic-spike",
        "writing-assistant",
    )


@pytest.mark.parametrize("name", scenario_names())
def test_each_of_them_loads(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.description
    assert scenario.costs.model(scenario.max_batch, scenario.max_draft_tokens).plain_ms == 1.0


def test_the_writing_assistant_promises_two_passes_to_two_classes() -> None:
    scenario = load_scenario("writing-assistant")
    assert [kind.average_passes for kind in scenario.classes] == [2.0, 2.0]
    assert all(kind.p95_plain_passes for kind in scenario.classes)


def test_one_s_own(tmp_path: Path) -> None:
    scenario = load_scenario(written(tmp_path, GOOD))
    assert (scenario.name, scenario.requests, scenario.max_batch) == ("mine", 50, 8)
    assert scenario.classes[0].completion_tokens == (2, 4)


def test_with_recorded_arrivals(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"arrival_ms": 5}\n{"arrival_ms": 9, "class": "a"}\n', encoding="utf-8")
    text = GOOD.replace("load = 0.5", 'log = "log.jsonl"').replace("requests = 50", "")
    scenario = load_scenario(written(tmp_path, text))
    assert scenario.requests == 2
    assert scenario.arrivals.log is not None
    assert scenario.arrivals.log.classes == ("", "a")
    log.write_text('{"arrival_ms": 5, "class": "b"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="log: has requests of class 'b'; the scenario has a"):
        load_scenario(written(tmp_path, text))
    more = text.replace("[costs]", "requests = 2\n[costs]")
    log.write_text('{"arrival_ms": 5}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"requests = 2; it must be an integer in 1\.\.1"):
        load_scenario(written(tmp_path, more))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown scenario 'chatt'.*did you mean 'chat'"):
        load_scenario("chatt")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('description = "Something"', "", "description is missing; it must be a text"),
        ("requests = 50", "requests = 0", r"requests = 0; it must be an integer in 1\.\."),
        ("requests = 50", "requests = true", "requests = True; it must be an integer"),
        ("requests = 50", "requets = 50", "unknown field 'requets'; there are .*requests"),
        ("verify = 0.02", "", "give either verify or saturation_tokens"),
        ("verify = 0.02", "verify = -1", r"\[costs\]: verify = -1; it must be a number in 0\.\."),
        ("draft = 0.1", "draft = nan", "draft = nan"),
        ("load = 0.5", "", "give either load .*, log, or concurrency"),
        ("load = 0.5", "load = 0.5\nconcurrency = 2", "give either load .* or concurrency"),
        ("load = 0.5", "load = 0.5\nprofile = [0]", r"profile = \[0\]; .* not all of them 0"),
        ("load = 0.5", "concurrency = 2\nvariation = 2", "unknown field 'variation'"),
        ("[2, 4]", "[4, 2]", r"completion_tokens = \[4, 2\]; it must be \[least, most\]"),
        ("[2, 4]", "[2, 40]", "synthetic tokens = 20 are fewer than the longest completion, 40"),
        ("average_passes = 2", "average_passes = 0", r"\[classes.a\]: average_passes = 0"),
        ("average_passes = 2", "p95_ms = -5", r"p95_ms = -5; it must be a number in 1e-06"),
        ("average_passes = 2", "p95_ms = 5\np95_plain_passes = 5", "not both"),
        ("completion_tokens = [2, 4]", "fewest_passes = 2", "give completion_tokens"),
        ("hazard = 0.2", "hazard = 1.5", r"hazard = 1\.5; it must be a number in 0\.\.1"),
        ("[classes.a.synthetic]", "[classes.b]", r"\[synthetic\] is missing"),
        ("[classes.a]", "[[classes]]", r"it must be one or more tables, \[classes.NAME\]"),
        ("[costs]", "[costs", "not TOML"),
        ("[arrivals]", "[degradation]\nafter = 2\n[arrivals]", "after = 2; it must be a number"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message) as refused:
        load_scenario(path)
    assert "mine.toml" in str(refused.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_scenario(tmp_path / "none.toml")
