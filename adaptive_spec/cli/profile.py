"""``adaptive-spec profile``: what a cycle costs on this machine."""

from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from adaptive_spec.cli import options
from adaptive_spec.cli.live_options import ModelOptions
from adaptive_spec.cli.output import note, progress, results, results_table
from adaptive_spec.cost_files import save_costs
from adaptive_spec.costs import DraftCurve, MeasuredCosts
from adaptive_spec.errors import ConfigError

_MOST_SEQUENCES, _MOST_TOKENS = 1024, 1 << 20


def profile(
    *,
    output: options.CostsFileOption,
    models: ModelOptions,
    batch_sizes: Annotated[str, typer.Option(help="Sequences per pass.", metavar="N,N...")] = "1,4",
    contexts: Annotated[
        str, typer.Option(help="Tokens before the block.", metavar="N,N...")
    ] = "64,512",
    widths: Annotated[
        str, typer.Option(help="Tokens of a block, per sequence.", metavar="N,N...")
    ] = "1,2,3,4,5,6,7,8,9,11,13,16,17,24,33",
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Measurements of each point.")] = 3,
    seed: options.SeedOption = 0,
) -> None:
    """Measure a verifier pass over block size, context and batch, and a draft step.

    Points are measured interleaved, fitted monotone in the block size, and saved with the name of
    the hardware; give the file to --costs.
    """
    sizes = [
        _numbers(name, text)
        for name, text in (
            ("--batch-sizes", batch_sizes),
            ("--contexts", contexts),
            ("--widths", widths),
        )
    ]
    if output.suffix != ".json":
        raise ConfigError(f"--output {output}: costs are JSON; give a name that ends in .json")
    pair = models.load()
    from adaptive_spec.decoding.profiler import profile_costs

    with progress() as bar:
        task = bar.add_task("profiling", total=None)
        costs = profile_costs(
            pair.verifier.model,
            pair.make_drafter,
            batch_sizes=sizes[0],
            contexts=sizes[1],
            widths=sizes[2],
            repeats=repeats,
            shapes=pair.verifier.shapes,
            generator=np.random.default_rng(seed),
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    save_costs(costs, output)
    results.print(costs_table(costs))
    note(f"costs written to {output}")


def costs_table(costs: MeasuredCosts) -> Table:
    """Measured costs in milliseconds: a column per batch and context, a row per block size."""
    points = [
        (b, c) for b in range(len(costs.batch_sizes)) for c in range(len(costs.context_tokens))
    ]
    heads = [f"batch {costs.batch_sizes[b]}\ncontext {costs.context_tokens[c]}" for b, c in points]
    caption = f"{costs.hardware}; {costs.note}"
    table = results_table("What a cycle takes, in milliseconds", caption, ["", *heads])
    for w, width in enumerate(costs.widths):
        label = f"verify {width}" if width > 1 else "plain pass"
        table.add_row(label, *(f"{costs.verify_grid_ms[b, c, w]:.1f}" for b, c in points))
    others = DraftCurve(costs.draft_start_ms, costs.draft_step_ms)
    for name, curve in costs.drafts or (("", others),):
        by = f" ({name})" if name else ""
        table.add_row(f"begin a draft{by}", *(f"{curve.start_ms[b, c]:.2f}" for b, c in points))
        table.add_row(f"draft a token{by}", *(f"{curve.step_ms[b, c]:.2f}" for b, c in points))
    return table


def _numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(item) for item in text.split(","))
    except ValueError:
        raise ConfigError(f"{name} {text!r}: give whole numbers, as in 1,2,4") from None
    most = _MOST_SEQUENCES if name == "--batch-sizes" else _MOST_TOKENS
    if not all(1 <= number <= most for number in numbers):
        raise ConfigError(f"{name} {text!r}: allowed are 1 to {most}")
    return numbers
