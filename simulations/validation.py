"""Was the replay exact? Live cycles against replayed ones, cycle for cycle."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from adaptive_spec.errors import ConfigError
from adaptive_spec.policy import NO_DRAFTER
from adaptive_spec.simulations.simulator import CycleLog
from adaptive_spec.traces.records import TraceSet


class ShownCycle(NamedTuple):
    """What is compared of a cycle; ``drafter`` is the name of who drafted, None for nobody."""

    tau: int
    accepted: int
    drafter: str | None


class Difference(NamedTuple):
    """The first cycle of a sequence in which live and replayed decoding differ.

    ``live`` or ``replayed`` is None where that side had no such cycle any more.
    """

    id: str
    cycle: int
    live: ShownCycle | None
    replayed: ShownCycle | None


class Validation(NamedTuple):
    """What came of comparing.

    Attributes:
      sequences: compared; ``cycles``: cycles of the live run.
      differences: first difference of each sequence that has one; empty if replay was exact.
    """

    sequences: int
    cycles: int
    differences: tuple[Difference, ...]

    @property
    def identical(self) -> bool:
        """Whether every cycle of every sequence was the same."""
        return not self.differences


def validate_cycles(
    live: Mapping[str, Sequence[ShownCycle]], traces: TraceSet, log: CycleLog
) -> Validation:
    """Compares tau, accepted tokens and drafter of every cycle.

    Args:
      live: cycles of the live run by sequence id.
      traces: the trace that was replayed; it must hold every id of ``live``.
      log: the replay's cycles.

    Raises:
      ConfigError: a live sequence is not in the trace.
    """
    index = {sequence.id: i for i, sequence in enumerate(traces)}
    missing = [name for name in live if name not in index]
    if missing:
        raise ConfigError(f"validate: the trace lacks {missing[:3]}; record these prompts first")
    differences, cycles = [], 0
    names = traces.info.drafter_names
    for name, ours in live.items():
        rows = np.flatnonzero(log.sequence == index[name])
        columns = (log.tau, log.num_accepted_tokens, log.drafter)
        theirs = [
            ShownCycle(tau, accepted, None if drafter == NO_DRAFTER else names[drafter])
            for tau, accepted, drafter in zip(*(c[rows].tolist() for c in columns), strict=True)
        ]
        cycles += len(ours)
        for cycle in range(max(len(ours), len(theirs))):
            a = ours[cycle] if cycle < len(ours) else None
            b = theirs[cycle] if cycle < len(theirs) else None
            if a != b:
                differences.append(Difference(name, cycle, a, b))
                break
    return Validation(len(live), cycles, tuple(differences))
