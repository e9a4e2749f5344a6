"""Drafts that are too long (tokens drafted and verified for nothing), or too short (passes)."""

import numpy as np

from adaptive_spec.simulations.diagnosis.faults.fallback import MOSTLY
from adaptive_spec.simulations.diagnosis.findings import (
    Figure,
    Finding,
    Judgement,
    Loss,
    NotJudged,
)
from adaptive_spec.simulations.diagnosis.known import Known
from adaptive_spec.simulations.diagnosis.resamples import ratio

TOO_LONG, TOO_SHORT = "tau too long", "tau too short"


def tau_too_long(known: Known) -> Judgement:
    """A shorter constant length would have been faster than what was served."""
    best = _best_length(known)
    if best is None or best >= known.mean_tau:
        return None
    wasted = known.cycles.drafted - known.cycles.accepted
    waste = ratio(known.sums(wasted), known.sums(known.cycles.drafted))
    return _found(
        known,
        TOO_LONG,
        best,
        Figure.of("share of drafted tokens that were thrown away", waste),
        f"draft {best} tokens (longest draft, static tau, or a policy that weighs costs: `auto`)",
    )


def tau_too_short(known: Known) -> Judgement:
    """A longer constant length would have been faster than what was served."""
    best = _best_length(known)
    if best is None:
        return None
    whole = (known.cycles.drafted > 0) & (known.cycles.accepted == known.cycles.drafted)
    share = ratio(known.sums(whole), known.sums(known.cycles.drafted > 0))
    if best > known.mean_tau:
        found = _found(
            known,
            TOO_SHORT,
            best,
            Figure.of("share of drafts that were accepted whole", share),
            f"draft {best} tokens, or let a policy that weighs costs choose: `auto`",
        )
        if found is not None:
            return found
    if _might_be_too_short(known, best):
        return NotJudged(
            TOO_SHORT,
            f"{share[0]:.0%} of the drafts were accepted whole, and nothing is known of how they "
            "would have gone on; record a trace of these prompts with longer drafts",
        )
    return None


def _might_be_too_short(known: Known, best: int) -> bool:
    """Whether longer drafts than are known of would pay if all went on as well as can be."""
    if known.traces is not None:
        return best == known.longest_known < known.longest_allowed
    hopeful_ms = known.hopeful_ms()
    longer = int(np.argmin(hopeful_ms[0]))
    loss = Loss.worth_telling(known.served_ms - hopeful_ms[:, longer], float(known.served_ms[0]))
    return longer > known.mean_tau and loss is not None


def _best_length(known: Known) -> int | None:
    """The fastest constant above 0; None where it is not the length that decides."""
    if known.longest_known == 0 or known.best_tau == 0 or known.fallback_share >= MOSTLY:
        return None
    return known.best_tau


def _found(known: Known, name: str, best: int, sign: Figure, advice: str) -> Finding | None:
    loss = Loss.worth_telling(known.served_ms - known.best_ms, float(known.served_ms[0]))
    if loss is None:
        return None
    cycles = known.cycles
    tau = ratio(known.sums(cycles.tau), known.sums(cycles.tau > 0))
    all_cycles = known.sums(np.ones_like(cycles.tau))
    evidence = (
        Figure.of("mean tau of cycles that were asked to draft", tau, ".1f"),
        Figure("fastest constant tau", best, style=".0f"),
        sign,
        Figure.of("accepted tokens per cycle", ratio(known.sums(cycles.accepted), all_cycles)),
    )
    return Finding(name, loss, evidence, advice)
