"""All that goes around a policy, as one record: what an adapter's configuration holds.

policy = operation.around(make_policy("auto"))
controller = Controller(policy, costs=costs)
attached = operation.attach(controller)
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from adaptive_spec.controller import Controller
from adaptive_spec.errors import ConfigError
from adaptive_spec.operations.checkpoints import Checkpoint, Saver
from adaptive_spec.operations.logs import Log
from adaptive_spec.operations.notices import Notices
from adaptive_spec.operations.prometheus import (
    Exporter,
    common_exporter,
    host_and_port,
    serve_metrics,
)
from adaptive_spec.operations.requests import RequestRecord, Requests
from adaptive_spec.operations.shadow import Shadow
from adaptive_spec.operations.spans import Spans
from adaptive_spec.operations.split import Split
from adaptive_spec.operations.tallies import Tallies
from adaptive_spec.operations.trial_report import TrialWatch
from adaptive_spec.operations.wrapped import innermost
from adaptive_spec.policy import Policy
from adaptive_spec.registry import make_policy


class Attached(NamedTuple):
    """What watches a controller; None for what was not asked for.

    Attributes:
      tallies: counts behind the metrics; shadow: the other policy; trial: counts of both arms.
    """

    tallies: Tallies | None
    shadow: Shadow | None
    trial: TrialWatch | None


@dataclass(frozen=True)
class Operation:
    """What goes around a policy; nothing by default.

    Attributes:
      metrics: whether metrics are exported for Prometheus, in the registry of the process.
      serve_metrics: "HOST:PORT" to serve that registry at, for processes that nobody scrapes
        otherwise (vLLM's engine is one); None for nowhere.
      logs: whether requests and notable events are logged, to ``adaptive_spec.operations``.
      spans: whether each request gets a span of OpenTelemetry.
      checkpoint: file with what was learned: restored at the start, if it is there, and saved
        every ``save_every_s`` seconds, > 0; None for none.
      shadow: spec of a policy that follows in the shadow; None for none.
      trial: spec of a policy that gets ``trial_share`` of the requests, in [0, 1], drawn by their
        ids and ``trial_salt``; None for none.
    """

    metrics: bool = False
    serve_metrics: str | None = None
    logs: bool = False
    spans: bool = False
    checkpoint: str | None = None
    save_every_s: float = 60.0
    shadow: str | None = None
    trial: str | None = None
    trial_share: float = 0.1
    trial_salt: str = ""

    def __post_init__(self) -> None:
        if not self.save_every_s > 0:
            raise ConfigError(f"save_every_s = {self.save_every_s}; it must be above 0")
        if self.serve_metrics is not None:
            host_and_port(self.serve_metrics)
        if not 0 <= self.trial_share <= 1:
            raise ConfigError(f"trial_share = {self.trial_share}; it must be in [0, 1]")

    def around(self, policy: Policy[Any, Any]) -> Policy[Any, Any]:
        """The policy itself, or a trial of which it is the control.

        Raises:
          PolicySpecError: a trial of an unknown policy.
        """
        if self.trial is None:
            return policy
        return Split(policy, make_policy(self.trial), self.trial_share, self.trial_salt)

    def attach(
        self, controller: Controller, *, engine: str = "0", exporter: Exporter | None = None
    ) -> Attached:
        """Has a controller watched, and restores what was learned.

        Args:
          controller: of the policy that ``around`` gave, before its first request, and after its
            engine was made: that names the drafters.
          engine: value of the metrics' label, for processes with several controllers.
          exporter: of the metrics; None for the one that the process has in common.

        Raises:
          ConfigError: a checkpoint that does not fit, or is damaged; an address that is taken.
          MissingDependencyError: a library that what was asked for needs is not installed.
        """
        if self.checkpoint is not None:
            if Path(self.checkpoint).exists():
                Checkpoint.load(self.checkpoint, controller.policy).restore(controller)
            Saver(controller, self.checkpoint, every_s=self.save_every_s)
        tallies = None
        if self.serve_metrics is not None:
            serve_metrics(self.serve_metrics)
        if self.metrics or self.serve_metrics is not None:
            tallies = (exporter or common_exporter()).watch(controller, engine)
        inner = innermost(controller.policy)
        trial = TrialWatch(inner) if isinstance(inner, Split) else None
        sinks: list[Callable[[RequestRecord], None]] = [] if trial is None else [trial]
        if self.logs:
            log = Log()
            Notices(controller, log)
            sinks.append(log.request)
        if self.spans:
            sinks.append(Spans())
        if sinks:
            Requests(controller, *sinks)
        shadow = None if self.shadow is None else Shadow(controller, self.shadow)
        return Attached(tallies, shadow, trial)
