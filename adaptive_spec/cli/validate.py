"""``adaptive-spec validate``: is what the simulator says what the live engine does?"""

from typing import Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from adaptive_spec.cli import options
from adaptive_spec.cli.constraint_options import ConstraintOptions
from adaptive_spec.cli.live_options import ModelOptions, PromptOptions
from adaptive_spec.cli.live_runs import LiveRun, decode_plainly, explain, record_all, run_live
from adaptive_spec.cli.output import progress, results_table, show, write_json
from adaptive_spec.cli.rules import SamplingOptions
from adaptive_spec.cost_files import parse_costs
from adaptive_spec.registry import make_policy

Times = Literal["model", "clock"]
TimesOption = Annotated[
    Times,
    typer.Option(
        help="What live decisions are made on: 'model', the cost model's times, which the replay "
        "has by itself; or 'clock', those measured, which the replay is then given.",
        rich_help_panel=options.CONTROL,
    ),
]

DEFAULT_POLICIES = ("fixed:tau=3", "ewma", "auto")


def validate(
    *,
    asked: PromptOptions,
    policy: options.PoliciesOption = None,
    models: ModelOptions,
    costs: options.CostsOption = None,
    max_draft_tokens: options.MaxDraftTokensOption = 10,
    times: TimesOption = "model",
    promised: ConstraintOptions,
    sampling: SamplingOptions,
    seed: options.SeedOption = 0,
    json_file: options.JsonOption = None,
) -> None:
    """Run policies live and replay them on a trace of the same prompts; every cycle must agree.

    Live decisions are made on the cost model's times, so that both sides see the same; with --times
    clock, on what was measured, and the replay is run at the times of the live run. Exit code 1 if
    any cycle, any output or the books of what was promised differ.
    """
    specs = policy or DEFAULT_POLICIES
    for spec in specs:
        make_policy(spec)  # refuse a wrong one before any model is loaded
    constraints = promised.chosen()
    given = None if costs is None else parse_costs(costs)
    wanted = asked.chosen()
    models.require_drafter("replay")
    rule = sampling.chosen_to_replay(seed)
    models.require_room(max_draft_tokens)
    pair = models.load()
    requests = asked.requests(pair, wanted)
    model = pair.costs(given)
    batch_size = min(asked.batch_size, len(requests))
    with progress() as bar:
        task = bar.add_task("plain decoding", total=len(requests))
        plain = decode_plainly(pair, requests, batch_size, lambda: bar.advance(task), rule=rule)
        traces = record_all(
            pair,
            requests,
            plain,
            asked.chat_template,
            asked.max_new_tokens,
            max_draft_tokens,
            rule=rule,
        )
        runs = []
        for spec in specs:
            task = bar.add_task(spec, total=len(requests))
            runs.append(
                run_live(
                    pair,
                    requests,
                    traces,
                    spec,
                    model,
                    max_draft_tokens=max_draft_tokens,
                    batch_size=batch_size,
                    seed=seed,
                    constraints=constraints,
                    rule=rule,
                    by_clock=times == "clock",
                    on_finished=lambda task=task: bar.advance(task),  # type: ignore[misc]
                )
            )
    title = f"{pair.verifier.name}, {traces.info.drafter}"
    show(validation_table(runs, title, times), json_file)
    for run in runs:
        explain(run)
    write_json(
        {"costs": str(model), "times": times, "runs": [run.as_dict() for run in runs]}, json_file
    )
    if not all(run.holds for run in runs):
        raise typer.Exit(1)


def validation_table(runs: list[LiveRun], title: str, times: Times) -> Table:
    """Live against replayed, a row per policy."""
    caption = "live and replayed decisions on the cost model's times; measured by the clock"
    if times == "clock":
        caption = "live decisions by the clock; replayed at the times measured"
    replayed = "replayed" if times == "clock" else "predicted"
    names = ["policy", "cycles", "cycles as\nreplayed", "output\nas plain", replayed, "measured"]
    table = results_table(title, caption, names)
    for run in runs:
        table.add_row(
            Text(run.policy),
            f"{run.validation.cycles:,}",
            _verdict(len(run.validation.differences)),
            _verdict(len(run.different_outputs)),
            f"{run.replayed_ms / 1e3:.1f} s",
            f"{run.measured_ms / 1e3:.1f} s",
        )
    return table


def _verdict(different: int) -> str:
    return "all identical" if different == 0 else f"{different} differ"
