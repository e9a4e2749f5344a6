"""``check_policy`` refuses policies that lack a property, and names the property."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from adaptive_spec import Cycle, Decision, Empty, Outcome, Policy, State, make_policy
from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.policy import DraftSignals
from adaptive_spec.testing import (
    Arrive,
    History,
    PolicyCheckError,
    Run,
    check_history,
    check_policy,
    play,
    strategies,
)


class Seen(NamedTuple):
    accepted: FloatArray


@dataclass(frozen=True)
class Decent(Policy[Seen, Empty]):
    """Keeps every property; the broken ones below each drop one."""

    def init(self, num_sequences: int, seed: int) -> State[Seen, Empty]:
        return State(Seen(np.zeros(num_sequences)), Empty())

    def decide(self, state: State[Seen, Empty], cycle: Cycle) -> Decision:
        return Decision(cycle.clip(np.floor(state.rows.accepted)))

    def update(self, state: State[Seen, Empty], outcome: Outcome) -> State[Seen, Empty]:
        return State(Seen(state.rows.accepted + outcome.num_accepted_tokens + 0.5), Empty())


class BeyondTheCap(Decent):
    def decide(self, state: Any, cycle: Cycle) -> Decision:
        return Decision(cycle.max_tau + 1)


class DraftsWithAnyone(Decent):
    def decide(self, state: Any, cycle: Cycle) -> Decision:
        return Decision(cycle.min_tau, drafter=np.zeros_like(cycle.min_tau))


class DraftersNotIntegers(Decent):
    def decide(self, state: Any, cycle: Cycle) -> Decision:
        return Decision(cycle.min_tau, drafter=cycle.drafter * 1.0)  # type: ignore[arg-type]


class DrafterOfItsNeighbours(Decent):
    def decide(self, state: Any, cycle: Cycle) -> Decision:
        last = len(cycle.drafters) - 1
        crowded = cycle.available.all() and cycle.max_tau.size > 1
        drafter = np.full_like(cycle.drafter, last) if crowded else cycle.drafter
        return Decision(cycle.min_tau, drafter=drafter)


class NotIntegers(Decent):
    def decide(self, state: Any, cycle: Cycle) -> Decision:
        return Decision(cycle.max_tau * 0.5)  # type: ignore[arg-type]


class WrongShape(Decent):
    def decide(self, state: Any, cycle: Cycle) -> Decision:
        return Decision(cycle.max_tau[:1] if cycle.max_tau.size > 1 else cycle.max_tau)


class ChangesItsArguments(Decent):
    def decide(self, state: Any, cycle: Cycle) -> Decision:
        state.rows.accepted[:] += 1
        return Decision(cycle.min_tau)


class ChangesTheOutcome(Decent):
    def update(self, state: Any, outcome: Outcome) -> Any:
        outcome.num_accepted_tokens[:] = 99
        return state


class LooksAtItsNeighbours(Decent):
    def decide(self, state: Any, cycle: Cycle) -> Decision:
        return Decision(cycle.clip(np.full(cycle.max_tau.shape, cycle.max_tau.size)))


class LearnsFromItsNeighbours(Decent):
    def update(self, state: Any, outcome: Outcome) -> Any:
        mean = outcome.num_accepted_tokens.mean() + outcome.tau.size
        return State(Seen(state.rows.accepted + mean), Empty())


class GoesNaN(Decent):
    def update(self, state: Any, outcome: Outcome) -> Any:
        with np.errstate(all="ignore"):
            rate = outcome.num_accepted_tokens / outcome.num_draft_tokens
        return State(Seen(rate), Empty())


class ChangesShape(Decent):
    def update(self, state: Any, outcome: Outcome) -> Any:
        return State(Seen(state.rows.accepted[:, None]), Empty())


class ChangesDtype(Decent):
    def update(self, state: Any, outcome: Outcome) -> Any:
        return State(Seen(outcome.num_accepted_tokens), Empty())  # type: ignore[arg-type]


class RowsWithoutSequences(Decent):
    def init(self, num_sequences: int, seed: int) -> Any:
        return State(Seen(np.zeros(3)), Empty())


class UnstableDraft(Decent):
    def keep_drafting(
        self, state: Any, cycle: Cycle, decision: Decision, depth: int, signals: DraftSignals
    ) -> Any:
        return signals.top1_probability.mean(axis=1)

    def decide(self, state: Any, cycle: Cycle) -> Decision:
        return Decision(cycle.max_tau)


class Counting(Decent):
    """Remembers calls outside its state, so that a second life differs from the first."""

    calls: ClassVar[list[int]] = [0]

    def update(self, state: Any, outcome: Outcome) -> Any:
        self.calls[0] += 1
        gain = np.full(outcome.tau.size, float(self.calls[0]))
        return State(Seen(state.rows.accepted + gain), Empty())


class RowsUnalike(Decent):
    def init(self, num_sequences: int, seed: int) -> Any:
        return State(Seen(np.random.default_rng(seed).random(num_sequences)), Empty())


class ReturnsAnArray(Decent):
    def decide(self, state: Any, cycle: Cycle) -> Any:
        return cycle.min_tau


class ReturnsNothing(Decent):
    def update(self, state: Any, outcome: Outcome) -> Any:
        return None


class PlainTuple(Decent):
    def init(self, num_sequences: int, seed: int) -> Any:
        return State((np.zeros(num_sequences),), Empty())


class SharedInteger(Decent):
    def init(self, num_sequences: int, seed: int) -> Any:
        return State(Seen(np.zeros(num_sequences)), 3)


class ScalarMemo(Decent):
    def decide(self, state: Any, cycle: Cycle) -> Decision:
        return Decision(cycle.min_tau, memo=np.ones(()))


@dataclass(frozen=True)
class KeepsADiary(Decent):
    diary: list[int] = field(default_factory=list)

    def update(self, state: Any, outcome: Outcome) -> Any:
        self.diary.append(1)
        return state


class DraftsWithItsNeighbours(Decent):
    def decide(self, state: Any, cycle: Cycle) -> Decision:
        return Decision(cycle.max_tau)

    def keep_drafting(
        self, state: Any, cycle: Cycle, decision: Decision, depth: int, signals: DraftSignals
    ) -> Any:
        return np.full(cycle.max_tau.shape, cycle.max_tau.size > 1)


class TrustsSignals(Decent):
    """Takes every drafter to have a top-1 probability."""

    def decide(self, state: Any, cycle: Cycle) -> Decision:
        return Decision(cycle.max_tau)

    def keep_drafting(
        self, state: Any, cycle: Cycle, decision: Decision, depth: int, signals: DraftSignals
    ) -> Any:
        return signals.top1_probability[:, -1] > 0.5

    def update(self, state: Any, outcome: Outcome) -> Any:
        assert outcome.signals is not None
        assert outcome.signals.entropy.shape == (
            outcome.tau.size,
            outcome.cycle.max_draft_tokens,
        )
        return State(Seen(outcome.signals.top1_probability.sum(axis=1)), Empty())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (BeyondTheCap, "outside"),
        (NotIntegers, "one integer per row"),
        (WrongShape, "one integer per row"),
        (DraftsWithAnyone, "must be available, or the default"),
        (DraftersNotIntegers, "drafter must be one integer per row"),
        (DrafterOfItsNeighbours, "tau or drafter depends on other rows"),
        (ChangesItsArguments, "decide must not change its arguments"),
        (ChangesTheOutcome, "update must not change its arguments"),
        (LooksAtItsNeighbours, "tau or drafter depends on other rows"),
        (LearnsFromItsNeighbours, "state depends on other rows"),
        (GoesNaN, "has NaN"),
        (ChangesShape, "changed its shape or dtype"),
        (ChangesDtype, "changed its shape or dtype"),
        (RowsWithoutSequences, "one row per sequence"),
        (UnstableDraft, "one boolean per row"),
        (Counting, "update must repeat itself"),
        (RowsUnalike, "rows must all be alike"),
        (ReturnsAnArray, "must return a Decision"),
        (ReturnsNothing, "must return a State"),
        (PlainTuple, "must be in a NamedTuple of arrays"),
        (SharedInteger, "must be in a NamedTuple of arrays, got int"),
        (ScalarMemo, "memo .*one row per sequence"),
        (KeepsADiary, "its own fields changed"),
        (DraftsWithItsNeighbours, "keep_drafting: a row depends on other rows"),
        (TrustsSignals, "one integer per row|has NaN|one boolean"),
    ],
)
def test_a_broken_policy_is_found_out(broken: type[Decent], message: str) -> None:
    # As check_policy does, but without shrinking, which takes long and finds the same.
    @settings(max_examples=200, phases=[Phase.generate], deadline=None, database=None)
    @given(strategies.histories())
    def check(history: History) -> None:
        check_history(broken(), history)

    with pytest.raises(PolicyCheckError, match=f"{broken.__name__}: .*({message})"):
        check()


def test_check_policy_shrinks_to_a_small_history() -> None:
    with pytest.raises(PolicyCheckError, match="BeyondTheCap: decide: tau") as caught:
        check_policy(BeyondTheCap(), max_examples=5)
    assert "Arrive" in "".join(caught.value.__notes__)


def test_a_decent_policy_passes() -> None:
    check_policy(Decent())


def test_a_state_that_cannot_be_saved_is_found_out() -> None:
    class Unsavable(Decent):
        def init(self, num_sequences: int, seed: int) -> Any:
            # Its dtype depends on the number of rows, so that an empty state is no pattern for it.
            dtype = np.int64 if num_sequences else np.int8
            return State(Seen(np.full(num_sequences, 300 if num_sequences else 0, dtype)), Empty())

        def decide(self, state: Any, cycle: Cycle) -> Decision:
            return Decision(cycle.min_tau)

        def update(self, state: Any, outcome: Outcome) -> Any:
            return state

    history = History((Arrive((5, 5), (9, 9)), Run((1,))))
    with pytest.raises(PolicyCheckError, match="saved state must load as it was"):
        check_history(Unsavable(), history)


def test_a_policy_that_knows_its_arrays_by_sight_is_found_out() -> None:
    class Sighted(Decent):
        seen: ClassVar[list[FloatArray]] = []

        def init(self, num_sequences: int, seed: int) -> Any:
            self.seen.append(np.zeros(()))
            return State(Empty(), Seen(self.seen[-1]))

        def decide(self, state: Any, cycle: Cycle) -> Decision:
            known = any(array is state.shared.accepted for array in self.seen)
            return Decision(cycle.max_tau if known else cycle.min_tau)

        def update(self, state: Any, outcome: Outcome) -> Any:
            return state

    history = History((Arrive((5, 5), (9, 9)), Run((1,))))
    with pytest.raises(PolicyCheckError, match="saved and loaded decides otherwise"):
        check_history(Sighted(), history)


@settings(max_examples=10)
@given(st.data())
def test_cycles_and_outcomes_are_those_a_policy_meets(data: st.DataObject) -> None:
    policy = make_policy("ewma")
    state, cycle = data.draw(strategies.cycles(policy))
    assert policy.decide(state, cycle).tau.shape == cycle.max_tau.shape
    state, outcome = data.draw(strategies.outcomes(policy))
    assert (outcome.num_accepted_tokens <= outcome.num_draft_tokens).all()
    assert policy.update(state, outcome).rows.accepted.shape == outcome.tau.shape


@given(strategies.histories())
def test_histories_reach_late_outcomes_and_leave_no_trace_of_the_policy(history: History) -> None:
    steps = play(make_policy("fixed:tau=2"), history)
    again = play(make_policy("fixed:tau=0"), history)
    # Where no sequence ends early, the same sequences are asked about whatever the policy does.
    assert len(steps) <= len(history.events)
    assert [len(s.tau) for s in steps[:1]] == [len(s.tau) for s in again[:1]]


@given(strategies.outcomes(make_policy("fixed:tau=3")))
def test_agreement_bits_follow_from_what_was_drafted(case: tuple[Any, Outcome]) -> None:
    outcome = case[1]
    bits: IntArray = outcome.agreement().astype(np.int64)
    for i in range(outcome.tau.size):
        accepted = int(outcome.num_accepted_tokens[i])
        known = [1] * accepted + ([0] if outcome.rejected[i] else [])
        assert bits[i].tolist() == known + [-1] * (bits.shape[1] - len(known))
