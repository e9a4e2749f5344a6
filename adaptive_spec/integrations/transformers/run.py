"""A policy at work: one controller for all requests of a run, and what came of them."""

import threading
from typing import Any

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
from adaptive_spec.policy import Policy
from adaptive_spec.registry import make_policy


class Run:
    """Drives one policy over calls of ``generate``, from one thread or many.

    Attributes:
      controller: its driver, with a row for each request under way; ``policy``: the policy, behind
        which a static draft length stands in case it fails.
      request_class: class of the requests to come, by name, in the constraints; None for the first.
      begun: requests so far, finished or not.
      lock: held while the controller or the sums are touched.
    """

    def __init__(
        self,
        policy: str | Policy[Any, Any] = "auto",
        *,
        costs: CostModel | str | None = None,
        constraints: AnyConstraints = None,
        max_draft_tokens: int = 10,
        seed: int = 0,
        measured_times: bool = True,
        keep_cycles: bool = False,
    ) -> None:
        """Sets up a run without requests; arguments as for ``adaptive``.

        Raises:
          AdaptiveSpecError: an argument that is not allowed.
        """
        if costs is None:
            costs = ConstantCosts()
        elif isinstance(costs, str):
            costs = parse_costs(costs)
        self.policy = SafePolicy(make_policy(policy), max_draft_tokens)
        self.controller = Controller(
            self.policy,
            costs=costs,
            max_draft_tokens=max_draft_tokens,
            constraints=constraints,
            seed=seed,
        )
        self.measured_times = measured_times
        self.request_class: str | None = None
        self.lock = threading.RLock()
        self.pace = Pace()
        self.tally = Tally(max_draft_tokens)
        self._completions: list[Completion] | None = [] if keep_cycles else None
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
          ConfigError: the policy cannot be served by this drafter, or the run has had another.
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
