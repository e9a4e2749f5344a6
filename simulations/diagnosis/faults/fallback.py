"""Fallback (tau = 0) that stays on where drafts would pay, or off where they don't."""

import numpy as np

from adaptive_spec.simulations.diagnosis.findings import (
    Figure,
    Finding,
    Judgement,
    Loss,
    NotJudged,
)
from adaptive_spec.simulations.diagnosis.known import Known
from adaptive_spec.simulations.diagnosis.resamples import ratio

STUCK_ON, STUCK_OFF = "fallback stuck on", "fallback stuck off"

MOSTLY = 0.5
"""Share of cycles without drafts from which the fallback is what decides, and not the length."""
_FEWEST_DRAFTS = 30
"""Drafts of a log that may stand for those that were not made."""


def fallback_stuck_on(known: Known) -> Judgement:
    """Most cycles do not draft, and a constant length would have been faster."""
    if known.fallback_share < MOSTLY or known.longest_allowed == 0:
        return None
    drafts = int((known.cycles.drafted > 0).sum())
    if known.traces is None and drafts < _FEWEST_DRAFTS:
        return NotJudged(
            STUCK_ON,
            f"the log holds {drafts} drafts, too few to say what the others would have brought; "
            "record a trace of these prompts",
        )
    times = known.constant_ms
    if known.traces is None:
        times = known.constants_at(known.costs, only_drafting=True).times(known.resamples)
    tau = int(np.argmin(times[0]))
    if tau == 0:
        return None
    loss = Loss.worth_telling(known.served_ms - times[:, tau], float(known.served_ms[0]))
    if loss is None:
        return None
    details: tuple[str, ...] = ()
    if known.traces is None:
        details = (f"cycles without drafts are taken to be like the {drafts} that drafted",)
    return Finding(
        STUCK_ON,
        loss,
        (
            Figure("share of cycles that did not draft", known.fallback_share),
            Figure("fastest constant tau", tau, style=".0f"),
            Figure.of("its speed over plain decoding", ratio(times[:, 0], times[:, tau])),
        ),
        "look for what turned drafting off (a threshold on acceptance, a limit on the batch, costs "
        "that are out of date) and for what should turn it on again; `auto` keeps looking how "
        "drafts would do while it makes none",
        details,
    )


def fallback_stuck_off(known: Known) -> Judgement:
    """No constant length is as fast as plain decoding, and production drafts."""
    if known.best_tau != 0 or known.fallback_share == 1.0:
        return None
    loss = Loss.worth_telling(known.served_ms - known.best_ms, float(known.served_ms[0]))
    if loss is None:
        return None
    return Finding(
        STUCK_OFF,
        loss,
        (
            Figure("share of cycles that did not draft", known.fallback_share),
            Figure.of("speed over plain decoding", ratio(known.best_ms, known.served_ms)),
        ),
        "turn drafting off for these requests, or take a policy that can (tau = 0 in `marginal`, "
        "`portfolio` and `auto`); then see what below makes drafts not pay",
    )
