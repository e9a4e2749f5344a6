"""The latency target: how long requests may take, nearly all of them or every one."""

import math
from dataclasses import dataclass

from adaptive_spec.errors import ConfigError


@dataclass(frozen=True)
class LatencyTarget:
    """How long the requests of a class may take from their arrival to their last token.

    Attributes:
      target_ms: what a share ``quantile`` of the requests is to stay within, > 0; None for a
        deadline alone.
      quantile: that share, in (0, 1): 0.95 for a p95 target.
      deadline_ms: when a request is ended with the text verified so far
        (``finish_reason="deadline"``), >= ``target_ms``; None to let all finish. No cycle is begun
        that would end later, by the cost model.
      patience: V, how slowly what is done about lateness follows it, in late requests, > 0.
    """

    target_ms: float | None = None
    quantile: float = 0.95
    deadline_ms: float | None = None
    patience: float = 2.0

    def __post_init__(self) -> None:
        for name in ("target_ms", "deadline_ms"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"latency: {name} = {value}; it must be above 0")
        if self.target_ms is None and self.deadline_ms is None:
            raise ConfigError("latency: give target_ms, deadline_ms, or both")
        if not 0 < self.quantile < 1:
            raise ConfigError(
                f"latency: quantile = {self.quantile}; it must be in (0, 1): 0.95 for a p95 target"
            )
        if None not in (self.target_ms, self.deadline_ms) and self.deadline_ms < self.target_ms:  # type: ignore[operator]
            raise ConfigError(
                f"latency: deadline_ms = {self.deadline_ms} is below target_ms = {self.target_ms}, "
                "which would then always be kept; raise the one or drop the other"
            )
        if not 0 < self.patience < math.inf:
            raise ConfigError(f"latency: patience = {self.patience}; it must be above 0")
