"""The faults that a diagnosis looks for: a file for each family, a judgement for each fault.

A judgement is a pure function from what is known to a finding, to None where the fault is not
there, or to why nothing can be said.
"""

from collections.abc import Callable
from dataclasses import dataclass

from adaptive_spec.simulations.diagnosis.faults import (
    acceptance,
    drift,
    fallback,
    groups,
    lengths,
    outputs,
    promises,
    speeds,
)
from adaptive_spec.simulations.diagnosis.findings import Judgement
from adaptive_spec.simulations.diagnosis.known import Known
from adaptive_spec.traces.exactness import Exactness

_LOWER: frozenset[Exactness] = frozenset({"lower bound"})
_UPPER: frozenset[Exactness] = frozenset({"upper bound"})
_DRAWN: frozenset[Exactness] = frozenset({"distribution"})


@dataclass(frozen=True)
class Fault:
    """A fault that is looked for.

    Attributes:
      name: of its finding.
      judge: whether it is there.
      misled_by: kinds of trace on which it would seem to be there though it isn't, or the opposite:
        with unknown tokens taken for rejected, or for accepted, or requests drawn.
    """

    name: str
    judge: Callable[[Known], Judgement]
    misled_by: frozenset[Exactness] = frozenset()


FAULTS: tuple[Fault, ...] = (
    Fault(outputs.NAME, outputs.output_differs),
    Fault(promises.NAME, promises.budget_infeasible, _LOWER),
    Fault(acceptance.NAME, acceptance.drafter_mismatched, _LOWER),
    Fault(fallback.STUCK_ON, fallback.fallback_stuck_on, _UPPER),
    Fault(fallback.STUCK_OFF, fallback.fallback_stuck_off, _LOWER),
    Fault(lengths.TOO_LONG, lengths.tau_too_long, _LOWER),
    Fault(lengths.TOO_SHORT, lengths.tau_too_short, _UPPER),
    Fault(speeds.SLOW, speeds.drafter_too_slow),
    Fault(speeds.NOT_PARALLEL, speeds.verification_not_parallel),
    Fault(speeds.SATURATED, speeds.batch_saturated),
    Fault(groups.CATEGORIES, groups.category_apart, _LOWER | _UPPER | _DRAWN),
    Fault(groups.LENGTHS, groups.prompt_length_apart, _LOWER | _UPPER | _DRAWN),
    Fault(drift.NAME, drift.drafter_due, _LOWER | _UPPER | _DRAWN),
)
"""All of them. On a tie in what they cost, the first is told first."""
