"""What became of each request: one record when it ends, for logs and for spans."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec._rows import Counters
from adaptive_spec.controller import Controller
from adaptive_spec.observers import Admitted, Observer
from adaptive_spec.policy import Outcome

_DRAFTED, _ACCEPTED, _FALLBACK = range(3)


@dataclass(frozen=True)
class RequestRecord:
    """A request that ended.

    Attributes:
      request_id: the engine's; "#" and the number of the sequence where it gave none.
      request_key: hash of that, as in ``Cycle``.
      request_class: name of its class in the controller's constraints.
      finished: False where it was cancelled.
      began_s, ended_s: when it was admitted and released, seconds since 1970.
      prompt_tokens, emitted_tokens: lengths.
      passes: verifier passes; ``fallback_passes``: those in which nothing was drafted though
        something could have been.
      draft_tokens, accepted_tokens: drafted and verified, and of these, emitted.
      waited_ms: before decoding began; ``decode_ms``: since then, as the controller was told.
    """

    request_id: str
    request_key: int
    request_class: str
    finished: bool
    began_s: float
    ended_s: float
    prompt_tokens: int
    emitted_tokens: int
    passes: int
    fallback_passes: int
    draft_tokens: int
    accepted_tokens: int
    waited_ms: float
    decode_ms: float


class Requests(Observer):
    """Follows the requests of a controller, and hands on a record of each that ends."""

    def __init__(
        self,
        controller: Controller,
        *sinks: Callable[[RequestRecord], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Watches from now on; requests that run already are followed from here.

        Args:
          controller: to be watched.
          sinks: given every record.
          clock: seconds since 1970.
        """
        self._controller, self._sinks, self._clock = controller, sinks, clock
        self._began: dict[int, tuple[str | None, float]] = {}  # by row: id, and when
        self._sums = np.zeros((0, 3), np.int64)
        controller.watch(self)

    def admitted(self, requests: Admitted) -> None:
        self._make_room()
        self._sums[requests.rows] = 0
        now, ids = self._clock(), requests.request_ids
        for i, row in enumerate(requests.rows.tolist()):
            self._began[row] = (None if ids is None else ids[i]), now

    def observed(self, rows: IntArray, outcome: Outcome) -> None:
        self._make_room()
        self._sums[rows, _DRAFTED] += outcome.num_draft_tokens
        self._sums[rows, _ACCEPTED] += outcome.num_accepted_tokens
        self._sums[rows, _FALLBACK] += (outcome.tau == 0) & (outcome.cycle.max_tau > 0)

    def released(self, rows: IntArray, counters: Counters, finished: bool) -> None:
        self._make_room()
        now, names = self._clock(), self._controller.constraints.names
        for i, row in enumerate(rows.tolist()):
            one, sums = counters.take(i), self._sums[row].tolist()
            name, began = self._began.pop(row, (None, now))
            record = RequestRecord(
                request_id=f"#{int(one.sequence_id)}" if name is None else name,
                request_key=int(one.request_key),
                request_class=names[int(one.request_class)],
                finished=finished,
                began_s=began,
                ended_s=now,
                prompt_tokens=int(one.prompt_tokens),
                emitted_tokens=int(one.emitted_tokens),
                passes=int(one.passes),
                fallback_passes=sums[_FALLBACK],
                draft_tokens=sums[_DRAFTED],
                accepted_tokens=sums[_ACCEPTED],
                waited_ms=float(one.waited_ms),
                decode_ms=float(one.elapsed_ms),
            )
            for sink in self._sinks:
                sink(record)

    def _make_room(self) -> None:
        more = self._controller.capacity - self._sums.shape[0]
        if more > 0:
            self._sums = np.pad(self._sums, ((0, more), (0, 0)))
