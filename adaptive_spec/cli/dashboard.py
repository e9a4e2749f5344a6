"""``adaptive-spec dashboard``: metrics as Grafana shows them."""

from pathlib import Path
from typing import Annotated

import typer

from adaptive_spec._files import atomic_write
from adaptive_spec.cli.output import STDOUT, note, print_exactly
from adaptive_spec.operations.dashboard import dashboard_json


def dashboard(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write; - prints it.", dir_okay=False),
    ] = STDOUT,
) -> None:
    """Write the Grafana dashboard of the exported metrics, as JSON to import."""
    text = dashboard_json()
    if output == STDOUT:
        print_exactly(text)
        return
    with atomic_write(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    note(f"dashboard written to {output}; in Grafana: Dashboards, New, Import")
