"""Diagnoses for people."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from adaptive_spec.cli.output import STDOUT, ends, results, results_table
from adaptive_spec.simulations.diagnosis import Diagnosis, Figure, Finding, Rivalry

_OVERLAP = (
    "Each loss is what would be saved if that fault alone were gone. They overlap: mend the first, "
    "and diagnose again."
)


def print_diagnosis(found: Diagnosis, source: str, json_file: Path | None) -> None:
    """Prints a diagnosis, unless standard output is to hold JSON alone."""
    if json_file == STDOUT:
        return
    unit = found.time_unit
    _line(f"{source}: {found.requests:,} requests, {found.tokens:,} tokens", "bold")
    _line(
        f"as served ({found.policy}): {found.served.value:,.0f} {unit}; plain decoding: "
        f"{found.plain.value:,.0f}; fastest constant in hindsight (tau = {found.best_tau}): "
        f"{found.best.value:,.0f}"
    )
    _line(f"costs: {found.costs}", "dim")
    for text in found.notes:
        _line(text, "dim")
    _line("")
    if found.healthy:
        _line("healthy" + (", as far as can be told" if found.not_judged else ""), "bold green")
    for number, finding in enumerate(found.findings, start=1):
        _print_finding(number, finding, unit)
    if found.findings:
        _line(_OVERLAP, "dim")
    if found.not_judged:
        _line("\nNot judged:")
        for one in found.not_judged:
            _line(f"  {one.name}: {one.reason}")


def _print_finding(number: int, finding: Finding, unit: str) -> None:
    _line(f"{number}. {finding.name}", "bold red")
    if finding.loss is not None:
        ms = finding.loss.ms
        _line(
            f"   {ms.value:,.0f} {unit} lost ({ms.low:,.0f}..{ms.high:,.0f}), "
            f"{finding.loss.share:.0%} of the time"
        )
    for text in finding.details:
        _line(f"   {text}")
    for figure in finding.evidence:
        _line(f"   - {figure.what}: {_figure(figure)}")
    _line(f"   What to do: {finding.advice}.\n")


def _figure(figure: Figure) -> str:
    shown = format(figure.value, figure.style)
    if figure.interval is None:
        return shown
    low, high = (format(end, figure.style) for end in figure.interval[1:])
    return shown if low == high == shown else f"{shown} ({low}..{high})"


def rivalry_table(found: Rivalry) -> Table:
    """Two drafters, a row for each batch size and group of requests."""
    first, second = found.names
    caption = (
        f"policy: {found.policy}; costs: {found.costs}\n"
        "speed over plain decoding, below it its 95 % interval, by paired bootstrap over requests"
    )
    if found.left_out:
        caption += f"\n{found.left_out} requests are in one trace only, or have other outputs"
    title = f"{first} against {second}: {found.requests} requests"
    names = ["requests", "batch", "number", first, second, "second over\nfirst", "pays"]
    table = results_table(title, caption, names)
    for contest in found.contests:
        ratios = (*contest.speedups, contest.second_over_first)
        table.add_row(
            Text(contest.group),
            str(contest.batch_size),
            str(contest.requests),
            *(f"{ratio.value:.3f}\n{ends(ratio)}" for ratio in ratios),
            Text(contest.pays(found.names)),
        )
    return table


def _line(text: str, style: str = "") -> None:
    results.print(Text(text, style=style))
