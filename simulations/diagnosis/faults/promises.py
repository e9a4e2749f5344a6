"""Promises that no choice of tau can keep."""

import numpy as np

from adaptive_spec.constraints import Feasibility, PassBudget
from adaptive_spec.constraints.feasibility import FEWEST_REQUESTS, assess
from adaptive_spec.constraints.frontier import Recent
from adaptive_spec.constraints.survival import Survival
from adaptive_spec.simulations.diagnosis.findings import Figure, Finding, Judgement, NotJudged
from adaptive_spec.simulations.diagnosis.known import Known
from adaptive_spec.simulations.diagnosis.resamples import ratio
from adaptive_spec.simulations.hindsight import least_passes

NAME = "budget infeasible"


def budget_infeasible(known: Known) -> Judgement:
    """What is promised cannot be kept, by more than chance would have it.

    Of a pass budget on a trace the least possible passes are counted; of other promises, and on a
    log, they are estimated as the controller does (``constraints.feasibility``).
    """
    promised = known.promised
    if not promised.shared:
        return None
    budget = promised.budget
    if known.traces is not None and budget is not None and budget.average_passes is not None:
        found = _counted(known, budget, budget.average_passes)
        if found is not None:
            return found
    feasibility = known.feasibility or _estimated(known)
    if feasibility.requests < FEWEST_REQUESTS:
        return NotJudged(
            NAME, f"{feasibility.requests} requests finished; it takes {FEWEST_REQUESTS}"
        )
    if not feasibility.infeasible:
        return None
    return Finding(
        NAME,
        None,
        (Figure("least passes possible", feasibility.least_passes),),
        _ADVICE,
        (str(feasibility),),
    )


_ADVICE = (
    "promise what can be kept, or make it possible: longer drafts, a drafter that is accepted more "
    "often, shorter answers; until then the controller aims at the nearest"
)


def _counted(known: Known, budget: PassBudget, average: float) -> Finding | None:
    """Whether the least possible passes of a trace are above the average."""
    assert known.traces is not None
    passes = least_passes(known.traces, max_draft_tokens=known.longest_known)
    units = np.ones(len(known.traces))
    if budget.per == "token":
        units = np.array([sequence.run_lengths.size for sequence in known.traces], np.float64)
    least = ratio(known.resamples.sums(passes), known.resamples.sums(units))
    figure = Figure.of(f"least passes possible per {budget.per}", least)
    assert figure.interval is not None
    if figure.interval.low <= average:
        return None
    return Finding(
        NAME,
        None,
        (
            Figure(f"passes promised per {budget.per}", average),
            figure,
            Figure("longest draft allowed", known.longest_known, style=".0f"),
        ),
        _ADVICE,
    )


def _estimated(known: Known) -> Feasibility:
    """What the controller would say after these requests."""
    cycles, depths = known.cycles, max(known.longest_allowed, 1)
    refused = (cycles.accepted < cycles.drafted) | ((cycles.tau > 0) & (cycles.drafted == 0))
    survival = Survival.fresh(depths).after(cycles.accepted, refused.astype(np.int64))
    counts = known.requests.tokens.size
    by_tau, by_accepted = np.zeros((2, counts, depths + 1), np.int64)
    np.add.at(by_tau, (cycles.request, cycles.tau), 1)
    np.add.at(by_accepted, (cycles.request, cycles.accepted), 1)
    recent = Recent(
        known.requests.tokens,
        np.bincount(cycles.request, minlength=counts),
        np.zeros(counts),
        known.request_ms,
        by_tau,
        by_accepted,
        np.array([sum(known.mean_prices(tau)) for tau in range(depths + 1)]),
    )
    return assess(known.promised, recent, survival)
