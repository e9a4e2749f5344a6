"""What a policy does in a scenario under its promises, and what it does on its own."""

from typing import Any, NamedTuple

from adaptive_spec.registry import make_policy
from adaptive_spec.simulations.scenarios.overruling import Overruled, watched
from adaptive_spec.simulations.scenarios.running import ScenarioResult, ScenarioRun


class Trial(NamedTuple):
    """A policy, with promises and without, on the same requests.

    Attributes:
      held: it was held to the promises; ``overruled``: how often that took a decision out of its
        hands.
      alone: nothing was promised; its verdicts say what would have become of the same promises.
    """

    held: ScenarioResult
    overruled: Overruled
    alone: ScenarioResult

    @property
    def policy(self) -> str:
        """Its spec."""
        return self.held.policy

    def as_dict(self) -> dict[str, Any]:
        """The trial as a JSON object."""
        return {
            "policy": self.policy,
            "held": self.held.as_dict(),
            "overruled": self.overruled._asdict(),
            "alone": self.alone.as_dict(),
        }


def tried(run: ScenarioRun, spec: str) -> Trial:
    """Serves all requests with a policy twice: held to the promises, and on its own."""
    watch = watched(make_policy(spec))
    held = run.judged(spec, run.serve(watch, run.scenario.constraints(run.costs)))
    return Trial(held, watch.overruled, run.judged(spec, run.serve(spec, None)))
