"""Which policy is fastest: rows of policies with their intervals, from every kind of result."""

from collections.abc import Sequence
from typing import NamedTuple

from adaptive_spec.reports.charts import Axis, Chart, Mark, Panel, Series
from adaptive_spec.reports.reading import Fields
from adaptive_spec.simulations.bootstrap import Interval
from adaptive_spec.simulations.evidence.results import CHOSEN, HINDSIGHT, OPTIMUM, Cell, Evidence


class _Figure(NamedTuple):
    """A figure of a policy.

    Attributes:
      key: its name in results; ``title``: of its chart; ``axis``: what it measures.
      less: whether less of it is better.
    """

    key: str
    title: str
    axis: Axis
    less: bool = False


_RATIOS = (
    _Figure("speedup_over_plain", "speed over plain decoding", Axis("times plain decoding")),
    _Figure("speedup_over_best_static", "speed over the best constant", Axis("times that")),
    _Figure(
        "span_share",
        "share of the way from the best constant to foresight",
        Axis("share of the way", percent=True),
    ),
)
_TOTALS = (
    _Figure("tokens_per_cycle", "tokens per verifier pass", Axis("tokens per pass", zero=True)),
    _Figure(
        "passes_per_request",
        "passes per request",
        Axis("verifier passes per request", zero=True),
        less=True,
    ),
    _Figure(
        "acceptance_rate",
        "acceptance",
        Axis("drafted tokens that were accepted", zero=True, percent=True),
    ),
    _Figure(
        "wasted_draft_tokens",
        "wasted drafts",
        Axis("drafted tokens not emitted", zero=True),
        less=True,
    ),
    _Figure("time", "time", Axis("time", zero=True), less=True),
)


def of_comparison(name: str, given: Fields) -> Panel | None:
    """The panel of what ``compare`` or ``simulate`` wrote; None where it has no policies.

    Raises:
      ConfigError: a field is missing or malformed.
    """
    entries = given.objects("policies")
    if not entries:
        return None
    marks = _marks(given)
    unit = given.text("time_unit")
    charts = []
    for figure in (*_RATIOS, *_TOTALS):
        rows = [_row(entry, figure.key) for entry in entries if entry.has(figure.key)]
        if not rows:
            continue
        axis = Axis(f"time, {unit}", zero=True) if figure.key == "time" else figure.axis
        lines = [
            Mark("x", mark.number(figure.key), label)
            for label, mark in marks.items()
            if mark.has(figure.key)
        ]
        ranked = _ranked(rows, less=figure.less)
        charts.append(Chart(figure.title, axis, None, tuple(ranked), tuple(lines)))
    says = f"Costs: {given.text('costs')}."
    if marks:
        where = given.object("best_static").text("chosen_on")
        says += f" Bars are 95 % intervals over prompts. The best constant was chosen on {where}."
    return Panel("comparison", f"Policies compared: {name}", says, tuple(charts))


def _marks(given: Fields) -> dict[str, Fields]:
    """What policies are held against, by label; nothing for a simulation."""
    if not given.has("plain", "best_static", "optimum"):
        return {}
    tau = given.object("best_static").number("tau")
    return {
        "plain": given.object("plain"),
        f"best constant, τ = {tau:.0f}": given.object("best_static"),
        "foresight": given.object("optimum"),
    }


def _row(entry: Fields, key: str) -> Series:
    policy = entry.text("policy")
    value = entry.number(key)
    ends: list[float | None] = []
    if entry.has("ci95") and entry.object("ci95").has(key):
        ends = entry.object("ci95").numbers(key)
    low, high = (ends[:1], ends[1:2]) if len(ends) == 2 else ([], [])
    notes = []
    if key == "speedup_over_best_static" and _verdict(entry):
        notes = [f"verdict, for all policies together: {_verdict(entry)}"]
    return Series(policy, [value], low=low, high=high, policy=policy, notes=notes)


def _verdict(entry: Fields) -> str | None:
    """Whether it is faster or slower than the best constant; None where nobody tested it."""
    if not entry.has("against_best_static"):
        return None
    return entry.object("against_best_static").text("verdict")


def _ranked(rows: Sequence[Series], *, less: bool = False) -> list[Series]:
    """The best first, ties as given; ``less``: whether less is better."""
    sign = 1.0 if less else -1.0
    return sorted(rows, key=lambda row: sign * float(row.x[0] or 0.0))


