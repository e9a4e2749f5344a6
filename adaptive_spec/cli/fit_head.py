"""``adaptive-spec fit-head``: the small network of ``disco``, fitted to a trace."""

from pathlib import Path
from typing import Annotated

import typer

from adaptive_spec.cli import options
from adaptive_spec.cli.output import note, results_table, show, write_json
from adaptive_spec.simulations.head_fitting import HeadReport, save_head
from adaptive_spec.simulations.head_fitting import fit_head as fit
from adaptive_spec.traces import read_trace


def fit_head(
    trace: options.TraceArgument,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The head: a .json file.", callback=options.file_to_write
        ),
    ],
    hidden_units: Annotated[
        int, typer.Option(min=1, max=256, help="Width of the network's hidden layer.")
    ] = 8,
    seed: options.SeedOption = 0,
    json_file: options.JsonOption = None,
) -> None:
    """Fit the head of `disco` to one half of a trace, and try it on the other.

    Use it as -p disco:head=FILE. The trace must hold the signals of a draft model.
    """
    traces = read_trace(trace)
    head, report = fit(traces, hidden_units=hidden_units, seed=seed)
    save_head(head, output)
    table = results_table(
        f"{traces.info.verifier}, {traces.info.drafter}: {report.held_out_tokens:,} drafted tokens "
        f"of {report.held_out_sequences} sequences held out",
        _caption(report),
        ["chance of acceptance", "tokens", "predicted", "accepted"],
    )
    for one in report.bins:
        low = min(int(one.predicted * 10), 9)
        table.add_row(
            f"{low / 10:.1f} to {(low + 1) / 10:.1f}",
            f"{one.tokens:,}",
            f"{one.predicted:.3f}",
            f"{one.accepted:.3f}",
        )
    show(table, json_file)
    write_json(report.as_dict(), json_file)
    note(f"head written to {output}")


def _caption(report: HeadReport) -> str:
    return (
        f"fitted on {report.tokens:,} drafted tokens of {report.sequences} other sequences\n"
        f"log-loss {report.log_loss:.3f} nats per token (base rate "
        f"{report.base_rate_log_loss:.3f}, the draft's own probability "
        f"{report.draft_log_loss:.3f})\n"
        f"expected calibration error {report.calibration_error:.3f}"
    )
