"""``adaptive-spec diagnose``: what holds speed back, and what to do about it."""

from pathlib import Path
from typing import Annotated

import typer

from adaptive_spec.cli import options
from adaptive_spec.cli.constraint_options import ConstraintOptions
from adaptive_spec.cli.diagnosis_output import print_diagnosis, rivalry_table
from adaptive_spec.cli.output import note, progress, show, write_json
from adaptive_spec.cli.simulate import DEFAULT_COSTS
from adaptive_spec.cli.traces import need_signals
from adaptive_spec.constraints import Constraints
from adaptive_spec.cost_files import parse_costs
from adaptive_spec.costs import CostModel, MeasuredCosts
from adaptive_spec.errors import ConfigError
from adaptive_spec.registry import make_policy
from adaptive_spec.simulations.diagnosis import Known, Verified, rivalry
from adaptive_spec.simulations.diagnosis import diagnose as run_diagnosis
from adaptive_spec.simulations.diagnosis.faults import FAULTS
from adaptive_spec.traces import is_cycle_log, read_cycle_file, read_trace

DEFAULT_POLICY = "auto"


def diagnose(
    trace: Annotated[
        Path,
        typer.Argument(
            help="A trace, or a log of live cycles (`generate --cycles`).",
            show_default=False,
            metavar="TRACE",
        ),
    ],
    other: Annotated[
        Path | None,
        typer.Argument(
            help="A trace of the same prompts with another drafter: which one pays, for which "
            "requests, at which batch.",
            show_default=False,
            metavar="OTHER",
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help=f"What production runs, for a trace; default: {DEFAULT_POLICY}. A log says itself "
            "what was chosen.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    costs: Annotated[
        str | None,
        typer.Option(
            help="A file written by `adaptive-spec profile`, or draft=0.125,verify=0.0 in plain "
            "verifier passes per token; default: those for a trace, a log's own times for a log.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            help="Requests that share a pass in production, for a trace; repeatable for two "
            "traces. Default: 1, and for two traces those of the costs.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    max_draft_tokens: options.MaxDraftTokensOption = 10,
    verified: Annotated[
        Path | None,
        typer.Option(help="What `adaptive-spec verify --json` wrote of this pair.", metavar="FILE"),
    ] = None,
    *,
    promised: ConstraintOptions,
    seed: options.SeedOption = 0,
    json_file: options.JsonOption = None,
) -> None:
    """Say what holds speed back, with the evidence and what to do, most time lost first."""
    constraints = promised.chosen()
    checked = None if verified is None else Verified.read(verified)
    model = None if costs is None else parse_costs(costs)
    make_policy(policy or DEFAULT_POLICY)
    if other is not None:
        if constraints != Constraints() or checked is not None:
            raise ConfigError(
                "two traces are compared without promises and checks; leave out the options of "
                "constraints and --verified, or give one TRACE"
            )
        _compare(trace, other, policy, model, batch_size, max_draft_tokens, seed, json_file)
        return
    if batch_size and len(batch_size) > 1:
        raise ConfigError("--batch-size: one trace is diagnosed at one batch size; give it once")
    with progress() as bar:
        task = bar.add_task("reading", total=len(FAULTS) + 1)
        if is_cycle_log(trace):
            if policy is not None or batch_size:
                raise ConfigError(
                    f"{trace}: a log of cycles says itself what tau was and who shared a pass; "
                    "leave out --policy and --batch-size"
                )
            file = read_cycle_file(trace)
            known = Known.of_log(
                file.cycles,
                file.rule,
                costs=model,
                max_draft_tokens=max_draft_tokens,
                promised=constraints,
                verified=checked,
                seed=seed,
            )
        else:
            spec = policy or DEFAULT_POLICY
            priced = model or parse_costs(DEFAULT_COSTS)
            traces = read_trace(trace, signals=need_signals([make_policy(spec)]))
            priced.require_drafters(traces.info.drafter_names)
            bar.update(task, description=f"replaying {spec}")
            known = Known.of_trace(
                traces,
                spec,
                costs=priced,
                costs_assumed=model is None,
                batch_size=(batch_size or [1])[0],
                max_draft_tokens=max_draft_tokens,
                promised=constraints,
                verified=checked,
                seed=seed,
            )

        def tell(what: str) -> None:
            bar.update(task, description=what)
            bar.advance(task)

        found = run_diagnosis(known, tell)
    print_diagnosis(found, str(trace), json_file)
    write_json(found.as_dict(), json_file)


def _compare(
    trace: Path,
    other: Path,
    policy: str | None,
    costs: CostModel | None,
    batch_sizes: list[int] | None,
    max_draft_tokens: int,
    seed: int,
    json_file: Path | None,
) -> None:
    for path in (trace, other):
        if is_cycle_log(path):
            raise ConfigError(
                f"{path}: a log of cycles cannot be replayed, so that drafters are compared on "
                "traces alone; record one"
            )
    spec = policy or DEFAULT_POLICY
    model = costs or parse_costs(DEFAULT_COSTS)
    signals = need_signals([make_policy(spec)])
    first, second = (read_trace(path, signals=signals) for path in (trace, other))
    model.require_drafters((*first.info.drafter_names, *second.info.drafter_names))
    if costs is None:
        note(f"no costs were given: {model} is assumed of both drafters")
    sizes = batch_sizes or (model.batch_sizes if isinstance(model, MeasuredCosts) else (1,))
    with progress() as bar:
        task = bar.add_task("comparing", total=2 * len(sizes))

        def tell(what: str) -> None:
            bar.update(task, description=what)
            bar.advance(task)

        found = rivalry(
            first,
            second,
            spec,
            costs=model,
            batch_sizes=sorted(set(sizes)),
            max_draft_tokens=max_draft_tokens,
            seed=seed,
            on_progress=tell,
        )
    show(rivalry_table(found), json_file)
    write_json(found.as_dict(), json_file)
