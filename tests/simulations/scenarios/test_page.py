"""The page of promises: every policy, held to them and on its own."""

import dataclasses
import math
import re

import numpy as np
import pytest

from adaptive_spec.simulations.bootstrap import Interval
from adaptive_spec.simulations.evidence.results import LeftOut
from adaptive_spec.simulations.markdown import with_interval
from adaptive_spec.simulations.scenarios import ScenarioRun, draw, load_scenario, made_up_trace
from adaptive_spec.simulations.scenarios.page import Setting, markdown
from adaptive_spec.simulations.scenarios.trials import Trial, tried

SETTING = Setting("made up", "draft=0.05", "plain passes", (LeftOut("d", "svip", "no signals"),))


@pytest.fixture(scope="module")
def run() -> ScenarioRun:
    chosen = dataclasses.replace(load_scenario("writing-assistant"), requests=120)
    costs = chosen.costs.model(chosen.max_batch, chosen.max_draft_tokens)
    generator = np.random.default_rng(0)
    workload = draw(
        chosen, made_up_trace(chosen, 0), costs=costs, generator=generator, made_up=True
    )
    return ScenarioRun(chosen, workload, costs=costs)


@pytest.fixture(scope="module")
def trials(run: ScenarioRun) -> list[Trial]:
    return [tried(run, spec) for spec in ("fixed:tau=1", "fixed:tau=10")]


def rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the table below a heading, without its names."""
    [_, below] = text.split(f"\n## {heading}\n")
    table = re.search(r"(^\|.*\n)+", below, flags=re.MULTILINE)
    assert table is not None
    return [[c.strip() for c in line.strip("|").split(" | ")] for line in table[0].splitlines()[2:]]


def test_a_policy_is_judged_with_promises_and_without(
    run: ScenarioRun, trials: list[Trial]
) -> None:
    short, long = trials
    assert short.held.as_dict() == run.run("fixed:tau=1").as_dict()
    assert short.overruled.raised > 0
    passes = [r.figures.passes_per_request.value for r in (short.held, short.alone)]
    assert passes[0] < passes[1]
    assert long.overruled.raised == 0
    assert long.held.figures == long.alone.figures
    assert short.as_dict()["overruled"]["cycles"] == short.held.figures.passes


def test_the_page(run: ScenarioRun, trials: list[Trial]) -> None:
    text = markdown(run, trials, SETTING, "adaptive-spec promises -p fixed:tau=1")
    assert text.startswith("# Promises: `writing-assistant`\n")
    assert "```sh\nadaptive-spec promises -p fixed:tau=1\n```" in text
    for fact in ("120 requests", "Texts: made up", "Left out: `svip`: no signals"):
        assert fact in text
    everybody = rows(text, "All requests")
    assert [row[0] for row in everybody] == ["`fixed:tau=10`", "`fixed:tau=1`"]  # the fastest first
    assert everybody[1][3] == f"{trials[0].overruled.raised_share:.1%}"
    for name in ("short-prompts", "long-prompts"):
        own = rows(text, f"`{name}`")
        assert [row[0] for row in own] == ["`fixed:tau=10`", "`fixed:tau=1`"]
        figures = trials[0].held.by_class[name].passes_per_request
        said = next(v for v in trials[0].held.verdicts if v.request_class == name)
        shown = f"{figures.value:.2f} [{figures.low:.2f}, {figures.high:.2f}] {said.verdict}"
        assert own[1][1] == shown + ("" if said.clear else "~")
    assert "Promised: 2 passes on average and a 95th percentile of the latency of 24." in text


def test_an_interval_without_an_end_says_so() -> None:
    assert with_interval(Interval(2.0, 1.5, math.inf), ".1f", ".1f") == "2.0 [1.5, ∞]"
    assert with_interval(Interval(2.0, 2.0, 2.0), ".1f", ".1f") == "2.0"
