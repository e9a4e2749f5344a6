"""A whole report: results in, sections of panels out, as one JSON object."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from adaptive_spec._version import __version__
from adaptive_spec.reports import (
    calibration,
    comparisons,
    cost_curves,
    frontiers,
    hazards,
    over_time,
)
from adaptive_spec.reports.charts import Panel
from adaptive_spec.reports.intake import Results
from adaptive_spec.reports.reading import Fields
from adaptive_spec.reports.replays import Replayed
from adaptive_spec.reports.viewer import Pieces, viewer
from adaptive_spec.traces.exactness import MEANING

Found = Iterable[Panel | None]


@dataclass(frozen=True)
class Section:
    """Panels about one thing: its ``name`` in links, its ``title``, and the panels."""

    name: str
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Attributes:
      title: of the page; ``headlines``: what results come to, in a sentence each.
      remarks: what a reader must know beside it, such as that a trace was sampled.
      sections: in order; those without panels too, for the page says so.
      viewers: requests token by token, one for each trace.
      results: what it was made of.
    """

    title: str
    headlines: tuple[str, ...]
    remarks: tuple[str, ...]
    sections: tuple[Section, ...]
    viewers: tuple[dict[str, Any], ...]
    results: Results

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, in order."""
        return tuple(panel for section in self.sections for panel in section.panels)

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON object."""
        charts = [chart for panel in self.panels for chart in panel.charts]
        series = [one for chart in charts for one in chart.series]
        requests = [request for shown in self.viewers for request in shown["requests"]]
        return {
            "format": "adaptive-spec.report",
            "version": 1,
            "package_version": __version__,
            "title": self.title,
            "headlines": list(self.headlines),
            "remarks": list(self.remarks),
            "sources": [source._asdict() for source in self.results.sources],
            "policies": _distinct(
                *(one.policy for one in series), *(p for v in self.viewers for p in v["policies"])
            ),
            "categories": sorted(
                _distinct(
                    *(chart.category for chart in charts),
                    *(one.category for one in series),
                    *(request["category"] for request in requests),
                )
            ),
            "sections": [
                {
                    "name": section.name,
                    "title": section.title,
                    "panels": [panel.as_dict() for panel in section.panels],
                }
                for section in self.sections
            ],
            "viewers": list(self.viewers),
        }


def make_report(
    title: str,
    results: Results,
    replays: Sequence[Replayed] = (),
    *,
    pieces: Sequence[Pieces | None] | None = None,
    seed: int = 0,
) -> Report:
    """Makes the report of some results.

    Args:
      title: of the page.
      results: as ``read_results`` gives them.
      replays: of policies on the traces among them.
      pieces: what makes text of tokens, for each of the replays; None where nobody knows it.
      seed: of the intervals.

    Raises:
      ConfigError: a result lacks a field, or has a malformed one.
    """
    compared = {
        **results.comparisons,
        **{one.name: Fields(one.name, one.comparison) for one in replays if one.comparison},
    }
    found: list[tuple[str, str, Found]] = [
        (
            "comparison",
            "Policies",
            (
                *(comparisons.of_comparison(name, one) for name, one in compared.items()),
                *(comparisons.of_scenario(name, one) for name, one in results.scenarios.items()),
                *(comparisons.of_evidence(name, one) for name, one in results.evidence.items()),
            ),
        ),
        (
            "frontier",
            "Passes and latency",
            (
                *(frontiers.of_replays(one) for one in replays),
                *(frontiers.of_scenario(name, one) for name, one in results.scenarios.items()),
            ),
        ),
        (
            "over-time",
            "Over time",
            (
                *(over_time.of_replays(one) for one in replays),
                *(over_time.of_cycles(name, one) for name, one in results.cycles.items()),
                *(over_time.of_scenario(name, one) for name, one in results.scenarios.items()),
            ),
        ),
        (
            "hazards",
            "Drafter",
            (hazards.of_trace(name, one, seed) for name, one in results.traces.items()),
        ),
        (
            "costs",
            "Costs",
            (
                *(cost_curves.of_replays(one) for one in replays),
                *(cost_curves.of_profile(name, one) for name, one in results.costs.items()),
            ),
        ),
        (
            "calibration",
            "Signals",
            (
                *(calibration.of_trace(one.name, one.traces) for one in replays),
                *(calibration.of_replays(one) for one in replays),
            ),
        ),
    ]
    sections = _named([Section(name, said, _there(some)) for name, said, some in found])
    texts = [None] * len(replays) if pieces is None else pieces
    viewers = [viewer(one, text) for one, text in zip(replays, texts, strict=True)]
    headlines = (comparisons.headline(one) for one in compared.values())
    return Report(
        title,
        tuple(said for said in headlines if said is not None),
        tuple(_remarks(replays, viewers)),
        sections,
        tuple(viewers),
        results,
    )


def _there(panels: Found) -> tuple[Panel, ...]:
    return tuple(panel for panel in panels if panel is not None and panel.charts)


def _named(sections: list[Section]) -> tuple[Section, ...]:
    """The sections with names of panels that are unique, for links and files."""
    return tuple(
        Section(
            section.name,
            section.title,
            tuple(
                Panel(f"{section.name}-{i}", panel.title, panel.says, panel.charts)
                for i, panel in enumerate(section.panels, start=1)
            ),
        )
        for section in sections
    )


def _remarks(replays: Sequence[Replayed], viewers: Sequence[dict[str, Any]]) -> Iterable[str]:
    for one, shown in zip(replays, viewers, strict=True):
        if len(one.traces) < one.whole:
            yield (
                f"{one.name}: policies were replayed on {len(one.traces):,} of its "
                f"{one.whole:,} requests, evenly spread over each category."
            )
        if not shown["exact"]:
            grade = one.traces.info.exactness
            yield f"{one.name}: {grade}: {MEANING[grade]}."
        if not shown["has_text"]:
            yield (
                f"{one.name}: tokens have no text here: the trace holds none, or the verifier's "
                "tokenizer was not at hand."
            )


def _distinct(*names: str | None) -> list[str]:
    """Names in the order in which they first appear."""
    return list(dict.fromkeys(name for name in names if name))
