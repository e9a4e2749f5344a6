from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from adaptive_spec.cli.groups import with_options


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(help="How wide.", min=1)] = 3
    tags: Annotated[list[str] | None, typer.Option("--tag")] = None


LARGE = Size(width=30)


def narrow(*, name: Annotated[str, typer.Argument()] = "x", size: Size, loud: bool = False) -> None:
    """Says what it was given."""
    typer.echo(f"{name} {size} {loud}")


def wide(*, size: Size = LARGE) -> None:
    typer.echo(str(size))


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        (narrow, [], "x Size(width=3, tags=None) False"),
        (narrow, ["y", "--width", "5", "--loud"], "y Size(width=5, tags=None) True"),
        (narrow, ["--tag", "a", "--tag", "b"], "x Size(width=3, tags=['a', 'b']) False"),
        (wide, [], "Size(width=30, tags=None)"),
        (wide, ["--width", "4"], "Size(width=4, tags=None)"),
    ],
)
def test_a_group_is_filled_from_options_of_its_own(
    command: object, arguments: list[str], said: str
) -> None:
    app = typer.Typer()
    app.command()(with_options(command))  # type: ignore[arg-type]
    assert CliRunner().invoke(app, arguments).output.strip() == said


def test_options_stand_where_the_group_stood_and_keep_their_checks() -> None:
    app = typer.Typer()
    app.command()(with_options(narrow))
    text = CliRunner().invoke(app, ["--help"]).output
    assert "Says what it was given." in text
    assert text.index("--width") < text.index("--tag") < text.index("--loud")
    assert CliRunner().invoke(app, ["--width", "0"]).exit_code == 2