def of_evidence(name: str, evidence: Evidence) -> Panel | None:
    """The panel of evidence, a chart per cell; None where there are no cells."""
    charts = [chart for cell in evidence.cells if (chart := _cell_chart(cell)) is not None]
    if not charts:
        return None
    charts.sort(key=lambda chart: chart.category is not None)  # mixtures first
    says = (
        "Speed over plain decoding on prompts that nothing was chosen on, for every drafter, cost "
        "point and category. Bars are 95 % intervals."
    )
    return Panel("evidence", f"Evidence: {name}", says, tuple(charts))


def _cell_chart(cell: Cell) -> Chart | None:
    if not cell.policies:
        return None
    rows = [_interval_row(policy, verdict.over_plain) for policy, verdict in cell.policies.items()]
    labels = {
        CHOSEN: f"constant chosen beforehand, τ = {cell.chosen_tau}",
        HINDSIGHT: f"in hindsight, τ = {cell.hindsight_tau}",
        OPTIMUM: "foresight",
    }
    marks = [
        Mark("x", cell.marks[mark].over_plain.value, label)
        for mark, label in labels.items()
        if mark in cell.marks
    ]
    title = f"{cell.drafter} · {cell.costs} · {cell.category or 'all categories'}"
    axis = Axis("times plain decoding")
    return Chart(title, axis, None, tuple(_ranked(rows)), tuple(marks), cell.category)


def _interval_row(policy: str, figure: Interval) -> Series:
    return Series(policy, [figure.value], low=[figure.low], high=[figure.high], policy=policy)


def of_scenario(name: str, given: Fields) -> Panel | None:
    """The panel of what a scenario came to: speed, and every promise; None without policies."""
    results = scenario_results(given)
    if not results:
        return None
    rows: list[Series] = []
    promises: dict[str, tuple[float, list[Series]]] = {}
    for result in results:
        policy = result.text("policy")
        value, low, high = result.interval("speedup_over_plain")
        rows.append(Series(policy, [value], low=[low], high=[high], policy=policy))
        for promise in result.objects("promises"):
            about = f"{promise.text('promise')} · {promise.text('request_class')}"
            was, least, most = promise.interval("value")
            kept = promise.text("verdict")
            row = Series(policy, [was], low=[least], high=[most], policy=policy, notes=[kept])
            promises.setdefault(about, (promise.number("target"), []))[1].append(row)
    speed = Chart(
        "speed over plain decoding", Axis("times plain decoding"), None, tuple(_ranked(rows))
    )
    charts = [
        Chart(about, Axis(about), None, tuple(own), (Mark("x", target, "promised"),))
        for about, (target, own) in promises.items()
    ]
    unit = given.text("time_unit")
    says = f"{given.number('requests'):,.0f} requests as they come; times in {unit}."
    return Panel("scenario", f"Scenario {given.text('scenario')}: {name}", says, (speed, *charts))


def scenario_results(given: Fields) -> list[Fields]:
    """The result of each policy, held to what was promised (of ``simulate`` or ``promises``)."""
    return [
        entry.object("held") if entry.has("held") else entry for entry in given.objects("policies")
    ]


def headline(given: Fields) -> str | None:
    """What a comparison comes to, in a sentence; None where it has no policies or no marks."""
    entries = [e for e in given.objects("policies") if e.has("speedup_over_plain")]
    if not entries or not given.has("best_static"):
        return None
    best = max(entries, key=lambda entry: entry.number("speedup_over_plain"))
    text = (
        f"{best.text('policy')} is the fastest of {len(entries)}: "
        f"{best.number('speedup_over_plain'):.2f} times plain decoding"
    )
    if best.has("speedup_over_best_static"):
        over = best.number("speedup_over_best_static")
        tau = given.object("best_static").number("tau")
        text += f", {over:.2f} times the best constant (τ\u00a0=\u00a0{tau:.0f})"
        if _verdict(best) == "open":
            text += ", which may be chance"
    if best.has("span_share") and best.number("span_share") > 0:
        text += f", and {best.number('span_share'):.0%} of the way from there to foresight"
    return text + "."


def compared_policies(given: Fields) -> list[str]:
    """The policies of a comparison, the fastest first.

    Raises:
      ConfigError: a field is missing or malformed.
    """
    times = {entry.text("policy"): entry.number("time") for entry in given.objects("policies")}
    return sorted(times, key=times.__getitem__)
