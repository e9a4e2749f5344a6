"""What is promised: pass budgets and latency targets as options of a command."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from adaptive_spec.constraints import Constraints, LatencyTarget, PassBudget
from adaptive_spec.errors import ConfigError

_PANEL = "Constraints"
_QUANTILE = 0.95


@dataclass(frozen=True)
class ConstraintOptions:
    """A pass budget and a latency target (docs/constraints.md)."""

    average_passes: Annotated[
        float | None,
        typer.Option(help="Verifier passes to keep on average.", rich_help_panel=_PANEL),
    ] = None
    passes_per: Annotated[
        Literal["request", "token"],
        typer.Option(help="What the average counts by.", rich_help_panel=_PANEL),
    ] = "request"
    hard_average: Annotated[
        bool,
        typer.Option(
            "--hard-average",
            help="Never exceed the average by more than --burst-passes in all.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    burst_passes: Annotated[
        float | None,
        typer.Option(help="Of a hard average; default: 20.", rich_help_panel=_PANEL),
    ] = None
    max_passes: Annotated[
        int | None,
        typer.Option(help="Most verifier passes of one request.", rich_help_panel=_PANEL),
    ] = None
    when_spent: Annotated[
        Literal["end", "carry-on"],
        typer.Option(
            help="What a request without passes left does: end with the text so far, or go on over "
            "budget with the longest drafts.",
            rich_help_panel=_PANEL,
        ),
    ] = "end"
    latency_target: Annotated[
        float | None,
        typer.Option(
            help="Time from arrival to the last token to keep, in the unit of the costs: ms of a "
            "profile or a live run, otherwise plain verifier passes.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    latency_quantile: Annotated[
        float,
        typer.Option(help="Share of requests to keep it for.", rich_help_panel=_PANEL),
    ] = _QUANTILE
    deadline: Annotated[
        float | None,
        typer.Option(
            help="Time from arrival after which a request ends with the text so far; in the same "
            "unit.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    def chosen(self) -> Constraints:
        """What the options promise.

        Raises:
          ConfigError: values out of range, contradictions, and options without what they refine.
        """
        return Constraints(self._budget(), self._latency())

    def _budget(self) -> PassBudget | None:
        hard = self.hard_average
        if self.burst_passes is not None and not hard:
            raise ConfigError("--burst-passes belongs to --hard-average; give both or neither")
        if self.average_passes is None and (hard or self.passes_per != "request"):
            raise ConfigError("--hard-average and --passes-per need --average-passes")
        if self.when_spent != "end" and not (hard or self.max_passes is not None):
            raise ConfigError("--when-spent needs --max-passes or --hard-average")
        if self.average_passes is None and self.max_passes is None:
            return None
        burst = {} if self.burst_passes is None else {"burst_passes": self.burst_passes}
        return PassBudget(
            self.average_passes,
            per=self.passes_per,
            hard=hard,
            max_passes=self.max_passes,
            when_spent=self.when_spent,
            **burst,
        )

    def _latency(self) -> LatencyTarget | None:
        if self.latency_target is None and self.latency_quantile != _QUANTILE:
            raise ConfigError("--latency-quantile needs --latency-target")
        if self.latency_target is None and self.deadline is None:
            return None
        return LatencyTarget(self.latency_target, self.latency_quantile, self.deadline)
