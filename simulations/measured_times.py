"""Times that a live run measured, for replaying it at its own times instead of a cost model's.

Live decisions hang on the clock wherever a policy learns from times or a latency is promised.
Replayed at the times of that very run, every decision and every entry in the books is the same.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from adaptive_spec._arrays import IntArray


class TimedCycle(Protocol):
    """A cycle of which it is known how long it took."""

    @property
    def draft_ms(self) -> float: ...

    @property
    def verify_ms(self) -> float: ...


class CycleTimes(NamedTuple):
    """How long a cycle took: drafting, and the verifier pass."""

    draft_ms: float
    verify_ms: float


class MeasuredTimes(NamedTuple):
    """Of one sequence's live run.

    Attributes:
      prefill_ms: reading its prompt, together with those admitted with it.
      cycles: every cycle of it, in order; one that was shared stands in each of its sequences.
    """

    prefill_ms: float
    cycles: tuple[CycleTimes, ...]

    @staticmethod
    def of(prefill_ms: float, cycles: Iterable[TimedCycle]) -> "MeasuredTimes":
        """Of a sequence whose cycles were these."""
        times = (CycleTimes(cycle.draft_ms, cycle.verify_ms) for cycle in cycles)
        return MeasuredTimes(prefill_ms, tuple(times))


class Clock:
    """Tells a replay how long what it runs took live."""

    def __init__(self, measured: Sequence[MeasuredTimes]) -> None:
        """Starts before the first cycle; ``measured`` is in the trace's order."""
        self._measured = measured
        self._ran = np.zeros(len(measured), np.int64)

    def prefill_ms(self, entering: IntArray) -> float:
        """Time of reading the prompts of sequences admitted together, at least one."""
        return self._measured[int(entering[0])].prefill_ms

    def next_cycle(self, sequence: IntArray) -> CycleTimes | None:
        """Time of the next cycle, which these sequences share.

        None where the live run had no such cycle: the replay differs from it, and goes on at the
        cost model's times.
        """
        first = int(sequence[0])
        done = int(self._ran[first])
        self._ran[sequence] += 1
        cycles = self._measured[first].cycles
        return cycles[done] if done < len(cycles) else None
