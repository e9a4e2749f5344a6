"""The dashboard for Grafana that goes with the metrics, as Grafana imports it."""

from importlib.resources import files


def dashboard_json() -> str:
    """The dashboard; its data source is a variable, chosen after the import."""
    return (files("adaptive_spec.operations") / "dashboard.json").read_text(encoding="utf-8")
