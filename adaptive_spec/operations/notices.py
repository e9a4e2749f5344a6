"""What an operator is told of as it happens: promises, fallback, a policy that failed."""

import logging
from typing import Any

from adaptive_spec._arrays import IntArray
from adaptive_spec._rows import Counters
from adaptive_spec.controller import Controller
from adaptive_spec.observers import Observer, Step
from adaptive_spec.operations.logs import Log
from adaptive_spec.operations.wrapped import failure_of, spec_of
from adaptive_spec.policy import Outcome

_PACE = 1.0 - 1.0 / 64.0
"""Weight of older cycles in the share of fallback, per cycle."""
_ENTERED, _LEFT = 0.9, 0.5
"""Fallback is entered above the one share and left below the other: probes do not end it."""


class Notices(Observer):
    """Writes to a log when something notable happens to a controller.

    ===================  ========================================================================
    event                when
    ===================  ========================================================================
    infeasible           a class's promises are declared infeasible; with the nearest feasible ones
    feasible again       and when that is taken back
    fallback entered     nothing was drafted in most recent cycles, though something could have been
    fallback left        and when drafting pays again
    policy failed        the policy failed, and whoever stands before it goes on without it
    ===================  ========================================================================
    """

    def __init__(self, controller: Controller, log: Log) -> None:
        """Watches from now on."""
        self._controller, self._log = controller, log
        self._infeasible: set[str] = set()
        self._share, self._falling_back, self._failed = 0.0, False, False
        controller.watch(self)

    def observed(self, rows: IntArray, outcome: Outcome) -> None:
        able = outcome.cycle.max_tau > 0
        if not able.any():
            return
        silent = float((outcome.tau[able] == 0).mean())
        self._share = _PACE * self._share + (1.0 - _PACE) * silent
        was = self._falling_back
        self._falling_back = self._share > (_LEFT if was else _ENTERED)
        if self._falling_back != was:
            event = "fallback entered" if self._falling_back else "fallback left"
            self._log.write(event, share=self._share, batch_size=outcome.cycle.batch_size)

    def released(self, rows: IntArray, counters: Counters, finished: bool) -> None:
        for name, known in self._controller.feasibility.items():
            if known.infeasible == (name in self._infeasible):
                continue
            if not known.infeasible:
                self._infeasible.remove(name)
                self._log.write("feasible again", request_class=name, requests=known.requests)
                continue
            self._infeasible.add(name)
            self._log.write(
                "infeasible",
                logging.WARNING,
                request_class=name,
                reason=str(known),
                requests=known.requests,
                least_passes=known.least_passes,
                least_latency_ms=known.least_latency_ms,
                passes_for_latency=known.passes_for_latency,
                latency_for_budget_ms=known.latency_for_budget_ms,
            )

    def thought(self, step: Step, spent_ms: float) -> None:
        failure = failure_of(self._controller.policy)
        if failure is None or self._failed:
            return
        self._failed = True
        fields: dict[str, Any] = {"policy": spec_of(self._controller.policy), "step": step}
        error = f"{type(failure).__name__}: {failure}"
        self._log.write("policy failed", logging.ERROR, **fields, error=error)
