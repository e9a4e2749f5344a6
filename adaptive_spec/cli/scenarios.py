"""Scenarios on the command line: which there are, and what policies make of them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table

from adaptive_spec.cli.frontiers import frontier_table
from adaptive_spec.cli.output import ends, progress, results_table, show, write_json
from adaptive_spec.cli.scenario_inputs import Asked, ask
from adaptive_spec.cli.traces import need_signals
from adaptive_spec.registry import make_policy
from adaptive_spec.simulations.scenarios import (
    FrontierRun,
    PolicyFrontier,
    Scenario,
    ScenarioResult,
    ScenarioRun,
    Verdict,
    load_scenario,
    scenario_names,
)

LIST = "list"
"""In the place of a scenario: show which there are."""


def show_scenarios(json_file: Path | None) -> None:
    """Shows the scenarios that come with the package."""
    found = [load_scenario(name) for name in scenario_names()]
    table = Table("scenario", "what happens", box=None, padding=(0, 2))
    for scenario in found:
        table.add_row(scenario.name, scenario.description)
    show(table, json_file)
    listed = [{"name": s.name, "description": s.description} for s in found]
    write_json({"scenarios": listed}, json_file)


def run_scenario(
    name: str,
    trace: Path | None,
    specs: Sequence[str],
    *,
    costs: str | None,
    max_draft_tokens: int | None,
    requests: int | None,
    frontier: bool,
    seed: int,
    json_file: Path | None,
) -> None:
    """Runs policies through a scenario and shows what became of its promises.

    Args:
      name: of the scenario, or its file.
      trace: recorded texts; None to make them up.
      specs: of the policies.
      costs: as on the command line; None for the scenario's.
      max_draft_tokens: K; None for the scenario's.
      requests: how many; None for as many as the scenario says.
      frontier: whether to serve with every price of a pass too, and to show what that comes to.
      seed: all randomness derives from it.
      json_file: where results go as JSON.
    """
    asked = ask(
        name,
        trace,
        costs=costs,
        requests=requests,
        max_draft_tokens=max_draft_tokens,
        signals=need_signals([make_policy(spec) for spec in specs]),
        seed=seed,
    )
    found = _served(asked, specs, frontier=frontier, seed=seed)
    _show(asked, found, json_file)
    write_json(_report(asked, found), json_file)


class _Found(NamedTuple):
    """What came of it: a result and, where asked for, a frontier of each policy, and its marks."""

    results: list[ScenarioResult]
    frontiers: list[PolicyFrontier]
    marks: FrontierRun | None


def _served(asked: Asked, specs: Sequence[str], *, frontier: bool, seed: int) -> _Found:
    """Serves the requests with one policy after the other."""
    scenario = asked.scenario
    runs = FrontierRun.runs(scenario.max_draft_tokens, len(specs)) if frontier else len(specs)
    with progress() as bar:
        task = bar.add_task(scenario.name, total=scenario.requests * (1 + runs))
        run = ScenarioRun(
            scenario,
            asked.workload,
            costs=asked.costs,
            seed=seed,
            on_finished=lambda count: bar.advance(task, count),
        )
        if not frontier:
            return _Found([run.run(spec) for spec in specs], [], None)
        marks = FrontierRun(run)
        frontiers = [marks.of(spec) for spec in specs]
    return _Found([one.online for one in frontiers], frontiers, marks)


def _show(asked: Asked, found: _Found, json_file: Path | None) -> None:
    """Prints the tables."""
    scenario = asked.scenario
    source = "a synthetic trace" if asked.path is None else str(asked.path)
    caption = (
        f"costs: {asked.described}; times in {asked.costs.time_unit}\n"
        f"texts: {source}; {scenario.requests} requests, at most {scenario.max_batch} at a time"
    )
    title = f"{scenario.name}: {scenario.description}"
    show(_figures_table(found.results, title, caption), json_file)
    show(_promises_table(found.results, scenario), json_file)
    if found.marks is not None:
        for one in found.frontiers:
            show(frontier_table(one, found.marks), json_file)


def _report(asked: Asked, found: _Found) -> dict[str, Any]:
    """The same as JSON."""
    report: dict[str, Any] = {
        "scenario": asked.scenario.name,
        "requests": asked.scenario.requests,
        "texts": "synthetic" if asked.path is None else "recorded",
        "costs": asked.described,
        "time_unit": asked.costs.time_unit,
        "notes": list(asked.workload.notes),
        "policies": [result.as_dict() for result in found.results],
    }
    if found.marks is not None:
        report["frontiers"] = [one.as_dict() for one in found.frontiers]
        report["best_static_in_hindsight"] = found.marks.static.as_dict()
        report["clairvoyant"] = found.marks.clairvoyant.as_dict()
    return report


def _figures_table(found: list[ScenarioResult], title: str, caption: str) -> Table:
    """Speed and latencies, one policy a row."""
    names = [
        "policy",
        "over\nplain",
        "tokens\n/time",
        "busy",
        "passes\n/request",
        "latency\np50",
        "\np95",
        "\np99",
        "1st token\np95",
        "per token\np50",
        "good\nput",
    ]
    table = results_table(title, caption, names)
    for result in found:
        figures = result.figures
        latency = figures.latency_ms
        good = [f.goodput_per_ms for f in result.by_class.values()]
        promised = [value for value in good if not math.isnan(value)]
        table.add_row(
            escape(result.policy),
            f"{result.speedup.value:.3f}",
            f"{figures.tokens_per_ms:.3f}",
            f"{result.utilisation:.0%}",
            f"{figures.passes_per_request.value:.2f}",
            f"{latency.p50.value:,.1f}",
            f"{latency.p95.value:,.1f}",
            f"{latency.p99.value:,.1f}",
            f"{figures.time_to_first_token_ms.p95.value:,.1f}",
            f"{figures.time_per_output_token_ms.p50.value:.2f}",
            f"{sum(promised):.4f}" if promised else "-",
        )
    return table


def _promises_table(found: list[ScenarioResult], scenario: Scenario) -> Table:
    """What became of each promise."""
    caption = (
        "kept~ and not kept~: the 95 % interval holds the promise, so that another run might end "
        "otherwise\ninfeasible: not even foresight could keep it; beside it what foresight could"
    )
    declared = [
        f"the controller declared, with {result.policy}: {name}: {said}"
        for result in found
        for name, said in result.feasibility.items()
        if said.infeasible
    ]
    caption = "\n".join([caption, *declared])
    names = ["policy", "class", "promise", "promised", "was", "95 % interval", "verdict"]
    table = results_table(f"{scenario.name}: promises", caption, names)
    for result in found:
        for verdict in result.verdicts:
            table.add_row(escape(result.policy), *_verdict_row(verdict))
    return table


def _verdict_row(verdict: Verdict) -> list[str]:
    said = verdict.verdict if verdict.clear else f"{verdict.verdict}~"
    if verdict.verdict == "infeasible":
        said = f"infeasible (>= {verdict.nearest:.2f})"
    return [
        escape(verdict.request_class),
        verdict.promise,
        f"{verdict.target:g}",
        f"{verdict.value.value:.2f}",
        ends(verdict.value),
        said,
    ]
