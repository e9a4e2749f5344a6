"""How results are shown: tables and progress for people, JSON for machines."""

import json
import math
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from adaptive_spec._files import atomic_write
from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.bootstrap import Interval
from adaptive_spec.simulations.comparison import Comparison, Entry
from adaptive_spec.simulations.summary import Summary

STDOUT = Path("-")

notes = Console(stderr=True, highlight=False, emoji=False)
"""Progress and remarks go to standard error, so that standard output holds results alone."""

_WIDTH_OF_FILES = 110
_LABEL_WIDTH = 14
_SUMMARY_NAMES = [
    "policy",
    "tokens\n/cycle",
    "passes\n/request",
    "accep-\nted",
    "wasted\ndrafts",
    "time",
]
_RATIO_NAMES = ["over\nplain", "over best\nstatic", "share\nof span"]
_STACKED_NAMES = ["policy", "tok./cycle\npasses/req", "accepted\nwasted", "time", *_RATIO_NAMES]

results = Console(highlight=False, emoji=False)
if not results.is_terminal:
    results = Console(highlight=False, emoji=False, width=_WIDTH_OF_FILES)
"""Results."""


def note(text: str) -> None:
    """A remark of one line, however long it is and whatever it quotes."""
    notes.print(text, markup=False, soft_wrap=True)


def progress() -> Progress:
    """A progress bar on standard error, if somebody is watching."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=notes,
        transient=True,
        disable=not notes.is_terminal,
    )


def write_json(data: object, target: Path | None) -> None:
    """Writes JSON to a file, to standard output ("-"), or nowhere (None)."""
    if target is None:
        return
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    if target == STDOUT:
        results.file.write(text)
        return
    try:
        with atomic_write(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--json {target}: cannot be written ({error.strerror})") from None
    note(f"results written to {target}")


def write_page(page: str, target: Path | None, json_file: Path | None) -> None:
    """Writes a page to a file, or to standard output ("-", None) unless JSON is there alone."""
    if target is not None and target != STDOUT:
        with atomic_write(target) as temporary:
            temporary.write_text(page, encoding="utf-8")
        note(f"page written to {target}")
    elif json_file != STDOUT:
        print_exactly(page)


def print_exactly(text: str) -> None:
    """Prints a model's text as it is: its tabs, brackets and long lines too."""
    results.file.write(text)
    results.file.flush()


def show(table: Table, target: Path | None) -> None:
    """Prints a table, unless standard output is to hold JSON alone."""
    if target != STDOUT:
        results.print(table)


def comparison_table(comparison: Comparison, title: str) -> Table:
    """The comparison, one policy a row, the marks first."""
    tau, source = comparison.best_static_tau, comparison.best_static_from
    caption = (
        f"costs: {comparison.costs}; time in {comparison.time_unit}\n"
        f"best static tau = {tau}, chosen on {source}\n"
        "below each ratio its 95 % interval, by paired bootstrap over prompts\n"
        "faster, slower: than the best static tau, significantly (5 %, Holm's correction for all "
        "policies); same: within 1 %; open: more prompts would tell"
    )
    marks = [
        _comparison_row("plain decoding", comparison.plain),
        _comparison_row(f"best static (tau={tau})", comparison.best_static),
        _comparison_row("clairvoyant optimum", comparison.optimum),
    ]
    rows = [_comparison_row(entry.summary.policy, entry) for entry in comparison.policies]
    names, padding = _SUMMARY_NAMES + _RATIO_NAMES, 1
    if _width_of([names, *marks, *rows]) > results.width:
        names, padding = _STACKED_NAMES, 0
        marks, rows = list(map(_stacked, marks)), list(map(_stacked, rows))
    shares = _shares_of([entry.summary for entry in comparison.policies])
    table = results_table(title, "\n".join([caption, *shares]), names, padding)
    for row in marks[:2]:
        table.add_row(*row, style="dim")
    for row in rows:
        table.add_row(*row)
    table.add_row(*marks[2], style="dim")
    return table


def summary_table(summaries: list[Summary], title: str, caption: str) -> Table:
    """Replays, one policy a row."""
    caption = "\n".join([caption, *_shares_of(summaries)])
    table = results_table(title, caption, _SUMMARY_NAMES)
    for summary in summaries:
        table.add_row(*_summary_row(summary.policy, summary))
    return table


def _shares_of(summaries: list[Summary]) -> list[str]:
    """Who drafted in how many cycles, a line per policy; none where there is one drafter only."""
    lines = [
        f"  {summary.policy}: "
        + ", ".join(f"{d.name} {d.cycles / summary.cycles:.0%}" for d in summary.drafters)
        for summary in summaries
        if len(summary.drafters) > 1
    ]
    return ["cycles drafted by:", *lines] if lines else []


def results_table(title: str, caption: str, names: list[str], padding: int = 1) -> Table:
    """An empty table in the style of all results: labels left, figures right."""
    table = Table(
        title=Text(title, style="bold"),
        caption=Text(caption, style="dim"),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, padding),
    )
    table.add_column(names[0], overflow="fold", min_width=_LABEL_WIDTH)
    for name in names[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _width_of(rows: list[list[str]]) -> int:
    """Width of a table of these rows, its labels folded."""
    columns = zip(*(row[1:] for row in rows), strict=True)
    widths = [max(len(line) for cell in cells for line in cell.split("\n")) for cells in columns]
    return _LABEL_WIDTH + sum(widths) + 3 * (len(widths) + 1)


def _stacked(row: list[str]) -> list[str]:
    """A row of the comparison for narrow terminals: two pairs of figures above each other."""
    label, tokens, passes, accepted, wasted, *others = row
    return [label, f"{tokens}\n{passes}", f"{accepted}\n{wasted}", *others]


def _summary_row(label: str, summary: Summary) -> list[str]:
    return [
        escape(label),
        known(summary.tokens_per_cycle, ".2f"),
        known(summary.passes_per_request, ".1f"),
        known(summary.acceptance_rate, ".0%"),
        f"{summary.wasted_draft_tokens:,}",
        f"{summary.time_ms:,.0f}",
    ]


def _comparison_row(label: str, entry: Entry) -> list[str]:
    return [
        *_summary_row(label, entry.summary),
        _ratio(entry.speedup_over_plain),
        "\n".join(filter(None, [_ratio(entry.speedup_over_best_static), _verdict(entry)])),
        _percent(entry.span_share),
    ]


def known(value: float, style: str) -> str:
    """A figure, formatted; "-" for not-a-number: there is none."""
    return "-" if math.isnan(value) else format(value, style)


def _verdict(entry: Entry) -> str:
    return "" if entry.against_best_static is None else str(entry.against_best_static)


def _ratio(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "-"
    return f"{interval.value:.3f}\n{ends(interval)}"


def ends(interval: Interval, digits: int = 2) -> str:
    """Both ends of an interval; nothing for one that is infinite."""
    low_high = (interval.low, interval.high)
    return "..".join("" if math.isinf(end) else f"{end:.{digits}f}" for end in low_high)


def _percent(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.value:+.0%}\n{interval.low:+.0%}..{interval.high:+.0%}"


def rounded(value: float, digits: int = 3) -> Any:
    """A number for JSON, shortened to what was measured."""
    return round(value, digits)
