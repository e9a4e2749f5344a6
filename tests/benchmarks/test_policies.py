"""What thinking costs: decide + update, for one sequence and for 256.

Reference: under 60 microseconds for one sequence and 300 for 256 (fixed, ewma, ucb1). Aim, with
numba: under 100 and 600 for marginal, under 200 and 3000 for the portfolio and auto.
"""

import itertools
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, make_policy
from adaptive_spec.controller import UNLIMITED_TOKENS
from adaptive_spec.foreseen import draft_on
from adaptive_spec.policy import DraftSignals, Outcome
from adaptive_spec.runs import Runs, window_of
from adaptive_spec.traces import Hazards

MOST = 10
WARMUP = 24  # every expert of a portfolio has had its turn
CYCLES = 64

MANY = "/".join(
    (
        *("heuristic", "gammatune", "sglang-tiers", "ewma", "hazard", "smartspec", "nightjar"),
        *("cascade", "ucbspec", "exp3spec", "bandit", "vllm-table", "tensorrt-gate"),
    )
)
"""With marginal and eleven static ones, 25 experts."""


class Text:
    """Texts whose drafts are right three times in four, in bursts, and what is known of them."""

    def __init__(self, batch_size: int) -> None:
        tokens = (WARMUP + CYCLES) * (MOST + 1)
        hazards = Hazards(0.1, burst=0.6, enter=0.1)
        self._runs = np.stack([hazards.run_lengths(i, tokens) for i in range(batch_size)])
        self._row = np.arange(batch_size)[:, None]
        self._at = np.arange(-window_of(MOST), 0)

    def accepted(self, position: Any, tau: Any) -> Any:
        return np.minimum(self._runs[self._row[:, 0], position], tau)

    def known(self, end: Any) -> Runs:
        at = end[:, None] + self._at
        length = np.minimum(self._runs[self._row, np.maximum(at, 0)], -self._at)
        there = (at >= 0)[:, None, :]
        return Runs(end, end[:, None], length[:, None, :] * there, there)

    def said(self, position: Any) -> DraftSignals:
        """Signals of drafts: surer where they are right."""
        right = np.arange(MOST) < self._runs[self._row, position[:, None]]
        sure, entropy = np.where(right, 0.9, 0.4), np.where(right, 0.3, 1.5)
        return DraftSignals(sure, entropy, 2.0 * sure, np.full(right.shape, np.nan))


@pytest.mark.parametrize("batch_size", [1, 256])
@pytest.mark.parametrize("says", [False, pytest.param(True, id="signals")])
@pytest.mark.parametrize(
    "spec",
    [
        "fixed:tau=3",
        "ewma",
        "bandit:algorithm=ucb1",
        "bandit:algorithm=ucb1,scope=sequence",
        "hazard",
        "marginal",
        pytest.param(f"portfolio:experts={MANY}", id="portfolio of 25"),
        "auto",
    ],
)
def test_decide_and_update(benchmark: Any, spec: str, says: bool, batch_size: int) -> None:
    policy, costs, text = make_policy(spec), ConstantCosts(), Text(batch_size)
    if says and not policy.looks_inside_draft:
        pytest.skip("does not look at what drafters say")
    controller = Controller(policy, costs=costs, max_draft_tokens=MOST)
    rows = controller.admit(np.full(batch_size, 100), np.full(batch_size, UNLIMITED_TOKENS))
    end, told = np.zeros(batch_size, np.int64), []
    for _ in range(WARMUP + CYCLES):
        state, plan = controller.state, controller.decide(rows)
        drafted, signals = plan.tau, None
        if says:
            drafted, signals = draft_on(controller, plan, plan.tau, text.said(end))
        accepted = text.accepted(end, drafted)
        end = end + accepted + 1
        runs = text.known(end) if policy.looks_back else None
        controller.observe(plan, drafted, accepted, accepted + 1, signals=signals, runs=runs)
        at = drafted, batch_size, plan.cycle.prompt_tokens + plan.cycle.emitted_tokens
        times = costs.draft_ms(*at), costs.verify_ms(*at)
        counts = drafted, accepted, accepted + 1
        drafter = np.where(drafted > 0, plan.drafter, -1)
        outcome = Outcome(
            plan.cycle, plan.decision, plan.tau, drafter, *counts, *times, signals, runs
        )
        told.append((state, outcome))
    cycles = itertools.cycle(told[WARMUP:])

    def think() -> None:
        state, outcome = next(cycles)
        policy.decide(state, outcome.cycle)
        policy.update(state, outcome)

    benchmark(think)
