"""``adaptive-spec import-run-lengths``: traces from acceptance recorded elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from adaptive_spec.cli import options
from adaptive_spec.cli.output import note
from adaptive_spec.traces import import_run_lengths as read_run_lengths
from adaptive_spec.traces import write_trace


def import_run_lengths(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON Lines with id, prompt_tokens, run_lengths (for every output position, how "
            "many draft tokens in a row would be accepted from there), optional category and "
            "max_new_tokens.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The trace: a .parquet file.", callback=options.file_to_write
        ),
    ],
    drafter: Annotated[str, typer.Option(help="What drafted, for the record.")] = "imported",
    verifier: Annotated[str, typer.Option(help="What verified, for the record.")] = "unknown",
) -> None:
    """Turn run lengths recorded elsewhere (EAGLE-like drafters, other engines) into a trace."""
    traces = read_run_lengths(file, drafter=drafter, verifier=verifier)
    write_trace(traces, output)
    note(f"{len(traces)} sequences, {traces.num_tokens} tokens: trace written to {output}")
