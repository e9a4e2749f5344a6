"""How long cycles take in fact, against what the cost model says.

Cost models are measured beforehand, or typed in as ratios; what is served may be slower all over,
or its drafter alone, and that may change as it runs. So that a policy that follows the measured
time is not led astray, time is counted in the model's own milliseconds: measured time over the
ratio of measured to modelled verifier passes, and draft steps at what they were found to take.
"""

from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray
from adaptive_spec.policy import MAX_DRAFTERS, Cycle, Outcome

_MEMORY = 0.85
"""Weight of older cycles, per cycle."""
_FARTHEST = 100.0
"""Ratios are taken to be within this and its inverse."""
_SAME = 1e-6


class Timing(NamedTuple):
    """Discounted times of drafting, by drafter, and last of verifying, ``[M + 1]``.

    Attributes:
      measured: in milliseconds; ``modelled``: of the same cycles by the cost model.
    """

    measured: FloatArray
    modelled: FloatArray

    @classmethod
    def fresh(cls) -> "Timing":
        """Before any cycle."""
        return cls(np.zeros(MAX_DRAFTERS + 1), np.zeros(MAX_DRAFTERS + 1))

    def after(self, outcome: Outcome) -> "Timing":
        """After a cycle, in which all rows waited for the slowest."""
        cycle, costs = outcome.cycle, outcome.cycle.costs
        at = cycle.batch_size, _most(cycle.prompt_tokens + cycle.emitted_tokens)
        steps = outcome.num_draft_tokens
        widest = _most(steps)
        if outcome.decision.catch_up is not None:
            steps = np.maximum(steps, outcome.decision.catch_up)
        measured, modelled = self.measured.copy(), self.modelled.copy()
        alone = len(cycle.drafters) == 1
        for i, name in enumerate(cycle.drafters):
            own = steps if alone else steps[outcome.drafter == i]
            # Where several drafters drafted in turn, their times can't be told apart.
            if own.size == 0 or (not alone and own.size < (steps > 0).sum()):
                continue
            most = _most(own)
            if most[0] == 0:
                continue
            measured[i] = _MEMORY * measured[i] + _most(outcome.draft_ms)[0]
            modelled[i] = _MEMORY * modelled[i] + costs.of_drafter(name).draft_ms(most, *at)[0]
        measured[-1] = _MEMORY * measured[-1] + _most(outcome.verify_ms)[0]
        modelled[-1] = _MEMORY * modelled[-1] + costs.verify_ms(widest, *at)[0]
        return Timing(measured, modelled)

    def unit(self) -> float:
        """Measured milliseconds for each of the model's."""
        return self._ratio(MAX_DRAFTERS)

    def priced_ms(self, cycle: Cycle, drafter: int | None = None) -> FloatArray:
        """``Cycle.priced_ms`` of a drafter as it is found to be, ``[B or 1, K + 1]``."""
        i = drafter or 0
        several = len(cycle.drafters) > 1 and drafter is not None
        priced = cycle.priced_ms(np.full(cycle.max_tau.size, i) if several else None)
        slower = self._ratio(i) / self.unit() - 1.0
        if abs(slower) < _SAME or self.modelled[i] == 0.0:
            return priced
        tau = np.arange(priced.shape[1])
        context = np.full(tau.size, (cycle.prompt_tokens + cycle.emitted_tokens).max())
        costs = cycle.costs.of_drafter(cycle.drafters[i])
        draft = costs.draft_ms(tau, cycle.batch_size, context)
        return priced + slower * draft

    def spent_ms(self, outcome: Outcome) -> FloatArray:
        """Priced time of a cycle in the model's milliseconds, ``[B]``, > 0."""
        return self.cycle_ms(outcome) + outcome.cycle.pass_price_ms

    def cycle_ms(self, outcome: Outcome) -> FloatArray:
        """Time of a cycle in the model's milliseconds, ``[B]``, > 0."""
        return np.maximum(outcome.cycle_ms / self.unit(), 1e-9)

    def _ratio(self, i: int) -> float:
        modelled = float(self.modelled[i])
        if modelled <= 0.0:
            return 1.0
        return min(max(float(self.measured[i]) / modelled, 1.0 / _FARTHEST), _FARTHEST)


def _most(values: Any) -> Any:
    """The largest of some, at least one, ``[1]``; of one sequence's there is no need to look."""
    return values if values.size == 1 else values.max(keepdims=True)
