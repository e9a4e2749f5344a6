"""The dashboard asks for metrics that there are, and can be imported."""

import json
import re
from pathlib import Path
from typing import Any

from adaptive_spec.operations.dashboard import dashboard_json
from adaptive_spec.operations.metrics import METRICS, PREFIX
from tests.cli.running import succeed

DASHBOARD: dict[str, Any] = json.loads(dashboard_json())


def queries() -> list[str]:
    """Every query of panels and variables."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    variables = DASHBOARD["templating"]["list"]
    return found + [v["query"]["query"] for v in variables if v["type"] == "query"]


def test_every_query_names_exported_metrics() -> None:
    exported = {name for metric in METRICS for name in metric.exported}
    for query in queries():
        names = set(re.findall(rf"{PREFIX}\w+", query))
        assert names, query
        assert names <= exported, query


def test_every_metric_is_shown() -> None:
    shown = " ".join(queries())
    unseen = {
        metric.name
        for metric in METRICS
        if not any(re.search(rf"{name}\b", shown) for name in metric.exported)
    }
    # What is shown as a ratio of counters is not shown as a gauge again.
    assert unseen == {
        *("recent_fallback_share", "recent_cycle_time_ratio", "recent_draft_time_share"),
        "ledger_tokens",
    }


def test_queries_group_by_labels_that_there_are() -> None:
    labels = {"engine", "le"} | {label for metric in METRICS for label in metric.labels}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"] + target["legendFormat"]
            grouped = re.findall(r"by \(([\w, ]+)\)", text) + re.findall(r"\{\{(\w+)\}\}", text)
            assert {name for group in grouped for name in group.split(", ")} <= labels, text


def test_it_is_what_grafana_imports() -> None:
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= set(DASHBOARD)
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${datasource}"
            assert target["expr"].count("(") == target["expr"].count(")")


def test_the_command_writes_it(tmp_path: Path) -> None:
    assert json.loads(succeed("dashboard").out) == DASHBOARD
    path = tmp_path / "new" / "dashboard.json"
    assert str(path) in succeed("dashboard", "-o", path).err.replace("\n", "")
    assert json.loads(path.read_text(encoding="utf-8")) == DASHBOARD
