"""What a diagnosis says: a fault with what it costs, how that shows, and what to do about it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from adaptive_spec._arrays import FloatArray
from adaptive_spec.simulations.bootstrap import Interval
from adaptive_spec.simulations.diagnosis.resamples import interval_of

WORTH_TELLING = 0.03
"""Share of the served time below which a loss is not what holds speed back. Rules that learn while
they decode are about that far from the best constant chosen in hindsight."""


class Figure(NamedTuple):
    """One figure of the evidence.

    Attributes:
      what: it is of.
      value: the figure; ``interval``: it with its 95 % interval, where that is known.
      style: how people are shown it, a format specification.
    """

    what: str
    value: float
    interval: Interval | None = None
    style: str = ".2f"

    @staticmethod
    def of(what: str, samples: FloatArray, style: str = ".2f") -> "Figure":
        """A figure from its point estimate and resamples, ``[1 + R]``."""
        interval = interval_of(samples)
        return Figure(what, interval.value, interval, style)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        interval = None if self.interval is None else list(self.interval[1:])
        return {"what": self.what, "value": self.value, "ci95": interval}


@dataclass(frozen=True)
class Loss:
    """Time that a fault costs.

    Attributes:
      ms: in the unit of the costs, over all requests, with its 95 % interval.
      share: of the served time.
    """

    ms: Interval
    share: float

    @staticmethod
    def worth_telling(lost_ms: FloatArray, served_ms: float) -> "Loss | None":
        """A loss that is no accident, and large enough to matter; None for others.

        Args:
          lost_ms: ``[1 + R]`` point estimate and resamples.
          served_ms: what was served took.
        """
        ms = interval_of(lost_ms)
        if ms.low > 0 and ms.value >= WORTH_TELLING * served_ms:
            return Loss(ms, ms.value / served_ms)
        return None


@dataclass(frozen=True)
class Finding:
    """A fault that was found.

    Attributes:
      name: of the fault.
      loss: time that it costs; None for what is wrong whatever time it takes.
      evidence: figures that show it.
      advice: what to do.
      details: what else is to be known, a sentence each.
    """

    name: str
    loss: Loss | None
    evidence: tuple[Figure, ...]
    advice: str
    details: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        loss = self.loss
        return {
            "name": self.name,
            "lost": None if loss is None else loss.ms.value,
            "ci95": None if loss is None else list(loss.ms[1:]),
            "share_of_served": None if loss is None else loss.share,
            "evidence": [figure.as_dict() for figure in self.evidence],
            "advice": self.advice,
            "details": list(self.details),
        }


@dataclass(frozen=True)
class NotJudged:
    """A fault of which the records cannot tell, and why."""

    name: str
    reason: str


Judgement = Finding | NotJudged | None
"""Of one fault: found, not to be told, or not there."""
