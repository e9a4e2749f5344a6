"""``adaptive-spec promises``: what every policy does under the promises of a scenario."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from adaptive_spec.cli import options
from adaptive_spec.cli.output import progress, write_json, write_page
from adaptive_spec.cli.scenario_inputs import ask
from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.evidence.eligible import eligible
from adaptive_spec.simulations.evidence.subjects import Subject
from adaptive_spec.simulations.scenarios import ScenarioRun
from adaptive_spec.simulations.scenarios.page import Setting, markdown
from adaptive_spec.simulations.scenarios.trials import tried
from adaptive_spec.traces import TraceSet


def promises(
    trace: Annotated[
        Path | None,
        typer.Argument(
            help="A trace: file or folder; default: synthetic texts.",
            show_default=False,
            metavar="TRACE",
        ),
    ] = None,
    scenario: Annotated[
        str,
        typer.Option(help="Its name, or a file of your own (NAME.toml); see `simulate`."),
    ] = "writing-assistant",
    output: options.PageOption = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            "-p",
            help="A policy to try; repeatable. Default: all that are installed, with their "
            "defaults.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(min=1, help="Requests of the scenario; default: as many as it says."),
    ] = None,
    costs: Annotated[
        str | None,
        typer.Option(
            help="A file written by `adaptive-spec profile`, or draft=0.125,verify=0.0 in plain "
            "verifier passes per token; default: the scenario's.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    seed: options.SeedOption = 0,
    json_file: options.JsonOption = None,
) -> None:
    """Try policies under the promises of a scenario, and each of them on its own beside it."""
    asked = ask(scenario, trace, costs=costs, requests=requests, signals=True, seed=seed)
    chosen, traces = asked.scenario, asked.traces
    # Nothing is chosen on one half here: all texts are judged on.
    subject = Subject(traces.info.drafter, traces, traces)
    specs, left_out = eligible(subject, policy, chosen.max_draft_tokens)
    if not specs:
        raise ConfigError(f"--policy {left_out[0].policy}: {left_out[0].reason}")
    with progress() as bar:
        task = bar.add_task("plain decoding", total=chosen.requests * (1 + 2 * len(specs)))
        run = ScenarioRun(
            chosen,
            asked.workload,
            costs=asked.costs,
            seed=seed,
            on_finished=lambda count: bar.advance(task, count),
        )
        trials = []
        for spec in specs:
            bar.update(task, description=spec)
            trials.append(tried(run, spec))
    unit = "plain verifier passes" if costs is None else asked.costs.time_unit
    setting = Setting(_described(trace, traces), asked.described, unit, left_out)
    command = shlex.join(["adaptive-spec", *sys.argv[1:]])
    write_page(markdown(run, trials, setting, command), output, json_file)
    write_json(
        {
            "scenario": chosen.name,
            "requests": chosen.requests,
            "texts": setting.texts,
            "costs": asked.described,
            "time_unit": unit,
            "notes": list(asked.workload.notes),
            "left_out": [one._asdict() for one in left_out],
            "policies": [trial.as_dict() for trial in trials],
        },
        json_file,
    )


def _described(trace: Path | None, traces: TraceSet) -> str:
    if trace is None:
        return "synthetic, made up as the scenario says"
    info = traces.info
    about = f"`{info.drafter}` for `{info.verifier}`, {info.rule}, {info.numerics}"
    return f"`{trace}`, {len(traces)} sequences, {traces.num_tokens:,} tokens: {about}"
