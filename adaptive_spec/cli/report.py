"""``adaptive-spec report``: results as one page to look at."""

from pathlib import Path
from typing import Annotated

import typer

from adaptive_spec._files import atomic_write
from adaptive_spec._optional import require
from adaptive_spec.cli import options
from adaptive_spec.cli.output import STDOUT, note, print_exactly, progress
from adaptive_spec.cli.simulate import DEFAULT_COSTS
from adaptive_spec.cli.token_text import pieces_for
from adaptive_spec.cli.traces import tell_exactness
from adaptive_spec.cost_files import parse_costs
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError, PolicySpecError
from adaptive_spec.registry import make_policy
from adaptive_spec.reports import (
    Replayed,
    Results,
    Settings,
    html_page,
    make_report,
    read_results,
    replayed,
    save_figures,
)
from adaptive_spec.reports.comparisons import compared_policies
from adaptive_spec.reports.figures import KINDS, Kind

DEFAULT_POLICIES = ("auto", "fixed:tau=3")
_MOST_POLICIES = 6  # of a comparison: replaying them takes its time


def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="Files, and folders of them: traces, cost profiles, logs of cycles, and the "
            "--json of compare, simulate, promises and evidence.",
            show_default=False,
            metavar="RESULTS",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The page, one HTML file that needs nothing else; - prints it.",
            callback=options.file_to_write,
            rich_help_panel=options.OUTPUT,
        ),
    ] = Path("report.html"),
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            "-p",
            help="A policy to replay on the traces; repeatable. "
            "Default: the fastest of a comparison among the results, else "
            f"{' and '.join(DEFAULT_POLICIES)}.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    costs: Annotated[
        str | None,
        typer.Option(
            help="Costs to replay at: a file written by `adaptive-spec profile`, or "
            f"{DEFAULT_COSTS} in plain verifier passes per token. Default: the first profile "
            "among the results, or else those.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    max_draft_tokens: options.MaxDraftTokensOption = 10,
    requests: Annotated[
        int,
        typer.Option(
            min=1,
            help="Requests of a trace to replay, about; they are spread evenly over each category.",
            rich_help_panel=options.CONTROL,
        ),
    ] = 500,
    verifier: Annotated[
        str | None,
        typer.Option(
            help="Whose tokenizer makes text of a trace's tokens: 'builtin', a folder or a hub id; "
            "default: the verifier that the trace names. Without one they show as numbers.",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    title: Annotated[
        str, typer.Option(help="Title of the page.", rich_help_panel=options.OUTPUT)
    ] = "Speculative decoding report",
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Also write every chart as a file to this folder, for papers; needs matplotlib.",
            callback=lambda folder: folder and options.folder_to_write(folder),
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    figure_format: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Of these files: {', '.join(KINDS)}; repeatable. Default: png and svg.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    seed: options.SeedOption = 0,
) -> None:
    """Show results as one page: charts, and texts token by token under two policies.

    On traces among the results policies are replayed, exactly, as the page is made.
    """
    kinds = _kinds(figure_format)
    if figures is not None:
        require("matplotlib", "figures")
    found = read_results(results, on_passed_over=note)
    model = _costs(costs, found)
    compared = [name for one in found.comparisons.values() for name in compared_policies(one)]
    specs = tuple(dict.fromkeys(policy or _built(compared)[:_MOST_POLICIES] or DEFAULT_POLICIES))
    asked = Settings(max_draft_tokens, requests, seed, compared=not set(specs) <= set(compared))
    if policy and not found.traces:
        note("--policy: there is no trace among the results to replay them on")
    runs = _replays(found, specs, model, asked)
    pieces = [pieces_for(run.traces, verifier) for run in runs]
    made = make_report(title, found, runs, pieces=pieces, seed=seed)
    page = html_page(made.as_dict())
    if output == STDOUT:
        print_exactly(page)
    else:
        with atomic_write(output) as temporary:
            temporary.write_text(page, encoding="utf-8")
        note(f"report written to {output} ({len(page) / 1e6:.1f} MB)")
    if figures is not None:
        written = save_figures(made.panels, figures, kinds)
        note(f"{len(written)} figures written to {figures}")


def _kinds(given: list[str] | None) -> tuple[Kind, ...]:
    chosen = tuple(kind for kind in KINDS if kind in (given or ("png", "svg")))
    strange = [kind for kind in given or () if kind not in KINDS]
    if strange:
        raise ConfigError(f"--figure-format {strange[0]}: allowed are {', '.join(KINDS)}")
    return chosen


def _built(names: list[str]) -> list[str]:
    """Those of these policies that are installed."""
    found = []
    for name in names:
        try:
            make_policy(name)
        except PolicySpecError as error:
            note(f"{name} is not replayed: {error}")
        else:
            found.append(name)
    return found


def _costs(given: str | None, found: Results) -> CostModel:
    """What replayed cycles cost: as asked for, as measured, or as assumed."""
    if given is not None:
        return parse_costs(given)
    if found.traces and len(found.costs) > 1:
        note(f"replayed at the costs of {next(iter(found.costs))}; --costs chooses others")
    return next(iter(found.costs.values()), parse_costs(DEFAULT_COSTS))


def _replays(
    found: Results,
    specs: tuple[str, ...],
    costs: CostModel,
    asked: Settings,
) -> list[Replayed]:
    runs = []
    with progress() as bar:
        for name, traces in found.traces.items():
            tell_exactness(Path(name), traces)
            task = bar.add_task(name, total=len(specs) + 1)
            run = replayed(
                name,
                traces,
                specs,
                costs=costs,
                settings=asked,
                on_progress=lambda what, task=task: bar.update(  # type: ignore[misc]
                    task, description=what, advance=1
                ),
            )
            runs.append(run)
    return runs
