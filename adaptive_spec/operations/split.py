"""A trial: some requests are decided on by another policy, chosen by the hash of their ids.

The same request is in the same arm in every replica, after a restart, and when it is tried again.
Arms share one controller, and with it the batch, the promises and their books, but nothing that
they learn: what one does is no evidence for the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.answers import checked_decision
from adaptive_spec.errors import ConfigError
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Empty, Outcome, Policy, State
from adaptive_spec.randomness import key_uniform, keyed, sequence_seed
from adaptive_spec.state import (
    combine,
    put_rows,
    take_cycle,
    take_decision,
    take_outcome,
    take_rows,
)


class Arms(NamedTuple):
    """What belongs to each arm: rows, shared states or memos; it has all rows and heeds its own."""

    control: Any
    trial: Any


@dataclass(frozen=True)
class Split(Policy[Arms, Arms]):
    """Gives a share of requests to another policy, for a trial.

    Attributes:
      control: decides for all other requests.
      trial: decides for its share.
      share: of requests in the trial, in [0, 1].
      salt: another one draws other requests; give each trial its own.
    """

    control: Policy[Any, Any]
    trial: Policy[Any, Any]
    share: float = 0.1
    salt: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"split: share = {self.share}; it must be in [0, 1]")

    def in_trial(self, request_key: IntArray) -> BoolArray:
        """Whether requests of these keys (``Cycle.request_key``) are in the trial, ``[B]``."""
        seed = np.array([sequence_seed(0, self.salt)], np.uint64)
        drawn: BoolArray = key_uniform(keyed(seed, request_key)) < self.share
        return drawn

    @property
    def learns(self) -> str:  # type: ignore[override]
        return f"{self.control.learns}; in the trial {self.trial.learns}"

    @property
    def signals(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(dict.fromkeys((*self.control.signals, *self.trial.signals)))

    @property
    def needs_signals(self) -> bool:  # type: ignore[override]
        return any(arm.needs_signals for arm in self._policies if arm.looks_inside_draft)

    @property
    def looks_back(self) -> bool:  # type: ignore[override]
        return any(arm.looks_back for arm in self._policies)

    @property
    def takes_hints(self) -> bool:  # type: ignore[override]
        return any(arm.takes_hints for arm in self._policies)

    @property
    def heeds_prices(self) -> bool:  # type: ignore[override]
        return all(arm.heeds_prices for arm in self._policies)

    @property
    def looks_inside_draft(self) -> bool:
        return any(arm.looks_inside_draft for arm in self._policies)

    def init(self, num_sequences: int, seed: int) -> State[Arms, Arms]:
        control, trial = (arm.init(num_sequences, seed) for arm in self._policies)
        return State(Arms(control.rows, trial.rows), Arms(control.shared, trial.shared))

    def decide(self, state: State[Arms, Arms], cycle: Cycle) -> Decision:
        rows = cycle.max_tau.size
        tau, drafter, catch_up = np.zeros(rows, np.int64), cycle.drafter, np.zeros(rows, np.bool_)
        memos: list[Any] = [Empty(), Empty()]
        for arm, policy, own in self._arms(cycle):
            shown = _shown(policy, take_cycle(cycle, own))
            decision = policy.decide(_state_of(state, arm, own), shown)
            tau[own], drafter[own] = checked_decision(policy, decision, shown)
            if decision.catch_up is not None:
                catch_up[own] = decision.catch_up
            if decision.memo is not None:
                memos[arm] = _spread(decision.memo, own, rows)
        return Decision(tau, Arms(*memos), drafter, catch_up)

    def keep_drafting(
        self,
        state: State[Arms, Arms],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        on = np.ones(cycle.max_tau.size, np.bool_)
        for arm, policy, own in self._arms(cycle):
            if policy.looks_inside_draft:
                on[own] = policy.keep_drafting(
                    _state_of(state, arm, own),
                    _shown(policy, take_cycle(cycle, own)),
                    _decision_of(decision, arm, own),
                    depth,
                    take_rows(signals, own),
                )
        return on

    def update(self, state: State[Arms, Arms], outcome: Outcome) -> State[Arms, Arms]:
        rows, shared = list(state.rows), list(state.shared)
        for arm, policy, own in self._arms(outcome.cycle):
            part = take_outcome(outcome, own)
            part = part._replace(
                cycle=_shown(policy, part.cycle),
                decision=_decision_of(outcome.decision, arm, own),
                signals=part.signals if policy.looks_inside_draft else None,
                runs=part.runs if policy.looks_back else None,
                acceptance_probability=part.acceptance_probability if policy.looks_back else None,
            )
            updated = policy.update(_state_of(state, arm, own), part)
            rows[arm], shared[arm] = put_rows(rows[arm], own, updated.rows), updated.shared
        return State(Arms(*rows), Arms(*shared))

    def merge(self, shared: Sequence[Arms], weights: FloatArray) -> Arms:
        merged = (
            policy.merge([replica[arm] for replica in shared], weights)
            for arm, policy in enumerate(self._policies)
        )
        return Arms(*merged)

    @property
    def _policies(self) -> tuple[Policy[Any, Any], Policy[Any, Any]]:
        return self.control, self.trial

    def _arms(self, cycle: Cycle) -> Iterator[tuple[int, Policy[Any, Any], IntArray]]:
        """Arms that have rows in a cycle: number, policy and rows."""
        in_trial = self.in_trial(cycle.request_key)
        for arm, policy in enumerate(self._policies):
            own = np.flatnonzero(in_trial == arm)
            if own.size:
                yield arm, policy, own


def _state_of(state: State[Arms, Arms], arm: int, own: IntArray) -> State[Any, Any]:
    return State(take_rows(state.rows[arm], own), state.shared[arm])


def _shown(policy: Policy[Any, Any], cycle: Cycle) -> Cycle:
    """The cycle as the policy would be shown it alone."""
    return cycle if policy.takes_hints else cycle._replace(hints=None)


def _spread(memo: Any, own: IntArray, rows: int) -> Any:
    """A memo of some rows as one of all; zero elsewhere."""

    def spread(arrays: list[Any]) -> Any:
        whole = np.zeros((rows, *arrays[0].shape[1:]), arrays[0].dtype)
        whole[own] = arrays[0]
        return whole

    return combine((memo,), spread)


def _decision_of(decision: Decision, arm: int, own: IntArray) -> Decision:
    """An arm's own decision."""
    memo = decision.memo[arm]
    return take_decision(decision._replace(memo=None if memo == () else memo), own)
