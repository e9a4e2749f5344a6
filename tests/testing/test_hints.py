"""What policies that take hints are given in histories."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given

from adaptive_spec._arrays import FloatArray
from adaptive_spec.hints import Hints
from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, Policy, State
from adaptive_spec.testing import PolicyCheckError, check_policy, strategies
from adaptive_spec.testing.histories import History, Play


class Seen(NamedTuple):
    entropy: FloatArray


@dataclass(frozen=True)
class TakesHints(Policy[Seen, Empty]):
    """Drafts where the verifier was sure; keeps its newest entropy that is known."""

    takes_hints = True

    def init(self, num_sequences: int, seed: int) -> State[Seen, Empty]:
        return State(Seen(np.zeros(num_sequences)), Empty())

    def decide(self, state: State[Seen, Empty], cycle: Cycle) -> Decision:
        assert cycle.hints is not None
        return Decision(cycle.clip(np.where(cycle.hints.verifier_entropy < 1, 4, 1)))

    def update(self, state: State[Seen, Empty], outcome: Outcome) -> State[Seen, Empty]:
        assert outcome.cycle.hints is not None
        shown = outcome.cycle.hints.verifier_entropy
        return State(Seen(np.where(np.isnan(shown), state.rows.entropy, shown)), Empty())


@dataclass(frozen=True)
class TrustsHints(TakesHints):
    """Takes every hint to be known."""

    def update(self, state: State[Seen, Empty], outcome: Outcome) -> State[Seen, Empty]:
        assert outcome.cycle.hints is not None
        return State(Seen(outcome.cycle.hints.match_length[:, 0]), Empty())


@dataclass(frozen=True)
class HintedByItsNeighbours(TakesHints):
    def decide(self, state: State[Seen, Empty], cycle: Cycle) -> Decision:
        assert cycle.hints is not None
        surest = np.nanmin(cycle.hints.verifier_entropy, initial=9.0)
        return Decision(cycle.clip(np.full(cycle.max_tau.shape, 4 if surest < 0.5 else 1)))


@dataclass(frozen=True)
class Recording(TakesHints):
    given: list[Cycle] = field(default_factory=list, compare=False)

    def decide(self, state: State[Seen, Empty], cycle: Cycle) -> Decision:
        self.given.append(cycle)
        return super().decide(state, cycle)


def test_a_policy_that_takes_hints_can_be_checked() -> None:
    check_policy(TakesHints(), max_examples=20)


@pytest.mark.parametrize(
    ("broken", "message"),
    [(TrustsHints, "has NaN"), (HintedByItsNeighbours, "depends on other rows")],
)
def test_broken_ones_are_refused(broken: Any, message: str) -> None:
    with pytest.raises(PolicyCheckError, match=message):
        check_policy(broken(), max_examples=100)


def test_hints_of_all_kinds_are_given_known_and_unknown() -> None:
    seen: dict[str, list[FloatArray]] = {name: [] for name in Hints._fields}

    @given(strategies.histories())
    def collect(history: History) -> None:
        policy = Recording()
        list(Play(policy, history))
        for cycle in policy.given:
            assert cycle.hints is not None
            for name, part in cycle.hints._asdict().items():
                wanted: tuple[int, ...] = cycle.max_tau.shape
                if name in ("match_length", "draft_probability"):
                    wanted = cycle.available.shape
                assert part.shape == wanted
                seen[name].append(part.ravel())

    collect()
    for parts in seen.values():
        values = np.concatenate(parts)
        assert np.isnan(values).any()
        assert np.nanmin(values) >= 0
    assert np.nanmax(np.concatenate(seen["draft_probability"])) <= 1


@given(strategies.cycles(TakesHints()))
def test_the_strategies_give_them_too(drawn: tuple[State[Seen, Empty], Cycle]) -> None:
    assert drawn[1].hints is not None
