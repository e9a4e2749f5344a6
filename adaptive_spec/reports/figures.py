"""Figures as files, for papers: the charts of a report, drawn by matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from adaptive_spec._files import atomic_write
from adaptive_spec._optional import require
from adaptive_spec.reports.charts import Axis, Chart, Mark, Panel, Series, numbers

Kind: TypeAlias = Literal["png", "svg", "pdf"]
KINDS: tuple[Kind, ...] = ("png", "svg", "pdf")

COLOURS = (
    *("#1f5fbf", "#b04a08", "#17724a", "#8639ad", "#b3261e"),
    *("#0b7081", "#7d5a00", "#a01d68", "#4b5563", "#556700"),
)
"""Dark enough to be read as text on white, and those of the page in the light."""

_SOFT = "#565c67"
_LANE = 9  # points, of a line of labels
_STYLE = {
    "axes.edgecolor": "#c9cbc7",
    "axes.grid": True,
    "axes.labelcolor": _SOFT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.color": "#ecedea",
    "svg.fonttype": "none",
    "svg.hashsalt": "adaptive-spec",  # the same figure is the same file
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
}


def save_figures(panels: Sequence[Panel], folder: Path, kinds: Sequence[Kind]) -> list[Path]:
    """Writes every chart of some panels to a folder, in each of the formats.

    Returns:
      The files, named by panel and number of the chart within it.

    Raises:
      MissingDependencyError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", "figures")
    figure = require("matplotlib.figure", "figures")
    written = []
    for panel in panels:
        for i, chart in enumerate(panel.charts, start=1):
            with matplotlib.rc_context(_STYLE):
                drawn = figure.Figure(figsize=_size(chart), layout="constrained")
                _draw(drawn.subplots(), chart)
                for kind in kinds:
                    path = folder / f"{panel.name}-{i}.{kind}"
                    with atomic_write(path) as temporary:
                        drawn.savefig(temporary, format=kind, dpi=200, metadata=_UNDATED[kind])
                    written.append(path)
    return written


_UNDATED: dict[Kind, dict[str, None]] = {
    "png": {},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def _size(chart: Chart) -> tuple[float, float]:
    """Width and height in inches."""
    if chart.kind == "plane":
        return 6.4, 3.6
    return 6.4, 1.2 + 0.26 * len(chart.series) + _LANE / 72 * len(chart.marks)


def _draw(axes: Any, chart: Chart) -> None:
    labels = sum(mark.axis == "x" for mark in chart.marks)
    axes.set_title(
        _plain(chart.title), loc="left", fontsize=10, fontweight="bold", pad=6 + _LANE * labels
    )
    axes.set_axisbelow(True)
    colours = _colours(chart.series)
    if chart.y is None:
        _rows(axes, chart, colours)
    else:
        _plane(axes, chart, colours)
        axes.set_ylabel(_plain(chart.y.label))
    axes.set_xlabel(_plain(chart.x.label))
    for lane, mark in enumerate(sorted(chart.marks, key=lambda mark: -mark.at)):
        _mark(axes, mark, lane)
    # Only now: limits that are set take in nothing that is drawn later.
    _scale(axes.xaxis, axes.set_xlim, chart.x)
    if chart.y is not None:
        _scale(axes.yaxis, axes.set_ylim, chart.y)


def _mark(axes: Any, mark: Mark, lane: int) -> None:
    """A line across; those of ``x`` are labelled above the axes, each in a lane of its own."""
    upright = mark.axis == "x"
    line = axes.axvline if upright else axes.axhline
    line(mark.at, color=_SOFT, linewidth=0.8, linestyle=(0, (3, 3)), zorder=1)
    axes.annotate(
        _plain(mark.label),
        (mark.at, 1.0) if upright else (1.0, mark.at),
        xycoords=("data", "axes fraction") if upright else ("axes fraction", "data"),
        xytext=(0, 2 + _LANE * lane if upright else 2),
        textcoords="offset points",
        ha="center" if upright else "right",
        fontsize=7,
        color=_SOFT,
    )


def _rows(axes: Any, chart: Chart, colours: Sequence[str]) -> None:
    for i, (one, colour) in enumerate(zip(chart.series, colours, strict=True)):
        [value], low, high = numbers(one.x), numbers(one.low), numbers(one.high)
        if value is None:
            continue
        if low and high and low[0] is not None and high[0] is not None:
            axes.plot([low[0], high[0]], [i, i], color=colour, alpha=0.35, linewidth=4)
        axes.plot([value], [i], "o", color=colour, markersize=5)
    axes.set_yticks(range(len(chart.series)), [_plain(one.name) for one in chart.series])
    axes.set_ylim(len(chart.series) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _plane(axes: Any, chart: Chart, colours: Sequence[str]) -> None:
    for one, colour in zip(chart.series, colours, strict=True):
        x, y = _floats(one.x), _floats(one.y)
        if len(one.low):
            ends = _floats(one.low), _floats(one.high)
            if one.look != "points" and x == sorted(x):
                axes.fill_between(x, *ends, color=colour, alpha=0.13, linewidth=0)
            else:
                axes.vlines(x, *ends, color=colour, alpha=0.35, linewidth=1.2)
        axes.plot(x, y, color=colour, label=_plain(one.name), **_look(one))
    if len(chart.series) > 1:
        axes.legend(fontsize=7, frameon=False, ncols=1 + len(chart.series) // 12)


def _look(one: Series) -> dict[str, Any]:
    if one.look == "points":
        return {"linestyle": "", "marker": "o", "markersize": 6, "markerfacecolor": "white"}
    if one.look == "dashed":
        return {"linewidth": 1.2, "linestyle": (0, (2, 3))}
    return {"linewidth": 1.5, "marker": "o" if len(one.x) <= 24 else "", "markersize": 2.5}


def _colours(series: Sequence[Series]) -> list[str]:
    """Of each series: those of nobody, beside those of policies, stay in the background."""
    someone = any(one.policy for one in series)
    own: dict[str, str] = {}
    found = []
    for one in series:
        if one.look == "dashed" or (someone and one.policy is None):
            found.append(_SOFT)
        else:
            whose = one.policy or one.name
            found.append(own.setdefault(whose, COLOURS[len(own) % len(COLOURS)]))
    return found


def _scale(axis: Any, set_limits: Any, about: Axis) -> None:
    ticker = require("matplotlib.ticker", "figures")
    if about.zero:
        set_limits(0)
    if about.percent:
        axis.set_major_formatter(ticker.PercentFormatter(1.0, decimals=0))
    elif about.whole:
        axis.set_major_locator(ticker.MaxNLocator(integer=True))


def _floats(values: Any) -> list[float]:
    return [float("nan") if value is None else value for value in numbers(values)]


def _plain(text: str) -> str:
    """Text without the sign that begins a formula in matplotlib."""
    return text.replace("$", r"\$")
