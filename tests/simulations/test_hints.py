"""What a policy is shown before a draft in replay, against the trace it is shown of."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from adaptive_spec.costs import ConstantCosts
from adaptive_spec.hints import Certainty, Hints
from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, Policy, State
from adaptive_spec.simulations import replay
from adaptive_spec.traces import (
    Component,
    DrafterTrace,
    SequenceTrace,
    SignalTrace,
    TraceInfo,
    TraceSet,
    run_lengths_of,
)
from adaptive_spec.traces.sequences import in_default_order

NAN = float("nan")


@dataclass(frozen=True)
class TakesHints(Policy[Empty, Empty]):
    """Drafts by a fixed pattern, and keeps what it is shown."""

    pattern: tuple[int, ...]
    drafters: tuple[int, ...]
    shown: list[Hints] = field(default_factory=list)

    takes_hints = True

    def init(self, num_sequences: int, seed: int) -> State[Empty, Empty]:
        return State(Empty(), Empty())

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        assert cycle.hints is not None
        self.shown.append(cycle.hints)
        tau, drafter = (
            np.take(np.array(each), cycle.cycle_index, mode="wrap")
            for each in (self.pattern, self.drafters)
        )
        return Decision(cycle.clip(tau), drafter=drafter)

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        return state


def first(values: list[float]) -> SignalTrace:
    return SignalTrace(np.array(values), np.zeros((len(values), 0)))


def trace(*, certainty: bool = True) -> TraceSet:
    """Seven tokens, a lookup that has no match at 3, and a draft model; twice the same sequence."""
    lookup = DrafterTrace(
        np.array([0, 1, 0, 0, 3, 0, 1]),
        np.arange(7) != 3,
        signals={"match_length": first([1, 2, 3, NAN, 5, 6, 7, 8])},
    )
    bits = np.array([1, 1, 0, 1, 1, 0, 1], np.bool_)
    model = DrafterTrace(
        run_lengths_of(bits),
        np.ones(7, np.bool_),
        signals={"top1_probability": first([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])},
    )
    whole = in_default_order((lookup, model))
    sequences = tuple(
        SequenceTrace(
            name,
            "",
            4,
            whole.run_lengths,
            whole.proposes,
            components=(lookup, model),
            certainty=Certainty(np.arange(10.0, 17), np.arange(20.0, 27)) if certainty else None,
        )
        for name in "ab"
    )
    parts = Component("lookup", "block"), Component("draft-model", "token")
    return TraceSet(TraceInfo("verifier", "both", "block", components=parts), sequences)


def shown(policy: TakesHints, traces: TraceSet, **options: Any) -> list[Hints]:
    replay(policy, traces, costs=ConstantCosts(), **options)
    return policy.shown


@pytest.mark.parametrize("options", [{}, {"concurrency": 2}])
def test_a_hand_worked_sequence(options: dict[str, int]) -> None:
    policy = TakesHints((3, 0, 1, 1), (1, 1, 1, 0))
    cycles = [
        {name: part[-1].tolist() for name, part in hints._asdict().items()}
        for hints in shown(policy, trace(), **options)
    ]
    # Position 0: no output yet, nothing drafted. A match of one token.
    # Draft 3 by the model: tokens 0 and 1 are right, token 2 (0.3) is refused; 3 are emitted.
    # Position 3, behind token 2. No match. Nothing is drafted, 1 is emitted.
    # Position 4, behind token 3: the model said nothing since. Draft 1, which is right: the newest
    # it said something of is token 4 (0.5), the bonus token 5 it did not see.
    # Position 6, behind token 5. The lookup drafts, and the sequence ends.
    wanted = [
        (NAN, NAN, [1, NAN], [NAN, NAN]),
        (12, 22, [NAN, NAN], [NAN, 0.3]),
        (13, 23, [5, NAN], [NAN, 0.3]),
        (15, 25, [7, NAN], [NAN, 0.5]),
    ]
    assert len(cycles) == len(wanted)
    for got, values in zip(cycles, wanted, strict=True):
        for name, value in zip(Hints._fields, values, strict=True):
            np.testing.assert_array_equal(got[name], value)


def test_a_lookup_that_drafts_leaves_the_model_s_confidence_alone() -> None:
    found = shown(TakesHints((1, 2), (1, 0)), trace())
    # The model's token 0 (0.1) is right, 2 are emitted; the lookup's token at 2 is wrong.
    assert [hints.draft_probability[-1, 1] for hints in found[1:3]] == [0.1, 0.1]
    assert all(np.isnan(hints.draft_probability[:, 0]).all() for hints in found)


def test_a_drafter_of_blocks_has_no_draft_probability() -> None:
    both = trace()
    kinds = tuple(replace(part, drafting="block") for part in both.info.components)
    blocks = replace(both, info=replace(both.info, components=kinds))
    for hints in shown(TakesHints((1,), (1,)), blocks):
        assert np.isnan(hints.draft_probability).all()


def test_what_a_trace_does_not_hold_is_unknown() -> None:
    for hints in shown(TakesHints((1,), (1,)), trace(certainty=False)):
        assert np.isnan([hints.verifier_entropy, hints.verifier_margin]).all()
    flat = trace(certainty=False).flat()
    assert np.isnan(flat.certainty.entropy).all()


def test_a_flat_trace_will_do() -> None:
    policy = TakesHints((2,), (1,))
    replay(policy, trace().flat(), costs=ConstantCosts())
    again = shown(TakesHints((2,), (1,)), trace())
    for ours, theirs in zip(policy.shown, again, strict=True):
        np.testing.assert_equal(tuple(ours), tuple(theirs))


def test_a_new_sequence_begins_without_confidence() -> None:
    found = shown(TakesHints((3,), (1,)), trace(), concurrency=1)
    starts = [hints for hints in found if np.isnan(hints.verifier_entropy).all()]
    assert len(starts) == 2
    assert all(np.isnan(hints.draft_probability).all() for hints in starts)
