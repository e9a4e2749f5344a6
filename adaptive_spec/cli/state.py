"""``adaptive-spec state``: what a policy has learned, looked at and merged from replicas."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from adaptive_spec.cli import options
from adaptive_spec.cli.output import note, results_table, show, write_json
from adaptive_spec.errors import ConfigError
from adaptive_spec.operations.checkpoints import Checkpoint, merge_checkpoints
from adaptive_spec.state import leaves

state_app = typer.Typer(
    help="What a policy has learned: show a checkpoint, merge those of replicas.",
    no_args_is_help=True,
)


@state_app.command("show")
def show_state(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint.", dir_okay=False)],
    json_file: options.JsonOption = None,
) -> None:
    """Show whose state a checkpoint holds, and how large it is."""
    loaded = Checkpoint.load(checkpoint)
    show(_table(loaded, str(checkpoint)), json_file)
    write_json(_as_dict(loaded), json_file)


@state_app.command("merge")
def merge_states(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="Checkpoints of replicas.", dir_okay=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.", dir_okay=False)],
    add: Annotated[
        bool,
        typer.Option("--add", help="Add evidence up, as if one replica had served all requests."),
    ] = False,
    weight: Annotated[
        list[float] | None,
        typer.Option("--weight", help="How much the next checkpoint's evidence counts; repeat."),
    ] = None,
) -> None:
    """Merge what replicas have learned; an average of their evidence, if not said otherwise."""
    if add and weight:
        raise ConfigError("--add and --weight: give one of them; --add is a weight of 1 for each")
    weights = [1.0] * len(checkpoints) if add else weight
    merged = merge_checkpoints([Checkpoint.load(path) for path in checkpoints], weights)
    merged.save(output)
    note(f"{len(checkpoints)} checkpoints merged into {output}")


def _table(checkpoint: Checkpoint, title: str) -> Table:
    header = _as_dict(checkpoint)
    arrays = header.pop("arrays")
    caption = "\n".join(f"{name}: {value}" for name, value in header.items())
    table = results_table(title, caption, ["array", "shape"])
    for name, shape in arrays.items():
        table.add_row(Text(name), " x ".join(map(str, shape)) or "one")
    return table


def _as_dict(checkpoint: Checkpoint) -> dict[str, Any]:
    header = checkpoint.header
    return {
        "policy": header.policy,
        "version": header.version,
        "drafters": list(header.drafters),
        "costs": header.costs,
        "requests": header.requests,
        "arrays": {name: list(leaf.shape) for name, leaf in leaves(checkpoint.shared)},
    }
