"""All faults looked for, and told in the order of what they cost."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adaptive_spec.simulations.bootstrap import Interval
from adaptive_spec.simulations.diagnosis.faults import FAULTS
from adaptive_spec.simulations.diagnosis.findings import Finding, NotJudged
from adaptive_spec.simulations.diagnosis.known import FEW_REQUESTS, Known
from adaptive_spec.simulations.diagnosis.resamples import interval_of
from adaptive_spec.traces.exactness import MEANING


@dataclass(frozen=True)
class Diagnosis:
    """What holds speed back.

    Attributes:
      findings: what is wrong whatever time it takes, then by time lost, most first.
      not_judged: faults of which nothing can be said.
      policy: who chose tau; ``costs``: what cycles cost; ``time_unit``: of all times.
      requests, tokens: that were served.
      served, plain, best: time as served, of plain decoding, of the best constant tau in hindsight
        (``best_tau``).
      notes: what else is to be known, a sentence each.
    """

    findings: tuple[Finding, ...]
    not_judged: tuple[NotJudged, ...]
    policy: str
    costs: str
    time_unit: str
    requests: int
    tokens: int
    served: Interval
    plain: Interval
    best: Interval
    best_tau: int
    notes: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "healthy": self.healthy,
            "findings": [finding.as_dict() for finding in self.findings],
            "not_judged": [{"name": n.name, "reason": n.reason} for n in self.not_judged],
            "policy": self.policy,
            "costs": self.costs,
            "time_unit": self.time_unit,
            "requests": self.requests,
            "tokens": self.tokens,
            "served": self.served.value,
            "plain": self.plain.value,
            "best_constant": self.best.value,
            "best_constant_tau": self.best_tau,
            "notes": list(self.notes),
        }


def diagnose(known: Known, on_progress: Callable[[str], None] | None = None) -> Diagnosis:
    """Looks for every fault.

    Args:
      known: what is known of a production.
      on_progress: called with the fault that is about to be looked for.
    """
    findings, not_judged = [], []
    for fault in FAULTS:
        if on_progress is not None:
            on_progress(fault.name)
        if known.exactness in fault.misled_by:
            not_judged.append(NotJudged(fault.name, MEANING[known.exactness]))
            continue
        judgement = fault.judge(known)
        if isinstance(judgement, Finding):
            findings.append(judgement)
        elif judgement is not None:
            not_judged.append(judgement)
    findings.sort(key=lambda one: float("-inf") if one.loss is None else -one.loss.ms.value)
    notes = known.notes
    if known.requests.tokens.size < FEW_REQUESTS:
        notes = (*notes, f"with fewer than {FEW_REQUESTS} requests, intervals say little")
    return Diagnosis(
        tuple(findings),
        tuple(not_judged),
        known.policy,
        str(known.costs),
        known.costs.time_unit,
        known.requests.tokens.size,
        int(known.requests.tokens.sum()),
        interval_of(known.served_ms),
        interval_of(known.constant_ms[:, 0]),
        interval_of(known.best_ms),
        known.best_tau,
        notes,
    )
