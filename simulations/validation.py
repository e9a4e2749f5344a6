"""Was the replay exact? Live cycles against replayed ones, cycle for cycle."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.simulator import CycleLog
from adaptive_spec.traces.records import TraceSet

CyclePair = tuple[int, int]
"""(tau, accepted tokens) of a cycle."""


class Difference(NamedTuple):
    """The first cycle of a sequence in which live and replayed decoding differ.

    ``live`` or ``replayed`` is None where that side had no such cycle any more.
    """

    id: str
    cycle: int
    live: CyclePair | None
    replayed: CyclePair | None


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
    live: Mapping[str, Sequence[CyclePair]], traces: TraceSet, log: CycleLog
) -> Validation:
    """Compares (tau, accepted) of every cycle.

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
    for name, ours in live.items():
        rows = np.flatnonzero(log.sequence == index[name])
        theirs = list(
            zip(log.tau[rows].tolist(), log.num_accepted_tokens[rows].tolist(), strict=True)
        )
        cycles += len(ours)
        for cycle in range(max(len(ours), len(theirs))):
            a = tuple(ours[cycle]) if cycle < len(ours) else None
            b = theirs[cycle] if cycle < len(theirs) else None
            if a != b:
                differences.append(Difference(name, cycle, a, b))  # type: ignore[arg-type]
                break
    return Validation(len(live), cycles, tuple(differences))
