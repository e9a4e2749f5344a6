"""What a product promises: a pass budget and a latency target, for every class of requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from adaptive_spec.constraints.latency_target import LatencyTarget
from adaptive_spec.constraints.pass_budget import PassBudget
from adaptive_spec.errors import ConfigError

ONLY_CLASS = "all"
"""What requests are called where they are not told apart."""

MAX_CLASSES = 64


@dataclass(frozen=True)
class Constraints:
    """What is promised to a class of requests; nothing by default.

    Attributes:
      budget: verifier passes; None for as many as it takes.
      latency: time from arrival to the last token; None for any.
    """

    budget: PassBudget | None = None
    latency: LatencyTarget | None = None

    @property
    def shared(self) -> bool:
        """Whether what one request spends matters to the next."""
        budget, latency = self.budget, self.latency
        return (budget is not None and budget.average_passes is not None) or (
            latency is not None and latency.target_ms is not None
        )

    @property
    def can_end_requests(self) -> bool:
        """Whether a request may be ended before its text is."""
        budget, latency = self.budget, self.latency
        return (budget is not None and (budget.hard or budget.max_passes is not None)) or (
            latency is not None and latency.deadline_ms is not None
        )


@dataclass(frozen=True)
class ByClass:
    """Constraints of every class of requests; classes do not share credit or blame.

    Attributes:
      names: of the classes, in the order of their numbers.
      constraints: of each.
    """

    names: tuple[str, ...] = (ONLY_CLASS,)
    constraints: tuple[Constraints, ...] = field(default=(Constraints(),))

    @staticmethod
    def of(given: "AnyConstraints") -> "ByClass":
        """Constraints as they are given to a controller: of all requests, by class, or none.

        Raises:
          ConfigError: no class, or more than 64.
        """
        if isinstance(given, ByClass):
            return given
        if not isinstance(given, Mapping):
            return ByClass((ONLY_CLASS,), (given or Constraints(),))
        if not 1 <= len(given) <= MAX_CLASSES:
            raise ConfigError(
                f"constraints: {len(given)} classes of requests; allowed are 1 to {MAX_CLASSES}"
            )
        return ByClass(tuple(given), tuple(given.values()))

    def number(self, name: str) -> int:
        """The class of that name.

        Raises:
          ConfigError: there is none.
        """
        if name not in self.names:
            raise ConfigError(
                f"request class {name!r}: there is none of that name; there are "
                f"{', '.join(self.names)}"
            )
        return self.names.index(name)


AnyConstraints: TypeAlias = Constraints | Mapping[str, Constraints] | ByClass | None
"""Constraints as they are given: of all requests, by class, or none."""
