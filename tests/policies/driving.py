"""Drives sequences through a controller, cycle by cycle, with prescribed run lengths."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, CostModel, Cycle, Policy
from adaptive_spec.controller import UNLIMITED_TOKENS
from adaptive_spec.foreseen import draft_on
from adaptive_spec.policies import _confidence, _history, _shadows, marginal
from adaptive_spec.policy import DraftSignals

CHEAP = ConstantCosts(draft=0.1, verify=0.0)


def use_numba(monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    """Compiled loops for the rest of the test, or none; skips it where numba is not installed."""
    if wanted:
        pytest.importorskip("numba", reason="numba is not installed")
        return
    for module in (_history, _confidence, _shadows, marginal):
        monkeypatch.setattr(module, "kernels", lambda: None)
    monkeypatch.setattr(marginal, "marginal_kernels", lambda: None)


def drive(
    policy: Policy[Any, Any],
    runs: Iterable[int],
    costs: CostModel = CHEAP,
    max_draft_tokens: int = 10,
    proposes: bool = True,
) -> list[int]:
    """tau of each cycle of one sequence, when the draft's run lengths are ``runs``."""
    taus = drive_batch(policy, ([run] for run in runs), costs, max_draft_tokens, proposes)
    return [tau for (tau,) in taus]


def drive_batch(
    policy: Policy[Any, Any],
    runs: Iterable[Sequence[int]],
    costs: CostModel = CHEAP,
    max_draft_tokens: int = 10,
    proposes: bool = True,
) -> list[list[int]]:
    """tau of each cycle and sequence; ``runs`` has a run length per sequence for each cycle.

    Sequences come as they are needed, and those beyond a cycle's run lengths sit it out.
    """
    controller = Controller(policy, costs=costs, max_draft_tokens=max_draft_tokens)
    taus = []
    for lengths in runs:
        missing = len(lengths) - controller.running.size
        if missing > 0:
            controller.admit(np.full(missing, 10), np.full(missing, UNLIMITED_TOKENS))
        plan = controller.decide(controller.running[: len(lengths)])
        drafted = plan.tau if proposes else np.zeros_like(plan.tau)
        accepted = np.minimum(drafted, lengths)
        controller.observe(plan, drafted, accepted, accepted + 1)
        taus.append(plan.tau.tolist())
    return taus


def priced(rule: type[Any], pass_price_ms: float) -> type[Any]:
    """The rule where verifier passes have a price."""

    def at_price(cycle: Cycle) -> Cycle:
        return cycle._replace(pass_price_ms=np.full(cycle.max_tau.shape, pass_price_ms))

    class Priced(rule):  # type: ignore[misc]
        def decide(self, state: Any, cycle: Cycle) -> Any:
            return super().decide(state, at_price(cycle))

        def update(self, state: Any, outcome: Any) -> Any:
            return super().update(state, outcome._replace(cycle=at_price(outcome.cycle)))

    return Priced


class Inside:
    """One sequence whose drafts, and what they say of themselves, are prescribed."""

    def __init__(self, policy: Policy[Any, Any], max_draft_tokens: int = 10) -> None:
        self.controller = Controller(policy, costs=CHEAP, max_draft_tokens=max_draft_tokens)
        self.rows = self.controller.admit(np.array([10]), np.array([UNLIMITED_TOKENS]))

    def unseen_cycle(self) -> None:
        """A cycle whose engine does not report signals; all was accepted."""
        plan = self.controller.decide(self.rows)
        self.controller.observe(plan, plan.tau, plan.tau, plan.tau + 1)

    def cycle(self, run: int = 0, /, **signals: Sequence[float]) -> int:
        """Tokens drafted; signals that are not given are NaN, as those behind the ones given."""
        said = DraftSignals(*np.full((4, 1, self.controller.max_draft_tokens), np.nan))
        for name, values in signals.items():
            getattr(said, name)[0, : len(values)] = values
        plan = self.controller.decide(self.rows)
        drafted, shown = draft_on(self.controller, plan, plan.tau, said)
        accepted = np.minimum(drafted, run)
        self.controller.observe(plan, drafted, accepted, accepted + 1, signals=shown)
        return int(drafted[0])

    @property
    def state(self) -> Any:
        return self.controller.state
