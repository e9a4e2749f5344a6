"""All commands under one name; each lives in a file of its own."""

from typing import Annotated

import typer

from adaptive_spec import __version__
from adaptive_spec.cli.compare import compare
from adaptive_spec.cli.dashboard import dashboard
from adaptive_spec.cli.demo import demo
from adaptive_spec.cli.diagnose import diagnose
from adaptive_spec.cli.distill import distill
from adaptive_spec.cli.evidence import evidence
from adaptive_spec.cli.fit_costs import fit_costs
from adaptive_spec.cli.fit_head import fit_head
from adaptive_spec.cli.generate import generate
from adaptive_spec.cli.groups import with_options
from adaptive_spec.cli.import_file import import_file
from adaptive_spec.cli.policies import policies
from adaptive_spec.cli.profile import profile
from adaptive_spec.cli.promises import promises
from adaptive_spec.cli.recommend import recommend
from adaptive_spec.cli.record import record
from adaptive_spec.cli.report import report
from adaptive_spec.cli.roofline import roofline
from adaptive_spec.cli.simulate import simulate
from adaptive_spec.cli.state import state_app
from adaptive_spec.cli.validate import validate
from adaptive_spec.cli.verify import verify

app = typer.Typer(
    name="adaptive-spec",
    help=(
        "How many tokens should speculative decoding draft? Record a trace of your model pair, "
        "profile what a cycle costs, compare policies on it, validate them live.\n\n"
        "Start with: adaptive-spec demo"
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adaptive-spec {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


app.command("demo")(with_options(demo))
app.command("generate")(with_options(generate))
app.command("record")(with_options(record))
app.command("profile")(with_options(profile))
app.command("roofline")(with_options(roofline))
app.command("fit-costs")(with_options(fit_costs))
app.command("distill")(with_options(distill))
app.command("fit-head")(with_options(fit_head))
app.command("import")(with_options(import_file))
app.command("simulate")(with_options(simulate))
app.command("compare")(with_options(compare))
app.command("evidence")(with_options(evidence))
app.command("promises")(with_options(promises))
app.command("report")(with_options(report))
app.command("recommend")(with_options(recommend))
app.command("diagnose")(with_options(diagnose))
app.command("validate")(with_options(validate))
app.command("verify")(with_options(verify))
app.command("policies")(with_options(policies))
app.command("dashboard")(with_options(dashboard))
app.add_typer(state_app, name="state")
