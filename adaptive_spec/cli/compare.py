"""``adaptive-spec compare``: policies against plain decoding, the best static tau, the optimum."""

from pathlib import Path
from typing import Annotated

import typer

from adaptive_spec.cli import options
from adaptive_spec.cli.constraint_options import ConstraintOptions
from adaptive_spec.cli.output import comparison_table, progress, show, write_json
from adaptive_spec.cli.simulate import DEFAULT_COSTS, DEFAULT_POLICIES, warn_if_infeasible
from adaptive_spec.cli.traces import trace_for
from adaptive_spec.cost_files import parse_costs
from adaptive_spec.registry import make_policy
from adaptive_spec.simulations.comparison import compare as run_comparison
from adaptive_spec.traces import read_trace


def compare(
    trace: options.TraceArgument,
    policy: options.PoliciesOption = None,
    costs: options.ReplayCostsOption = DEFAULT_COSTS,
    best_static_from: Annotated[
        Path | None,
        typer.Option(
            help="Choose the best static tau on this trace, of other prompts; default: the trace "
            "itself, with hindsight.",
            metavar="TRACE",
        ),
    ] = None,
    max_draft_tokens: options.MaxDraftTokensOption = 10,
    *,
    promised: ConstraintOptions,
    resamples: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Bootstrap resamples.")
    ] = 2000,
    seed: options.SeedOption = 0,
    json_file: options.JsonOption = None,
) -> None:
    """Compare policies on a trace, with paired bootstrap intervals over its prompts."""
    specs = policy or DEFAULT_POLICIES
    built = [make_policy(spec) for spec in specs]
    constraints = promised.chosen()
    model = parse_costs(costs)
    traces = trace_for(built, trace, model)
    other = None if best_static_from is None else read_trace(best_static_from, signals=False)
    with progress() as bar:
        task = bar.add_task("comparing", total=len(specs) + 2)

        def tell(what: str) -> None:
            bar.update(task, description=what)
            bar.advance(task)

        comparison = run_comparison(
            specs,
            traces,
            costs=model,
            max_draft_tokens=max_draft_tokens,
            constraints=constraints,
            best_static_from=other,
            seed=seed,
            resamples=resamples,
            on_progress=tell,
        )
    info = traces.info
    title = f"{len(traces)} sequences, {traces.num_tokens} tokens: {info.verifier}, {info.drafter}"
    show(comparison_table(comparison, title), json_file)
    warn_if_infeasible(traces, constraints, max_draft_tokens)
    write_json(comparison.as_dict(), json_file)
