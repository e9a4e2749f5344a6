"""``adaptive-spec evidence``: how well every policy does, in every cell of some traces."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from adaptive_spec._files import atomic_write
from adaptive_spec.cli import options
from adaptive_spec.cli.output import STDOUT, note, progress, write_json, write_page
from adaptive_spec.cli.traces import tell_exactness
from adaptive_spec.cost_files import parse_costs
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.evidence import (
    DEFAULTS,
    STYLISED,
    Evidence,
    Progress,
    Settings,
    gather,
    markdown,
)
from adaptive_spec.traces import read_trace


def evidence(
    traces: Annotated[
        list[Path],
        typer.Argument(
            help="Traces of one verifier with different drafters. One of a composed drafter counts "
            "for each of its drafters alone, too.",
            show_default=False,
            metavar="TRACE",
        ),
    ],
    output: options.PageOption = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            "-p",
            help="A policy to judge; repeatable. Default: all that are installed, with their "
            "defaults.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    drafter: Annotated[
        list[str] | None,
        typer.Option(
            "--drafter",
            help="Judge with this drafter of the traces only, as the page names it; repeatable.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    costs: Annotated[
        list[str] | None,
        typer.Option(
            "--costs",
            help="Costs to judge at, before the stylised ones: a file written by `adaptive-spec "
            "profile`, or draft=0.125,verify=0.0 in plain verifier passes per token; repeatable.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    stylised: Annotated[
        bool,
        typer.Option(
            help=f"Judge at three made-up cost points: {'; '.join(STYLISED)}.",
            rich_help_panel=options.CONTROL,
        ),
    ] = True,
    max_draft_tokens: options.MaxDraftTokensOption = DEFAULTS.max_draft_tokens,
    shuffles: Annotated[
        int,
        typer.Option(
            min=1,
            max=10_000,
            help="Orders of the prompts in which policies that learn across sequences are run.",
        ),
    ] = DEFAULTS.shuffles,
    resamples: Annotated[
        int, typer.Option(min=1, max=100_000, help="Bootstrap resamples.")
    ] = DEFAULTS.resamples,
    seed: options.SeedOption = DEFAULTS.seed,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Processes; default: one for every core."),
    ] = None,
    again: Annotated[
        list[str] | None,
        typer.Option(
            "--again",
            help="Judge this policy anew, though --json has its results: its code has changed; "
            "repeatable.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="Also write all figures as JSON to this file, after every policy; what an "
            "earlier run with the same settings left there is not judged again. '-' writes them "
            "to standard output, alone.",
            callback=options.file_to_write,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
) -> None:
    """Judge policies on traces: every drafter, category of prompts and cost point.

    Each trace is split into a half to choose a static tau on and a half to judge on.
    """
    points = _cost_points(costs or [], stylised)
    settings = Settings(max_draft_tokens, shuffles, resamples, seed)
    earlier = _earlier(json_file)
    recorded = [read_trace(path) for path in traces]
    for path, one in zip(traces, recorded, strict=True):
        tell_exactness(path, one)
    file = None if json_file == STDOUT else json_file

    def keep(found: Evidence) -> None:
        if file is not None:
            with atomic_write(file) as temporary:
                temporary.write_text(json.dumps(found.as_dict(), indent=1), encoding="utf-8")

    with progress() as bar:
        task = bar.add_task("judging", total=None)

        def tell(now: Progress) -> None:
            bar.update(task, description=now.what, completed=now.done, total=now.total)

        found = gather(
            recorded,
            costs=points,
            policies=policy,
            drafters=drafter or (),
            settings=settings,
            earlier=earlier,
            again=again or (),
            jobs=jobs or os.cpu_count() or 1,
            keep=keep,
            on_progress=tell,
        )
    write_page(markdown(found, shlex.join(["adaptive-spec", *sys.argv[1:]])), output, json_file)
    if json_file == STDOUT:
        write_json(found.as_dict(), STDOUT)
    elif json_file is not None:
        note(f"results in {json_file}")


def _cost_points(given: list[str], stylised: bool) -> dict[str, CostModel]:
    """The cost points by name; measured ones go by the name of their file."""
    points: dict[str, CostModel] = {}
    for text in given:
        model = parse_costs(text)
        name = str(model) if "=" in text else f"{Path(text).name} ({model})"
        if name in points:
            raise ConfigError(f"--costs: {name} is given twice; name every cost point once")
        points[name] = model
    return {**points, **STYLISED} if stylised else points


def _earlier(json_file: Path | None) -> Evidence | None:
    """What an earlier run left in the file."""
    if json_file is None or json_file == STDOUT or not json_file.is_file():
        return None
    try:
        data = json.loads(json_file.read_text(encoding="utf-8"))
    except ValueError:
        raise ConfigError(f"--json {json_file}: is there, and no JSON; name a new file") from None
    return Evidence.from_dict(data)
