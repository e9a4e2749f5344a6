"""``adaptive-spec fit-costs``: what cycles cost where they were served, from their log."""

from pathlib import Path
from typing import Annotated

import typer

from adaptive_spec.cli import options
from adaptive_spec.cli.output import note, show, write_json
from adaptive_spec.cli.profile import costs_table
from adaptive_spec.cost_files import save_costs
from adaptive_spec.errors import ConfigError
from adaptive_spec.served_costs import fit_costs as fitted
from adaptive_spec.traces import read_cycles


def fit_costs(
    log: Annotated[
        Path,
        typer.Argument(
            help="A log of cycles (`generate --cycles`).", show_default=False, metavar="CYCLES"
        ),
    ],
    *,
    output: options.CostsFileOption,
    hardware: Annotated[
        str, typer.Option(help="What to call the machine; logs don't say.")
    ] = "unknown hardware",
    json_file: options.JsonOption = None,
) -> None:
    """Fit costs to the cycles that an engine served, by batch size, width and context.

    Says how near the fit comes, and what is extrapolated; give the file to --costs.
    """
    if output.suffix != ".json":
        raise ConfigError(f"--output {output}: costs are JSON; give a name that ends in .json")
    found = fitted(read_cycles(log), hardware=hardware)
    save_costs(found.costs, output)
    show(costs_table(found.costs), json_file)
    note(f"half of {found.cycles} cycles lie within {found.median_error:.1%} of these costs")
    for text in found.notes:
        note(text)
    note(f"costs written to {output}")
    write_json(
        {
            "costs": str(found.costs),
            "cycles": found.cycles,
            "median_error": found.median_error,
            "notes": list(found.notes),
        },
        json_file,
    )
