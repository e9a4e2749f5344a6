"""What a policy that looks back is told in replay, against the trace it is told about."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from adaptive_spec.costs import ConstantCosts
from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, Policy, State
from adaptive_spec.simulations import replay
from adaptive_spec.testing import strategies
from adaptive_spec.traces import SequenceTrace, TraceInfo, TraceSet

COSTS = ConstantCosts(draft=0.1, verify=0.0)


@dataclass(frozen=True)
class LooksBack(Policy[Empty, Empty]):
    """Drafts by a fixed pattern, catches up at times, and keeps what it is told."""

    pattern: tuple[int, ...] = (3, 0, 0, 1, 5, 0, 2)
    catches_up: tuple[bool, ...] = (False, True, False, False, True)
    told: list[Outcome] = field(default_factory=list)

    looks_back = True

    def init(self, num_sequences: int, seed: int) -> State[Empty, Empty]:
        return State(Empty(), Empty())

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        step = cycle.cycle_index + cycle.sequence_id
        tau = np.take(np.array(self.pattern), step, mode="wrap")
        return Decision(
            cycle.clip(tau), catch_up=np.take(np.array(self.catches_up), step, mode="wrap")
        )

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        self.told.append(outcome)
        return state


def told(trace: TraceSet, **fields: Any) -> list[Outcome]:
    policy = LooksBack(**fields)
    replay(policy, trace, costs=COSTS)
    return policy.told


@given(strategies.traces())
def test_what_is_told_is_what_the_trace_holds(trace: TraceSet) -> None:
    for outcome in told(trace):
        runs = outcome.runs
        assert runs is not None
        assert (runs.known <= runs.end[:, None]).all()
        for row, sequence_id in enumerate(outcome.cycle.sequence_id.tolist()):
            sequence = trace.sequences[sequence_id]
            known = int(runs.known[row, 0])
            for column, position in enumerate(runs.position[row].tolist()):
                seen = 0 <= position < known
                assert runs.seen[row, 0, column] == seen
                length = min(int(sequence.run_lengths[position]), known - position) if seen else 0
                assert runs.length[row, 0, column] == length
                assert runs.ended[row, 0, column] == (seen and position + length < known)
                assert not runs.proposes[row, 0, column] or sequence.proposes[position]


@given(strategies.traces(drafting="token"))
def test_a_token_drafter_knows_what_it_read_and_what_its_drafts_showed(trace: TraceSet) -> None:
    for outcome in told(trace):
        assert outcome.runs is not None
        cycle = outcome.cycle
        for row, sequence_id in enumerate(cycle.sequence_id.tolist()):
            reach = trace.sequences[sequence_id].draftable_tokens
            before = int(cycle.emitted_tokens[row])
            read = before if reach is None else min(before, reach)
            drafted, accepted = outcome.num_draft_tokens[row], outcome.num_accepted_tokens[row]
            assert outcome.decision.catch_up is not None
            if drafted > 0:
                judged = min(accepted + (accepted < drafted), outcome.num_emitted_tokens[row])
                assert outcome.runs.known[row, 0] == before + judged
            elif outcome.decision.catch_up[row] and cycle.behind_tokens[row, 0]:
                room = before + 1 if reach is None else reach
                assert outcome.runs.known[row, 0] == min(before + 1, room)
            else:
                assert outcome.runs.known[row, 0] == read - cycle.behind_tokens[row, 0]


@given(strategies.traces(drafting="block"))
def test_a_block_drafter_is_asked_about_everything(trace: TraceSet) -> None:
    for outcome in told(trace):
        assert outcome.runs is not None
        assert (outcome.runs.known[:, 0] == outcome.runs.end).all()
        assert (outcome.cycle.behind_tokens == 0).all()


def sequence(bits: list[int]) -> SequenceTrace:
    runs = [
        next((i for i, b in enumerate(bits[p:]) if not b), len(bits) - p) for p in range(len(bits))
    ]
    return SequenceTrace("s", "", 4, np.array(runs), np.ones(len(bits), np.bool_))


def test_a_hand_worked_sequence() -> None:
    trace = TraceSet(
        TraceInfo("verifier", "drafter", "token"), (sequence([1, 1, 0, 1, 1, 1, 0, 1]),)
    )
    first, second, third, *_ = told(trace, pattern=(3, 0, 2), catches_up=(False,))
    # Two of three tokens accepted, the third rejected: three bits are known, and the run ended.
    assert first.runs is not None
    assert first.runs.known.tolist() == [[3]]
    assert first.runs.length[0, 0, -3:].tolist() == [2, 1, 0]
    assert first.runs.ended[0, 0, -3:].all()
    # Fallback emits position 3, of which nothing is known until the drafter reads it ...
    assert second.runs is not None
    assert second.runs.known.tolist() == [[3]]
    # ... as it does before it drafts 4 and 5; both are accepted, the bonus token is not known.
    assert third.runs is not None
    assert third.cycle.behind_tokens.tolist() == [[1]]
    assert third.runs.known.tolist() == [[6]]
    assert third.runs.end.tolist() == [7]
    assert third.runs.length[0, 0, -4:].tolist() == [3, 2, 1, 0]
    assert third.runs.ended[0, 0, -4:].tolist() == [False, False, False, False]


def test_catching_up_costs_one_draft_step() -> None:
    trace = TraceSet(TraceInfo("verifier", "drafter", "token"), (sequence([1] * 6),))
    plain = replay(LooksBack((0,), (False,)), trace, costs=COSTS).time_ms[0]
    # There is something to read in every second cycle: reading tells of the next token, too.
    reading = replay(LooksBack((0,), (True,)), trace, costs=COSTS).time_ms[0]
    assert reading == pytest.approx(plain + 3 * 0.1 * COSTS.plain_ms)
    drafting = replay(LooksBack((1,), (True,)), trace, costs=COSTS).time_ms[0]
    assert drafting == replay(LooksBack((1,), (False,)), trace, costs=COSTS).time_ms[0]
