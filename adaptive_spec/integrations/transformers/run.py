"""A policy at work: one controller for all requests of a run, and what came of them."""

import threading
from typing import Any, TypedDict, Unpack

from adaptive_spec.constraints import AnyConstraints
from adaptive_spec.controller import UNNAMED, Controller
from adaptive_spec.cost_files import parse_costs
from adaptive_spec.costs import ConstantCosts, CostModel
from adaptive_spec.decoding.requests import Completion
from adaptive_spec.errors import ConfigError
from adaptive_spec.integrations.safety import SafePolicy
from adaptive_spec.integrations.transformers.drafts import DraftSource
from adaptive_spec.integrations.transformers.pace import Pace
from adaptive_spec.integrations.transformers.statistics import Statistics, Tally
from adaptive_spec.operations.operation import Attached, Operation
from adaptive_spec.policy import Policy
from adaptive_spec.registry import make_policy


class Options(TypedDict, total=False):
    """What a run is told besides its policy, by ``adaptive`` and ``adaptive_generate`` alike.

    Attributes:
      costs: prices shown to the policy; None, the default, for ``ConstantCosts()``, which policies
        that follow the measured times, such as "auto", put right.
      constraints: what is promised, of all requests or by class (``Run.request_class``); nothing by
        default.
      max_draft_tokens: K, largest tau; 10 by default.
      seed: all of the policy's randomness derives from it; 0 by default.
      measured_times: tell the policy what its cycles took, as by default. Otherwise it takes the
        cost model's times, and decides alike on every machine.
      keep_cycles: keep every request's tokens and cycles, as ``Run.completions``; not by default.
      operation: metrics, logs, checkpoints, a policy in the shadow, a trial; None, the default, for
        none of it.
      engine: value of the metrics' label of that name, for processes with several runs;
        "transformers" by default.
    """

    costs: CostModel | str | None
    constraints: AnyConstraints
    max_draft_tokens: int
    seed: int
    measured_times: bool
    keep_cycles: bool
    operation: Operation | None
    engine: str


class Run:
    """Drives one policy over calls of ``generate``, from one thread or many.

    Attributes:
      controller: its driver, with a row for each request under way; ``policy``: the policy, behind
        which a static draft length stands in case it fails.
      request_class: class of the requests to come, by name, in the constraints; None for the first.
      begun: requests so far, finished or not.
      lock: held while the controller or the sums are touched.
      attached: what watches the controller; None before the first request, which names the drafter.
    """

    def __init__(self, policy: str | Policy[Any, Any] = "auto", **options: Unpack[Options]) -> None:
        """Sets up a run without requests.

        Args:
          policy: who decides, or its spec.
          options: as ``Options`` has them.

        Raises:
          AdaptiveSpecError: an argument that is not allowed.
        """
        unknown = set(options) - set(Options.__annotations__)
        if unknown:
            raise ConfigError(
                f"adaptive: unknown option {min(unknown)!r}; there are "
                f"{', '.join(Options.__annotations__)}"
            )
        costs = options.get("costs")
        if costs is None:
            costs = ConstantCosts()
        elif isinstance(costs, str):
            costs = parse_costs(costs)
        self._operation = options.get("operation") or Operation()
        self._engine = options.get("engine", "transformers")
        max_draft_tokens = options.get("max_draft_tokens", 10)
        self.policy = SafePolicy(self._operation.around(make_policy(policy)), max_draft_tokens)
        self.controller = Controller(
            self.policy,
            costs=costs,
            max_draft_tokens=max_draft_tokens,
            constraints=options.get("constraints"),
            seed=options.get("seed", 0),
        )
        self.attached: Attached | None = None
        self.measured_times = options.get("measured_times", True)
        self.request_class: str | None = None
        self.lock = threading.RLock()
        self.pace = Pace()
        self.tally = Tally(max_draft_tokens)
        self._completions: list[Completion] | None = [] if options.get("keep_cycles") else None
        self.begun = 0

    @property
    def statistics(self) -> Statistics:
        """Sums over all requests so far; those under way are in with their cycles so far."""
        with self.lock:
            return self.tally.statistics(
                self.controller.ledger, policy_failed=self.policy.failure is not None
            )

    @property
    def completions(self) -> tuple[Completion, ...]:
        """Finished requests with their cycles, for ``adaptive_spec.traces.write_cycles``.

        Raises:
          ConfigError: cycles are not kept.
        """
        if self._completions is None:
            raise ConfigError("completions: cycles are not kept; give keep_cycles=True")
        with self.lock:
            return tuple(self._completions)

    def begin(self, source: DraftSource) -> str:
        """Another request; returns its id.

        Raises:
          ConfigError: the policy cannot be served by this drafter, or the run has had another; or
            what goes around the policy cannot be set up.
          MissingDependencyError: a library that this needs is not installed.
        """
        policy = self.policy.policy
        silent = set(policy.signals) - set(source.signals)
        if policy.looks_inside_draft and policy.needs_signals and (silent or not source.signals):
            raise ConfigError(
                f"policy {type(policy).__name__} looks at what the drafter says of its tokens "
                f"({', '.join(sorted(silent)) or 'anything'}), which {source.name} does not tell; "
                "use a draft model, or another policy such as 'auto'"
            )
        with self.lock:
            if self.controller.drafters not in (UNNAMED, (source.name,)):
                raise ConfigError(
                    f"this run has drafted by {self.controller.drafters[0]}, and what it learned "
                    f"is not true of {source.name}; give that one a run of its own"
                )
            self.controller.name_drafters((source.name,))
            if self.attached is None:
                self.attached = self._operation.attach(self.controller, engine=self._engine)
            self.policy.static_tau = source.static_tau
            self.begun += 1
            return f"generate/{self.begun}"

    def finish(self, completion: Completion) -> None:
        """A request finished."""
        with self.lock:
            self.tally.end(completion.finish_reason)
            self.tally.prefill_ms += completion.prefill_ms
            if self._completions is not None:
                self._completions.append(completion)
