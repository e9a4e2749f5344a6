"""Tau and acceptance over time: as a run goes on, and from one end of an answer to the other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.reports.charts import Axis, Chart, Panel, Series
from adaptive_spec.reports.comparisons import scenario_results
from adaptive_spec.reports.reading import Fields
from adaptive_spec.reports.replays import Replayed
from adaptive_spec.traces import LoggedCycle

BINS = 48
"""Stretches into which a run is cut."""

_TAU = Axis("τ: tokens drafted per cycle", zero=True)
_ACCEPTANCE = Axis("drafted tokens that were accepted", zero=True, percent=True)


class _Cycles(NamedTuple):
    """Cycles ``[C]``, in some order: what was drafted, and accepted, at which output position."""

    drafted: IntArray
    accepted: IntArray
    position: IntArray


def of_replays(found: Replayed) -> Panel:
    """Of the policies replayed on a trace."""
    cycles = {}
    for spec in found.specs:
        log = found.log(spec)
        # Requests that know nothing of each other are replayed side by side.
        order = np.lexsort((log.position, log.sequence))
        columns = (log.num_draft_tokens, log.num_accepted_tokens, log.position)
        cycles[spec] = _Cycles(*(column[order] for column in columns))
    says = (
        "Means over equal stretches, replayed on the trace. A policy that learns changes as the "
        "run goes on; one that heeds the text changes along the answer."
    )
    return Panel("over-time", f"τ over time: {found.name}", says, _charts(cycles, of_policies=True))


def of_cycles(name: str, logged: Sequence[LoggedCycle]) -> Panel | None:
    """Of a live engine's log; None where it is empty."""
    if not logged:
        return None
    cycles = _Cycles(
        np.array([cycle.num_draft_tokens for cycle in logged]),
        np.array([cycle.num_accepted_tokens for cycle in logged]),
        np.array([cycle.position for cycle in logged]),
    )
    says = "Means over equal stretches of the log, which was written while it decoded."
    return Panel(
        "over-time", f"τ over time, live: {name}", says, _charts({name: cycles}, of_policies=False)
    )


def _charts(cycles: dict[str, _Cycles], *, of_policies: bool) -> tuple[Chart, ...]:
    """Four charts: tau and acceptance, along the run and along the answer."""
    charts = []
    for along in ("the run", "the answer"):
        series: dict[str, list[Series]] = {"tau": [], "acceptance": []}
        for name, own in cycles.items():
            at = np.arange(own.drafted.size) if along == "the run" else own.position
            begin, tau, accepted = _binned(own, at)
            whose = name if of_policies else None
            series["tau"].append(Series(name, begin, tau, policy=whose))
            series["acceptance"].append(Series(name, begin, accepted, policy=whose))
        x = Axis(
            "cycles since the run began" if along == "the run" else "output position, tokens",
            zero=True,
        )
        charts.append(Chart(f"τ along {along}", x, _TAU, tuple(series["tau"])))
        charts.append(
            Chart(f"acceptance along {along}", x, _ACCEPTANCE, tuple(series["acceptance"]))
        )
    return tuple(charts)


def _binned(cycles: _Cycles, at: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Middle of each stretch, mean tau and share accepted in it; NaN where there is nothing."""
    width = max((int(at.max()) + 1) / BINS, 1.0)
    place = np.minimum((at / width).astype(np.int64), BINS - 1)
    bins = int(place.max()) + 1
    count = np.bincount(place, minlength=bins)
    drafted = np.bincount(place, cycles.drafted, bins)
    accepted = np.bincount(place, cycles.accepted, bins)
    middle: FloatArray = (np.arange(bins, dtype=np.float64) + 0.5) * width
    tau: FloatArray = drafted / np.where(count > 0, count, np.nan)
    share: FloatArray = accepted / np.where(drafted > 0, drafted, np.nan)
    return middle, tau, share


def of_scenario(name: str, given: Fields) -> Panel | None:
    """Of a scenario's requests as they came; None without policies.

    Raises:
      ConfigError: a field is missing or malformed.
    """
    results = scenario_results(given)
    if not results:
        return None
    unit = given.text("time_unit")
    charts = []
    for key, title, axis in (
        ("tau", "τ", _TAU),
        ("batch_size", "requests that run together", Axis("requests in a pass", zero=True)),
        ("waiting", "requests that wait", Axis("requests waiting", zero=True)),
    ):
        series = [
            Series(policy, over.numbers("begin_ms"), over.numbers(key), policy=policy)
            for result in results
            for policy, over in ((result.text("policy"), result.object("over_time")),)
        ]
        charts.append(Chart(title, Axis(f"time, {unit}", zero=True), axis, tuple(series)))
    says = "Means over equal stretches of time, as requests came."
    title = f"Over time, {given.text('scenario')}: {name}"
    return Panel("over-time", title, says, tuple(charts))
