"""Who watches a controller: metrics, logs, shadows. They are told what it does, and change nothing.

``controller.watch(observer)`` is all it takes; the engine behind the controller need not know. An
observer that fails is logged once and told no more: no request is lost over a metric.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from adaptive_spec._arrays import IntArray
from adaptive_spec._rows import Counters
from adaptive_spec.policy import Cycle, Outcome

_log = logging.getLogger(__name__)

Step: TypeAlias = Literal["decide", "keep_drafting", "update"]
"""What a policy was asked to do."""


class Admitted(NamedTuple):
    """Requests that were taken in, ``[n]`` each.

    Attributes:
      rows: given to them; ``sequence_id``: as in ``Cycle``.
      request_class: number of each one's class in the controller's constraints.
      prompt_tokens: lengths of their prompts.
      request_ids: what the engine calls them; None where it did not say.
    """

    rows: IntArray
    sequence_id: IntArray
    request_class: IntArray
    prompt_tokens: IntArray
    request_ids: Sequence[str] | None


class Observer:
    """Is told what a controller does, in the order in which it happens; here it heeds nothing.

    What it is given is the controller's own and must not be changed.
    """

    def admitted(self, requests: Admitted) -> None:
        """Requests were taken in."""

    def decided(self, rows: IntArray, cycle: Cycle, tau: IntArray, drafter: IntArray) -> None:
        """A cycle of ``rows`` was planned; ``tau`` and ``drafter`` are the plan's, ``[B]``."""

    def observed(self, rows: IntArray, outcome: Outcome) -> None:
        """The outcome of a cycle came in; of rows that are still in use, as the policy is told."""

    def released(self, rows: IntArray, counters: Counters, finished: bool) -> None:
        """Rows were given back.

        Args:
          rows: ``[n]``.
          counters: of their requests, at the end.
          finished: False for requests that were cancelled.
        """

    def thought(self, step: Step, spent_ms: float) -> None:
        """The policy was asked for something, and took that long to answer."""


class Observers:
    """All observers of a controller."""

    def __init__(self) -> None:
        """Begins with none."""
        self._all: tuple[Observer, ...] = ()

    def add(self, observer: Observer) -> None:
        """Takes one more, which is told from now on."""
        self._all = (*self._all, observer)

    def tell(self, what: Callable[[Observer], None]) -> None:
        """Tells all of them; one that raises is dropped."""
        for observer in self._all:
            try:
                what(observer)
            except Exception:  # noqa: BLE001  # whatever it is, requests go on
                self._all = tuple(other for other in self._all if other is not observer)
                _log.exception(
                    "observer %s failed and is told no more; requests go on",
                    type(observer).__name__,
                )

    def thought(self, step: Step, began_s: float) -> None:
        """Tells that the policy has answered; ``began_s`` is ``time.perf_counter()`` before."""
        if self._all:
            spent_ms = 1000.0 * (time.perf_counter() - began_s)
            self.tell(lambda observer: observer.thought(step, spent_ms))
