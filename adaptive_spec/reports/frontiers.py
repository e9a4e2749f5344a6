"""Passes against latency: what every policy, constant and price of a pass comes to."""

from collections.abc import Sequence

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.reports.charts import Axis, Chart, Panel, Series
from adaptive_spec.reports.comparisons import scenario_results
from adaptive_spec.reports.reading import Fields
from adaptive_spec.reports.replays import PRICES, Replayed

_PASSES = Axis("verifier passes per request")
_P95 = 95.0


def of_replays(found: Replayed) -> Panel:
    """The frontier of a trace: constants, foresight at every price of a pass, and policies."""
    unit = found.costs.time_unit
    charts = []
    for title, label, figure in (
        ("95th percentile of the time of a request", f"p95 of decoding a request, {unit}", _p95),
        ("mean time of a request", f"mean time of decoding a request, {unit}", _mean),
    ):
        statics = Series(
            "constant τ, 1 and up",  # plain decoding is far off, and would press all else together
            [_mean(run.cycles) for run in found.statics[1:]],
            [figure(run.time_ms) for run in found.statics[1:]],
            notes=[f"τ = {tau}" for tau in range(1, len(found.statics))],
        )
        foreseen = Series(
            "foresight",
            [_mean(plan.cycles) for plan in found.foreseen],
            [figure(plan.time_ms) for plan in found.foreseen],
            look="points",
            notes=[f"a pass priced at {price:g} plain passes" for price in PRICES],
        )
        policies = [
            Series(
                spec,
                [_mean(run.cycles)],
                [figure(run.time_ms)],
                policy=spec,
                look="points",
            )
            for spec, run in found.runs.items()
        ]
        charts.append(Chart(title, _PASSES, Axis(label), (statics, foreseen, *policies)))
    says = (
        "Each request decoded alone. Left is fewer verifier passes, down is less time: no constant "
        "is best at both, and foresight shows what is left to gain."
    )
    return Panel("frontier", f"Passes and time: {found.name}", says, tuple(charts))


def _mean(values: IntArray | FloatArray) -> float:
    return float(np.mean(values))


def _p95(values: IntArray | FloatArray) -> float:
    return float(np.percentile(values, _P95))


def of_scenario(name: str, given: Fields) -> Panel | None:
    """The frontier of a scenario; points of its policies alone where it was run without prices.

    Raises:
      ConfigError: a field is missing or malformed.
    """
    charts = _priced(given) if given.has("frontiers") else _points(given)
    if not charts:
        return None
    says = "Every request class, served together. Left is fewer verifier passes, down is less time."
    if given.has("frontiers"):
        says += (
            " Lines join constant prices of a pass; the ring is what the controller reached, which "
            "had to find its prices."
        )
    title = f"Passes and latency of {given.text('scenario')}: {name}"
    return Panel("frontier", title, says, tuple(charts))


def _priced(given: Fields) -> list[Chart]:
    frontiers = given.objects("frontiers")
    classes = list(frontiers[0].members("online")) if frontiers else []
    if len(classes) == 2:
        classes = classes[:1]  # "all" is the only class there is
    unit = given.text("time_unit")
    charts = []
    for title, key, axis in (
        ("p95 latency", "p95", Axis(f"p95 latency, {unit}")),
        ("speed", "tokens_per_time", Axis("tokens per time of cycles")),
    ):
        for kind in classes:
            series = [s for one in frontiers for s in _frontier_series(one, kind, key)]
            charts.append(Chart(f"{title} · {kind}", _PASSES, axis, tuple(series)))
    return charts


def _frontier_series(one: Fields, kind: str, key: str) -> list[Series]:
    policy = one.text("policy")
    prices = one.objects("prices")
    points = [price.object(kind) for price in prices]
    values = [point.interval(key) for point in points]
    line = Series(
        policy,
        [point.interval("passes")[0] for point in points],
        [value for value, _, _ in values],
        [low for _, low, _ in values],
        [high for _, _, high in values],
        policy=policy,
        notes=[f"a pass priced at {price.number('price'):g} plain passes" for price in prices],
    )
    online = one.object("online").object(kind)
    value, low, high = online.interval(key)
    reached = Series(
        f"{policy}, online",
        [online.interval("passes")[0]],
        [value],
        [low],
        [high],
        policy=policy,
        look="points",
        notes=["what the controller reached"],
    )
    return [line, reached]


def _points(given: Fields) -> list[Chart]:
    results = scenario_results(given)
    if not results:
        return []
    unit = given.text("time_unit")
    classes = list(results[0].members("classes"))
    charts = [_chart("all", [result.object("all") for result in results], results, unit)]
    if len(classes) > 1:
        for kind in classes:
            figures = [result.object("classes").object(kind) for result in results]
            charts.append(_chart(kind, figures, results, unit))
    return charts


def _chart(kind: str, figures: Sequence[Fields], results: Sequence[Fields], unit: str) -> Chart:
    series = []
    for figure, result in zip(figures, results, strict=True):
        policy = result.text("policy")
        value, low, high = figure.object("latency_ms").interval("p95")
        passes = figure.interval("passes_per_request")[0]
        series.append(
            Series(policy, [passes], [value], [low], [high], policy=policy, look="points")
        )
    return Chart(f"p95 latency · {kind}", _PASSES, Axis(f"p95 latency, {unit}"), tuple(series))
