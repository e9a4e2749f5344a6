"""Charts as data: what the page draws with SVG, and ``figures`` with matplotlib.

A section makes records, not pictures, so that one record serves the page, the files for papers and
the tests.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Look: TypeAlias = Literal["line", "points", "dashed"]
"""How a series is drawn: joined points, points alone, or a dashed line without points."""

Numbers: TypeAlias = "Sequence[float | None] | npt.NDArray[Any]"

_DIGITS = 5


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
      label: what is measured, with its unit.
      zero: whether it begins at 0.
      percent: whether values are shares, shown in percent; ``whole``: whether they are integers.
    """

    label: str
    zero: bool = False
    percent: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Series:
    """Points that belong together.

    Attributes:
      name: label.
      x, y: ``[n]``; None where nothing is known. In a chart of rows ``y`` is empty.
      low, high: ``[n]`` ends of intervals: of ``y``, or in a chart of rows of ``x``; or empty.
      policy, category: whose it is, for the page's filters; None for nobody's: it always shows.
      look: how it is drawn.
      notes: ``[n]`` a remark on each point, or empty.
    """

    name: str
    x: Numbers
    y: Numbers = ()
    low: Numbers = ()
    high: Numbers = ()
    policy: str | None = None
    category: str | None = None
    look: Look = "line"
    notes: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """The series as a JSON object; numbers are rounded, what is not finite becomes None."""
        columns = {name: numbers(getattr(self, name)) for name in ("x", "y", "low", "high")}
        return {
            "name": self.name,
            **columns,
            "policy": self.policy,
            "category": self.category,
            "look": self.look,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Mark:
    """A labelled line across a chart, at a value of one axis."""

    axis: Literal["x", "y"]
    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """One picture.

    Attributes:
      title: what tells it from the others of its panel.
      x, y: axes. A chart of rows has no ``y``: every series is a row, labelled by its name.
      series, marks: what is drawn.
      category: of the prompts it is about; None for all.
      kind: "plane", or "rows" of points with intervals.
    """

    title: str
    x: Axis
    y: Axis | None
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()
    category: str | None = None

    @property
    def kind(self) -> Literal["plane", "rows"]:
        """Whether it is a plane of two axes, or rows along one."""
        return "rows" if self.y is None else "plane"

    def as_dict(self) -> dict[str, Any]:
        """The chart as a JSON object."""
        return {
            "title": self.title,
            "kind": self.kind,
            "x": vars(self.x),
            "y": None if self.y is None else vars(self.y),
            "series": [one.as_dict() for one in self.series],
            "marks": [{**vars(mark), "at": rounded(mark.at)} for mark in self.marks],
            "category": self.category,
        }


@dataclass(frozen=True)
class Panel:
    """Charts that answer one question; the page shows one of them at a time.

    Attributes:
      name: unique within the page, for links and files: letters, digits and dashes.
      title: the question, or its answer; ``says``: how to read it, in a sentence or two.
      charts: at least one.
    """

    name: str
    title: str
    says: str
    charts: tuple[Chart, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """The panel as a JSON object."""
        return {
            "name": self.name,
            "title": self.title,
            "says": self.says,
            "charts": [chart.as_dict() for chart in self.charts],
        }


def numbers(values: Numbers) -> list[float | None]:
    """Values for JSON: rounded, None for what is missing or not finite."""
    listed: Iterable[Any] = values.tolist() if isinstance(values, np.ndarray) else values
    return [rounded(value) for value in listed]


def rounded(value: float | None) -> float | None:
    """A number as a page needs it: five significant digits; None if it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
