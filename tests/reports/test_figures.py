"""Every chart as a file, the same each time, its text as it is."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from adaptive_spec.reports.charts import Axis, Chart, Mark, Panel, Series
from adaptive_spec.reports.figures import save_figures

PANEL = Panel(
    "costs-1",
    "t",
    "s",
    (
        Chart(
            "rows of $policies$",
            Axis("times", percent=True),
            None,
            (
                Series("a_{b$", [1.0], low=[0.5], high=[2.0], policy="a"),
                Series("open", [1.5], low=[1.0], high=[None], policy="b"),
            ),
            (Mark("x", 1.0, "plain"),),
        ),
        Chart(
            "plane",
            Axis("τ", zero=True, whole=True),
            Axis("ms"),
            (
                Series("line", [0, 1, 2], [1.0, None, 3.0], [0.5, None, 2.5], [1.5, None, 3.5]),
                Series("back", [2, 1], [1.0, 2.0], [0.5, 1.5], [1.5, 2.5], policy="a"),
                Series("dot", [1], [2.0], policy="a", look="points"),
                Series("all", [0, 2], [1.0, 1.0], look="dashed"),
            ),
        ),
    ),
)


def test_every_chart_becomes_a_file_of_each_kind(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = save_figures([PANEL], tmp_path, ["png", "svg"])
    assert [path.name for path in written] == [
        *("costs-1-1.png", "costs-1-1.svg", "costs-1-2.png", "costs-1-2.svg")
    ]
    assert written[0].read_bytes().startswith(b"\x89PNG")
    text = "".join(ET.parse(written[1]).getroot().itertext())  # noqa: S314 - made here
    assert "rows of $policies$" in text
    assert "a_{b$" in text
    before = [path.read_bytes() for path in written]
    save_figures([PANEL], tmp_path, ["png", "svg"])
    assert [path.read_bytes() for path in written] == before
