"""The clairvoyant optimum: equal to plain recursion, and below everything else."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import ConstantCosts
from adaptive_spec.simulations import hindsight
from adaptive_spec.simulations.hindsight import least_passes, optimum
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.testing import strategies
from adaptive_spec.traces import (
    Component,
    DrafterTrace,
    SequenceTrace,
    TraceInfo,
    TraceSet,
    in_default_order,
)
from tests.simulations import naive


@given(strategies.traces(), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0.0, 0.2]))
def test_equals_plain_recursion(traces: TraceSet, draft: float, verify: float) -> None:
    result = optimum(traces, costs=ConstantCosts(draft, verify), max_draft_tokens=6)
    for i, sequence in enumerate(traces):
        expected = naive.best_time(sequence, 6, draft, verify)
        assert result.time_ms[i] == pytest.approx(expected)
    assert result.tokens.tolist() == [s.run_lengths.size for s in traces]


@given(
    strategies.traces(),
    strategies.cost_models(),
    st.sampled_from(["fixed:tau=0", "fixed:tau=2", "fixed:tau=9", "ewma", "bandit"]),
)
def test_no_policy_is_faster_and_none_is_slower_than_always_the_dearest_cycle(
    traces: TraceSet, costs: Any, spec: str
) -> None:
    best = optimum(traces, costs=costs)
    result = replay(spec, traces, costs=costs)
    assert (best.time_ms <= result.time_ms * (1 + 1e-9)).all()
    for i, sequence in enumerate(traces):
        n = sequence.run_lengths.size
        longest = np.array([sequence.prompt_tokens, sequence.prompt_tokens + n])
        dearest = costs.table(10, 1, longest).max()
        assert result.time_ms[i] <= n * dearest * (1 + 1e-9)


@given(strategies.traces())
def test_a_higher_price_never_takes_more_passes(traces: TraceSet) -> None:
    costs = ConstantCosts(0.3, 0.1)
    passes = [
        optimum(traces, costs=costs, pass_price_ms=price).cycles.sum() for price in (0, 1, 5, 1e6)
    ]
    assert passes == sorted(passes, reverse=True)
    assert passes[-1] == least_passes(traces).sum()


@given(strategies.traces(drafting="token"))
def test_a_token_drafter_takes_least_passes_at_the_largest_tau(traces: TraceSet) -> None:
    longest = replay("fixed:tau=10", traces, costs=ConstantCosts())
    assert longest.cycles.tolist() == least_passes(traces).tolist()


@given(strategies.traces(max_sequences=9))
def test_sequences_may_be_solved_a_few_at_a_time(traces: TraceSet) -> None:
    whole = optimum(traces, costs=ConstantCosts(0.2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hindsight, "_ENTRIES_AT_ONCE", 100)
        parts = optimum(traces, costs=ConstantCosts(0.2))
    assert whole.shares.names == parts.shares.names
    for a, b in zip(
        (*whole[:-1], *whole.shares[1:]), (*parts[:-1], *parts.shares[1:]), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_only_what_pays_is_drafted() -> None:
    import adaptive_spec.traces as t

    runs = np.array([3, 2, 1, 0, 0, 1, 0])
    sequence = t.SequenceTrace("a", "", 5, runs, np.ones(7, np.bool_))
    trace = t.TraceSet(t.TraceInfo("v", "d", "token"), (sequence,))
    cheap = optimum(trace, costs=ConstantCosts(0.1))
    assert (cheap.cycles[0], cheap.num_draft_tokens[0], cheap.num_accepted_tokens[0]) == (3, 4, 4)
    assert cheap.time_ms[0] == pytest.approx(3.4)
    dear = optimum(trace, costs=ConstantCosts(2.0))
    assert dear.num_draft_tokens[0] == 0
    assert dear.time_ms[0] == 7


def test_the_best_drafter_is_part_of_the_optimum() -> None:
    info = TraceInfo(
        "v", "a+b", "block", components=(Component("a", "block"), Component("b", "token"))
    )
    copied = DrafterTrace(
        np.array([1, 0, 0, 2, 0, 0]), np.array([True, True, False, True, True, True])
    )
    model = DrafterTrace(np.array([3, 2, 1, 0, 2, 1]), np.ones(6, np.bool_), 5)
    whole = in_default_order([copied, model])
    sequence = SequenceTrace(
        "s", "", 4, whole.run_lengths, whole.proposes, components=(copied, model)
    )
    traces = TraceSet(info, (sequence,))
    costs = ConstantCosts(draft=0.2, drafts=(("a", 0.0),))
    result = optimum(traces, costs=costs)
    # The model drafts 3 and then 1, two cycles in 2.8; with the free lookup it takes three.
    assert result.time_ms[0] == pytest.approx(2.8)
    assert result.time_ms[0] == pytest.approx(best_of_all(sequence, [0.0, 0.2]))
    assert result.shares.cycles[0].tolist() == [0, 2]
    assert result.shares.num_draft_tokens[0].tolist() == [0, 4]
    assert least_passes(traces).tolist() == [2]


def best_of_all(sequence: SequenceTrace, draft: list[float]) -> float:
    """The optimum by plain recursion over positions, drafters and tau."""
    n = sequence.run_lengths.size
    best = [0.0] * (n + 1)
    for p in range(n - 1, -1, -1):
        options = [1 + best[p + 1]]
        for drafter, price in zip(sequence.components, draft, strict=True):
            room = n - p if drafter.draftable_tokens is None else drafter.draftable_tokens - p
            for tau in range(1, min(room, 10) + 1 if drafter.proposes[p] else 1):
                landing = min(p + min(int(drafter.run_lengths[p]), tau) + 1, n)
                options.append(1 + tau * price + best[landing])
        best[p] = min(options)
    return best[0]


@pytest.mark.parametrize("seed", range(20))
def test_the_optimum_over_drafters_is_the_recursion_s(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 30))
    parts = []
    for _ in range(3):
        proposes = random.random(n) < 0.7
        runs = np.minimum(random.integers(0, 6, n), n - np.arange(n)) * proposes
        parts.append(DrafterTrace(runs, proposes))
    whole = in_default_order(parts)
    sequence = SequenceTrace("s", "", 4, whole.run_lengths, whole.proposes, components=tuple(parts))
    names = ("a", "b", "c")
    info = TraceInfo("v", "a+b+c", "block", components=tuple(Component(x, "block") for x in names))
    prices = [0.0, 0.1, 0.4]
    costs = ConstantCosts(draft=9.0, drafts=tuple(zip(names, prices, strict=True)))
    result = optimum(TraceSet(info, (sequence,)), costs=costs)
    assert result.time_ms[0] == pytest.approx(best_of_all(sequence, prices))
    assert result.shares.num_draft_tokens.sum() == result.num_draft_tokens.sum()
