"""What policies that look back are told in histories."""

from dataclasses import dataclass, field

from hypothesis import given

from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, Policy, State
from adaptive_spec.testing import check_policy, strategies
from adaptive_spec.testing.histories import History, Play


@dataclass(frozen=True)
class LooksBack(Policy[Empty, Empty]):
    """Drafts and catches up in turn."""

    looks_back = True

    def init(self, num_sequences: int, seed: int) -> State[Empty, Empty]:
        return State(Empty(), Empty())

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        return Decision(cycle.clip(cycle.cycle_index % 4), catch_up=cycle.behind_tokens[:, 0] > 2)

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        return state


@dataclass(frozen=True)
class Recording(LooksBack):
    """Keeps what it is told."""

    told: list[Outcome] = field(default_factory=list, compare=False)

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        self.told.append(outcome)
        return state


@given(strategies.histories())
def test_they_are_told_what_fits_what_happened(history: History) -> None:
    policy = Recording()
    list(Play(policy, history))
    known: dict[int, int] = {}
    for outcome in policy.told:
        runs = outcome.runs
        assert runs is not None
        assert (runs.known[:, 0] <= runs.end).all()
        for row, sequence in enumerate(outcome.cycle.sequence_id.tolist()):
            assert runs.known[row, 0] >= known.get(sequence, 0)
            known[sequence] = int(runs.known[row, 0])
            if outcome.drafter[row] < 0:
                continue
            emitted, accepted = outcome.num_emitted_tokens[row], outcome.num_accepted_tokens[row]
            bits = runs.length[row, outcome.drafter[row]][-emitted:] > 0
            assert bits[:accepted].all()
            assert not (outcome.rejected[row] and bits[accepted])


def test_a_policy_that_looks_back_can_be_checked() -> None:
    check_policy(LooksBack(), max_examples=20)


def test_drafters_fall_behind_in_histories() -> None:
    behind: list[int] = []

    @given(strategies.histories())
    def collect(history: History) -> None:
        policy = Recording()
        list(Play(policy, history))
        behind.extend(int(o.cycle.behind_tokens.max(initial=0)) for o in policy.told)

    collect()
    assert max(behind) > 1
