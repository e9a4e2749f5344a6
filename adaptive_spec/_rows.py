"""The controller's books: one row of counters per running sequence, the lowest free one first."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray

UNLIMITED_TOKENS = 1 << 30
"""Limit of a sequence whose length is not bounded beforehand."""

UNLIMITED_PASSES = 1 << 30
"""Most passes of a sequence that sets itself no limit."""


class Counters(NamedTuple):
    """Counters of rows, ``[capacity]`` or ``[B]``; meanings as in ``policy.Cycle``.

    Attributes:
      sequence_id: -1 where the row is free.
      observed_cycles: cycles whose outcome has come in, <= ``cycle_index``.
      limit_tokens: most tokens to emit; ``draftable_tokens``: output positions within the
        drafter's context.
      request_class: number of its class of requests.
      request_key: hash of the request's id, >= 0.
      most_passes: that the request itself may take; ``UNLIMITED_PASSES`` where it sets no limit.
      given_passes: credit that hard pass budgets gave it; ``own_passes``: what it has left of that.
      waited_ms: time from its arrival until decoding began; ``elapsed_ms`` since then.
      cycles_by_tau: observed cycles by draft tokens asked for, ``[capacity or B, K + 1]``;
        ``cycles_by_accepted``: by those that were accepted.
    """

    sequence_id: IntArray
    cycle_index: IntArray
    observed_cycles: IntArray
    prompt_tokens: IntArray
    emitted_tokens: IntArray
    limit_tokens: IntArray
    draftable_tokens: IntArray
    request_class: IntArray
    request_key: IntArray
    most_passes: IntArray
    given_passes: FloatArray
    own_passes: FloatArray
    waited_ms: FloatArray
    elapsed_ms: FloatArray
    cycles_by_tau: IntArray
    cycles_by_accepted: IntArray

    @property
    def passes(self) -> IntArray:
        """Verifier passes decided so far, one a cycle."""
        return self.cycle_index

    def take(self, index: Any) -> "Counters":
        """Those at ``index``: numbers of rows, or a slice."""
        columns: Iterator[Any] = (column[index] for column in self)
        return Counters(*columns)


class RowTable:
    """Counters by row. Arrays are replaced and never changed: who was shown one may keep it."""

    def __init__(self, max_draft_tokens: int) -> None:
        """Sets up a table without rows."""
        self._max_draft_tokens = max_draft_tokens
        self._counters = _free(0, max_draft_tokens)
        self._admitted = 0

    @property
    def capacity(self) -> int:
        """Rows allocated, running or free."""
        return int(self._counters.sequence_id.size)

    @property
    def running(self) -> IntArray:
        """Rows in use, ascending."""
        return np.flatnonzero(self._counters.sequence_id >= 0)

    def at(self, rows: IntArray) -> Counters:
        """Counters of these rows, ``[B]``."""
        if rows.size == self.capacity:
            return self._counters
        return self._counters.take(rows)

    def add(
        self,
        prompt: IntArray,
        limit: IntArray,
        draftable: IntArray,
        request_class: IntArray,
        own_passes: FloatArray,
        waited_ms: FloatArray,
        most_passes: IntArray,
        request_key: IntArray | None = None,
    ) -> IntArray:
        """Rows for new sequences, ``[n]``: the lowest that are free; allocates more if need be.

        A sequence without a key has its number for one.
        """
        n = prompt.size
        free = np.flatnonzero(self._counters.sequence_id < 0)
        if free.size < n:
            self._grow(max(self.capacity + n - free.size, 2 * self.capacity))
            free = np.flatnonzero(self._counters.sequence_id < 0)
        rows = free[:n]
        none = np.zeros(n, np.int64)
        number = self._admitted + np.arange(n)
        no_cycles = np.zeros((n, self._max_draft_tokens + 1), np.int64)
        self.change(
            rows,
            sequence_id=number,
            cycle_index=none,
            observed_cycles=none,
            prompt_tokens=prompt,
            emitted_tokens=none,
            limit_tokens=limit,
            draftable_tokens=draftable,
            request_class=request_class,
            request_key=number if request_key is None else request_key,
            most_passes=most_passes,
            given_passes=own_passes,
            own_passes=own_passes,
            waited_ms=waited_ms,
            elapsed_ms=np.zeros(n),
            cycles_by_tau=no_cycles,
            cycles_by_accepted=no_cycles,
        )
        self._admitted += n
        return rows

    def change(self, rows: IntArray, **columns: Any) -> None:
        """Sets counters of some rows; each value is ``[B]`` (``[B, K + 1]``)."""
        if rows.size < self.capacity:
            for name, values in columns.items():
                column = getattr(self._counters, name).copy()
                column[rows] = values
                columns[name] = column
        self._counters = self._counters._replace(**columns)

    def free(self, rows: IntArray) -> None:
        """Gives rows back."""
        self.change(rows, sequence_id=np.full(rows.size, -1, np.int64))

    def _grow(self, capacity: int) -> None:
        more = capacity - self.capacity
        joined = zip(self._counters, _free(more, self._max_draft_tokens), strict=True)
        self._counters = Counters(*(np.concatenate(pair) for pair in joined))


def _free(count: int, max_draft_tokens: int) -> Counters:
    """Rows that are free."""
    free, nothing = np.full(count, -1, np.int64), np.zeros(count)
    no_cycles = np.zeros((count, max_draft_tokens + 1), np.int64)
    return Counters(*(free,) * 10, *(nothing,) * 4, *(no_cycles,) * 2)
