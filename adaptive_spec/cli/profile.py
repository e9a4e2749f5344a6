"""``adaptive-spec profile``: what a cycle costs on this machine."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from adaptive_spec.cli import options
from adaptive_spec.cli.live import Pair
from adaptive_spec.cli.output import note, progress, results
from adaptive_spec.cost_files import save_costs
from adaptive_spec.costs import MeasuredCosts
from adaptive_spec.errors import ConfigError

_MOST_SEQUENCES, _MOST_TOKENS = 1024, 1 << 20


def profile(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Where the costs go: a .json.",
            callback=options.file_to_write,
        ),
    ],
    verifier: options.VerifierOption = "builtin",
    drafter: options.DrafterOption = "lookup",
    batch_sizes: Annotated[str, typer.Option(help="Sequences per pass.", metavar="N,N...")] = "1,4",
    contexts: Annotated[
        str, typer.Option(help="Tokens before the block.", metavar="N,N...")
    ] = "64,512",
    widths: Annotated[
        str, typer.Option(help="Tokens of a block, per sequence.", metavar="N,N...")
    ] = "1,2,3,4,5,6,7,8,9,11,13,16,17,24,33",
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Measurements of each point.")] = 3,
    seed: options.SeedOption = 0,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = None,
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
    pair = Pair.load(verifier, drafter, dtype, device)
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
            generator=np.random.default_rng(seed),
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    save_costs(costs, output)
    results.print(costs_table(costs))
    note(f"costs written to {output}")


def costs_table(costs: MeasuredCosts) -> Table:
    """Measured costs, in milliseconds, a row per batch and context."""
    table = Table(
        title=Text(f"Verifier pass (ms) by tokens per sequence; {costs.hardware}"),
        caption=Text(f"{costs.note}; draft: to begin + per token"),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("batch", justify="right")
    table.add_column("context", justify="right")
    for width in costs.widths:
        table.add_column(str(width), justify="right")
    table.add_column("draft", justify="right")
    for b, batch in enumerate(costs.batch_sizes):
        for c, context in enumerate(costs.context_tokens):
            table.add_row(
                str(batch),
                str(context),
                *(f"{value:.0f}" for value in costs.verify_grid_ms[b, c]),
                f"{costs.draft_start_ms[b, c]:.1f} + {costs.draft_step_ms[b, c]:.2f}",
            )
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
