"""``adaptive-spec demo``: the main job, from a real model pair to a decision, in minutes."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.table import Table

from adaptive_spec._optional import require
from adaptive_spec.cli import options
from adaptive_spec.cli.live import Pair, prompts_from
from adaptive_spec.cli.live_options import ModelOptions
from adaptive_spec.cli.live_runs import LiveRun, decode_plainly, explain, record_all, run_live
from adaptive_spec.cli.output import (
    comparison_table,
    note,
    progress,
    results,
    results_table,
    write_json,
)
from adaptive_spec.cli.rules import SamplingOptions
from adaptive_spec.cli.streaming import ACCEPTED_STYLE, AnswerPrinter
from adaptive_spec.cli.validate import DEFAULT_POLICIES
from adaptive_spec.cost_files import save_costs
from adaptive_spec.costs import MeasuredCosts
from adaptive_spec.registry import make_policy
from adaptive_spec.simulations.comparison import compare
from adaptive_spec.traces import TraceSet, write_cycles, write_trace

if TYPE_CHECKING:
    from adaptive_spec.decoding.requests import Request
    from adaptive_spec.decoding.verification import VerificationRule


def demo(
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the trace, costs and results.",
            callback=options.folder_to_write,
        ),
    ] = Path("demo-results"),
    drafter: options.DrafterOption = options.AUTO,
    max_new_tokens: Annotated[int, typer.Option(min=8, help="Most tokens of an answer.")] = 48,
    limit: Annotated[int | None, typer.Option(min=2, help="Take the first prompts only.")] = None,
    sampling: SamplingOptions,
    seed: options.SeedOption = 0,
) -> None:
    """The main job on a real pair: decode, record, replay, validate, compare. A few minutes."""
    require("pyarrow", "trace")
    models = ModelOptions(drafter=drafter)
    models.require_drafter("compare")
    rule = sampling.chosen_to_replay(seed)
    began = time.perf_counter()
    pair = models.load()
    prompts = prompts_from(None, limit)
    requests = pair.requests(prompts, max_new_tokens, chat_template=True)

    _step(1, "Profile: what does a cycle cost on this machine?")
    costs = _profile(pair, seed)
    save_costs(costs, output / "costs.json")
    for width in costs.widths[1:]:
        at = costs.widths.index(width)
        ratio = costs.verify_grid_ms[0, 0, at] / costs.plain_ms
        results.print(f"  verifying {width} tokens takes {ratio:.2f} x a plain pass")

    _step(2, f"Watch: {prompts[0].id!r}, tau chosen by auto")
    results.print("  drafted and accepted", style=ACCEPTED_STYLE, end="")
    results.print("  the verifier's own\n")
    _stream(pair, requests[0], costs, rule)

    _step(3, f"Decode {len(requests)} prompts plainly, then with each policy")
    with progress() as bar:
        task = bar.add_task("plain decoding", total=len(requests))
        plain = decode_plainly(pair, requests, 1, lambda: bar.advance(task), rule=rule)
        note("  plain decoding done")
        traces = record_all(pair, requests, plain, True, max_new_tokens, signal_depth=10, rule=rule)
        write_trace(traces, output / "trace.parquet")
        runs = []
        for spec in DEFAULT_POLICIES:
            task = bar.add_task(spec, total=len(requests))
            run = run_live(
                pair,
                requests,
                traces,
                spec,
                costs,
                seed=seed,
                rule=rule,
                on_finished=lambda task=task: bar.advance(task),  # type: ignore[misc]
            )
            runs.append(run)
            name = spec.partition(":")[0]
            write_cycles(run.completions, output / f"cycles-{name}.parquet", rule=rule.label)
            note(f"  {spec} done")
    plain_ms = sum(completion.decode_ms for completion in plain.values())
    tokens = sum(len(completion.token_ids) for completion in plain.values())
    results.print(_live_table(runs, plain_ms, tokens))
    for run in runs:
        explain(run)

    _step(4, "Compare on the trace: replayed exactly, against the best possible")
    _compare(traces, costs, output, seed)
    for name, what in (
        ("trace.parquet", "the exact trace: replay any policy on it with `compare`"),
        ("costs.json", "what cycles cost here, for --costs"),
        ("comparison.json", "the table above"),
        ("cycles-*.parquet", "every live cycle"),
    ):
        results.print(f"  {output / name}: {what}", markup=False, soft_wrap=True)
    results.print(f"To look at it: adaptive-spec report {output}", markup=False, soft_wrap=True)
    results.print(f"Done in {time.perf_counter() - began:.0f} s.")
    if not all(run.holds for run in runs):
        raise typer.Exit(1)


def _profile(pair: Pair, seed: int) -> MeasuredCosts:
    from adaptive_spec.decoding.profiler import profile_costs

    with progress() as bar:
        task = bar.add_task("profiling", total=None)
        return profile_costs(
            pair.verifier.model,
            pair.make_drafter,
            batch_sizes=(1,),
            contexts=(256,),
            widths=(1, 2, 3, 4, 5, 7, 9, 11),
            repeats=5,
            generator=np.random.default_rng(seed),
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _stream(pair: Pair, request: "Request", costs: MeasuredCosts, rule: "VerificationRule") -> None:
    from adaptive_spec.decoding.requests import TokensEmitted

    answer = AnswerPrinter(pair.verifier)
    for event in pair.engine(make_policy("auto"), costs, rule=rule).run([request]):
        if isinstance(event, TokensEmitted):
            answer.show(event)
    answer.end()


def _live_table(runs: list[LiveRun], plain_ms: float, tokens: int) -> Table:
    table = results_table(
        f"Live, {tokens} tokens each",
        "decisions on profiled times, so that replay sees the same; speed by the clock",
        ["policy", "tokens/s", "over plain", "output as plain", "cycles as replayed"],
    )
    table.add_row("plain decoding", f"{tokens / plain_ms * 1e3:.1f}", "1.00", "", "", style="dim")
    for run in runs:
        table.add_row(
            run.policy,
            f"{tokens / run.measured_ms * 1e3:.1f}",
            f"{plain_ms / run.measured_ms:.2f}",
            "no" if run.different_outputs else "yes",
            "yes" if run.validation.identical else "no",
        )
    return table


def _compare(traces: TraceSet, costs: MeasuredCosts, output: Path, seed: int) -> None:
    policies = ("fixed:tau=1", *DEFAULT_POLICIES)
    with progress() as bar:
        task = bar.add_task("comparing", total=len(policies) + 2)
        comparison = compare(
            policies,
            traces,
            costs=costs,
            seed=seed,
            on_progress=lambda what: bar.update(task, advance=1, description=what),
        )
    results.print(comparison_table(comparison, "Replayed on the trace just recorded"))
    write_json(comparison.as_dict(), output / "comparison.json")


def _step(number: int, text: str) -> None:
    results.print(f"\n{number}. {text}", style="bold", markup=False)
