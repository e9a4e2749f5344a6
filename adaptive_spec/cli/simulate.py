"""``adaptive-spec simulate``: replay policies on a trace."""

from pathlib import Path
from typing import Annotated

import typer

from adaptive_spec.cli import options
from adaptive_spec.cli.constraint_options import ConstraintOptions
from adaptive_spec.cli.output import notes, progress, show, summary_table, write_json
from adaptive_spec.cli.scenarios import LIST, run_scenario, show_scenarios
from adaptive_spec.cli.traces import trace_for
from adaptive_spec.constraints import Constraints
from adaptive_spec.cost_files import parse_costs
from adaptive_spec.errors import ConfigError
from adaptive_spec.registry import make_policy
from adaptive_spec.simulations.hindsight import least_passes
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.simulations.summary import Summary
from adaptive_spec.traces import TraceSet

DEFAULT_COSTS = "draft=0.125,verify=0.0"
DEFAULT_POLICIES = ("fixed:tau=1", "fixed:tau=3", "fixed:tau=5", "ewma", "auto")
DEFAULT_MAX_DRAFT_TOKENS = 10


def simulate(
    trace: Annotated[
        Path | None,
        typer.Argument(
            help="A trace: file or folder. A scenario does without one, on synthetic texts.",
            show_default=False,
            metavar="TRACE",
        ),
    ] = None,
    policy: options.PoliciesOption = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            help="Serve requests as they come, with promises to keep: the name of a scenario, a "
            "file of your own (NAME.toml), or 'list' to see which there are."
        ),
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(min=1, help="Requests of the scenario; default: as many as it says."),
    ] = None,
    frontier: Annotated[
        bool,
        typer.Option(
            "--frontier",
            help="Serve the scenario at a ladder of fixed prices of a pass too: passes, latency "
            "and speed of each, and how near to the best of them the controller came.",
        ),
    ] = False,
    costs: Annotated[
        str | None,
        typer.Option(
            help="A file written by `adaptive-spec profile`, or draft=0.125,verify=0.0 in plain "
            "verifier passes per token; default: those, or the scenario's.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    max_draft_tokens: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=1024,
            help="Largest tau; default: 10, or the scenario's.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    *,
    promised: ConstraintOptions,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="Sequences that share a verifier pass; default: each alone."),
    ] = None,
    seed: options.SeedOption = 0,
    json_file: options.JsonOption = None,
) -> None:
    """Replay policies on a trace: what the live engine would have done, cycle for cycle."""
    specs = policy or DEFAULT_POLICIES
    if scenario is not None:
        if promised != ConstraintOptions() or concurrency is not None:
            raise ConfigError(
                "the scenario says what is promised and how many run together; leave out "
                "--concurrency and the options of constraints"
            )
        if scenario == LIST:
            show_scenarios(json_file)
            return
        run_scenario(
            scenario,
            trace,
            specs,
            costs=costs,
            max_draft_tokens=max_draft_tokens,
            requests=requests,
            frontier=frontier,
            seed=seed,
            json_file=json_file,
        )
        return
    if trace is None:
        raise ConfigError("give a TRACE (a file or a folder), or --scenario")
    if requests is not None:
        raise ConfigError(f"--requests {requests}: it is for scenarios; give --scenario too")
    if frontier:
        raise ConfigError("--frontier: it is for scenarios; give --scenario too")
    if max_draft_tokens is None:
        max_draft_tokens = DEFAULT_MAX_DRAFT_TOKENS
    built = [make_policy(spec) for spec in specs]
    constraints = promised.chosen()
    model = parse_costs(DEFAULT_COSTS if costs is None else costs)
    traces = trace_for(built, trace, model)
    if concurrency is not None:
        concurrency = min(concurrency, len(traces))
    summaries, entries, said = [], [], []
    with progress() as bar:
        for name, chosen in zip(specs, built, strict=True):
            task = bar.add_task(name, total=len(traces))
            result = replay(
                chosen,
                traces,
                costs=model,
                max_draft_tokens=max_draft_tokens,
                constraints=constraints,
                seed=seed,
                concurrency=concurrency,
                on_finished=lambda count, task=task: bar.advance(task, count),  # type: ignore[misc]
            )
            totals = Summary.of(name, result)
            summaries.append(totals)
            entries.append(
                {
                    **totals.as_dict(),
                    "engine_time": result.engine_ms,
                    "ended_by_budget": int(result.ended_by_budget.sum()),
                    "ended_by_deadline": int(result.ended_by_deadline.sum()),
                    "late": sum(ledger.late for ledger in result.ledgers.values()),
                }
            )
            said += [f"{name}: {told}" for told in result.feasibility.values() if told.infeasible]
    caption = f"costs: {model}; time in {model.time_unit}, summed over sequences"
    show(summary_table(summaries, _title(traces), caption), json_file)
    warn_if_infeasible(traces, constraints, max_draft_tokens)
    if constraints.latency is not None:  # of passes more is known, and said above
        for line in said:
            notes.print(line, style="bold red", soft_wrap=True, markup=False)
    write_json({"policies": entries, "costs": str(model), "time_unit": model.time_unit}, json_file)


def _title(traces: TraceSet) -> str:
    info = traces.info
    return f"{len(traces)} sequences, {traces.num_tokens} tokens: {info.verifier}, {info.drafter}"


def warn_if_infeasible(traces: TraceSet, promised: Constraints, max_draft_tokens: int) -> None:
    """Says so when no policy at all could keep an average of passes on this trace."""
    budget = promised.budget
    if budget is None or budget.average_passes is None:
        return
    passes = least_passes(traces, max_draft_tokens=max_draft_tokens)
    per_token = budget.per == "token"
    least = passes.sum() / traces.num_tokens if per_token else passes.mean()
    if least > budget.average_passes:
        notes.print(
            f"infeasible: no policy can keep {budget.average_passes:g} passes per {budget.per} "
            f"here; the least possible, with tau up to {max_draft_tokens}, is {least:.2f}",
            style="bold red",
            soft_wrap=True,
        )
