"""A policy that fails must not cost a request: its engine goes on as if it had none."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from adaptive_spec._arrays import BoolArray
from adaptive_spec.answers import checked_decision, require_state, who_catches_up
from adaptive_spec.policy import DECLARED, Cycle, Decision, DraftSignals, Outcome, Policy, State
from adaptive_spec.state import take_rows

_log = logging.getLogger(__name__)

AnswerT = TypeVar("AnswerT")


class SafePolicy(Policy[Any, Any]):
    """Stands before a policy: once that fails, answers with a static tau for good.

    A failure is an exception, or an answer that the interface does not allow (NaN among them). It
    is logged once, with its traceback. The controller notices nothing, so that passes and promises
    are accounted on.

    Attributes:
      policy: the policy itself; ``failure``: what it failed with, None while it works.
      static_tau: what is answered then, within each cycle's limits; the engine's own setting.
    """

    def __init__(self, policy: Policy[Any, Any], static_tau: int) -> None:
        """Asks ``policy`` for a first state; what it raises then is the caller's to see."""
        self.policy = policy
        self.static_tau = static_tau
        self.failure: Exception | None = None
        for name in DECLARED:
            setattr(self, name, getattr(policy, name))
        self._looks_inside_draft = policy.looks_inside_draft
        self._fresh: State[Any, Any] = policy.init(1, 0)

    @property
    def looks_inside_draft(self) -> bool:
        return self._looks_inside_draft

    def init(self, num_sequences: int, seed: int) -> State[Any, Any]:
        def init() -> State[Any, Any]:
            self._fresh = self.policy.init(1, seed)
            return self.policy.init(num_sequences, seed)

        alike = np.zeros(num_sequences, np.int64)
        return self._try(
            "init", init, self._fresh._replace(rows=take_rows(self._fresh.rows, alike))
        )

    def decide(self, state: State[Any, Any], cycle: Cycle) -> Decision:
        static = Decision(cycle.clip(np.full(cycle.max_tau.shape, self.static_tau)))

        def decide() -> Decision:
            decision = self.policy.decide(state, cycle)
            _, drafter = checked_decision(self.policy, decision, cycle)
            who_catches_up(self.policy, decision, cycle, drafter)
            return decision

        return self._try("decide", decide, static)

    def keep_drafting(
        self,
        state: State[Any, Any],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        def keep_drafting() -> BoolArray:
            on = self.policy.keep_drafting(state, cycle, decision, depth, signals)
            return np.broadcast_to(np.asarray(on, np.bool_), cycle.max_tau.shape)

        return self._try("keep_drafting", keep_drafting, np.ones(cycle.max_tau.shape, np.bool_))

    def update(self, state: State[Any, Any], outcome: Outcome) -> State[Any, Any]:
        def update() -> State[Any, Any]:
            after = self.policy.update(state, outcome)
            require_state(self.policy, "update", after)
            return after

        return self._try("update", update, state)

    def _try(self, method: str, ask: Callable[[], AnswerT], otherwise: AnswerT) -> AnswerT:
        if self.failure is None:
            try:
                return ask()
            except Exception as error:  # noqa: BLE001  # whatever it is, requests go on
                self.failure = error
                _log.exception(
                    "policy %s failed in %s; drafts have %d tokens from now on",
                    type(self.policy).__name__,
                    method,
                    self.static_tau,
                )
        return otherwise
