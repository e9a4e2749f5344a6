import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import ConstantCosts
from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.engine_settings import Span, llama, spans, tensorrt_llm, vllm
from adaptive_spec.simulations.static_lengths import (
    best,
    best_threshold,
    lengths,
    of_acceptance,
    of_totals,
    of_trace,
    served_costs,
)
from adaptive_spec.traces import (
    Hazards,
    SequenceTrace,
    SignalTrace,
    TraceInfo,
    TraceSet,
    run_lengths_of,
    synthetic_trace,
)
from adaptive_spec.traces.acceptance import Acceptance
from adaptive_spec.traces.imports import Totals

CHANCES = st.floats(0.02, 0.98)


@given(CHANCES, st.integers(1, 8))
def test_averages_of_one_chance_give_it_back(chance: float, drafted: int) -> None:
    passes = 10**7
    accepted = passes * sum(chance**k for k in range(1, drafted + 1))
    totals = Totals(
        passes=passes, num_draft_tokens=passes * drafted, num_accepted_tokens=round(accepted)
    )
    tokens = of_totals(totals, 5)
    assert tokens.least == pytest.approx(
        [sum(chance**k for k in range(t + 1)) for t in range(6)], rel=1e-3
    )
    assert "ASSUMED" in tokens.rests_on


def test_a_mean_length_below_one_token_is_a_share_of_passes() -> None:
    totals = Totals(passes=100, num_draft_tokens=50, num_accepted_tokens=25)
    assert of_totals(totals, 1).least.tolist() == pytest.approx([1.0, 1.5])


@given(st.lists(CHANCES, min_size=1, max_size=6), st.floats(0.0, 0.5), st.floats(0.0, 0.2))
def test_the_best_length_is_that_of_a_naive_search(
    chances: list[float], draft: float, verify: float
) -> None:
    accepted = np.floor(10**6 * np.cumprod(chances)).astype(np.int64)
    acceptance = Acceptance.of_totals(10**6, accepted, 10**6 * len(chances))
    found = lengths(of_acceptance(acceptance, 10), ConstantCosts(draft, verify), 4, 99)
    naive = [
        (1 + sum(np.cumprod(chances)[:tau])) / (1 + tau * (draft + verify))
        for tau in range(len(chances) + 1)
    ]
    assert best(found).speedup[0] == pytest.approx(max(naive), rel=1e-4)


def test_limits_of_the_counts_are_limits_of_the_speedup() -> None:
    acceptance = Acceptance.of_totals(10, np.array([6, 3]), 17)
    found = lengths(of_acceptance(acceptance, 10), ConstantCosts(0.1, 0.0), 1, 99)
    low, high = found[2].tokens_per_pass
    assert low == pytest.approx(1 + 0.6 + 0.3)
    assert high > low
    assert found[2].speedup == pytest.approx((low / 1.2, high / 1.2))


def test_a_trace_drawn_from_counts_says_what_the_counts_say() -> None:
    hazards = (0.2, 0.4, 0.5)
    traces = synthetic_trace(Hazards(hazards=hazards), num_sequences=200, num_tokens=200)
    survival = np.cumprod(1 - np.array(hazards))
    assert of_trace(traces, 3).least == pytest.approx([1, *(1 + np.cumsum(survival))], rel=0.03)


def test_costs_from_served_passes() -> None:
    totals = Totals(
        tokens=300, passes=100, num_draft_tokens=400, num_accepted_tokens=200, decode_ms=3000.0
    )
    assert served_costs(totals, 20.0).draft == pytest.approx(0.125)
    assert served_costs(totals, 99.0).draft == 0.0
    with pytest.raises(ConfigError, match="no time of passes"):
        served_costs(Totals(passes=3), 20.0)
    with pytest.raises(ConfigError, match="nothing was drafted"):
        of_totals(Totals(passes=3, num_draft_tokens=0), 3)


def sure_when_right(sure: bool) -> TraceSet:
    """A draft model whose probabilities tell what will be accepted, or say nothing."""
    random = np.random.default_rng(0)
    sequences = []
    for i in range(4):
        agreement = random.random(120) < 0.6
        first = np.append(np.where(agreement | (not sure), 0.9, 0.2), 0.9)
        later = np.full((121, 6), 0.9)
        later[:-1][agreement] = np.nan
        signals = {"top1_probability": SignalTrace(first, later)}
        runs, all_positions = run_lengths_of(agreement), np.ones(120, np.bool_)
        sequences.append(SequenceTrace(str(i), "", 9, runs, all_positions, signals=signals))
    return TraceSet(TraceInfo("v", "d", "token", signal_depth=7), tuple(sequences))


def test_a_threshold_is_worth_something_where_the_drafter_knows() -> None:
    costs = ConstantCosts(0.2, 0.0)
    constant = best(lengths(of_trace(sure_when_right(True), 6), costs, 1, 99)).speedup[0]
    knows = best_threshold(sure_when_right(True), costs, (1, 6), 6)
    says_nothing = best_threshold(sure_when_right(False), costs, (1, 6), 6)
    assert knows is not None
    assert says_nothing is not None
    assert knows.speedup > 1.1 * constant
    assert says_nothing.speedup < 1.01 * constant
    assert best_threshold(synthetic_trace(Hazards(hazard=0.3)), costs, (3,), 6) is None


def test_spans_join_batch_sizes_of_one_length() -> None:
    assert spans({1: 4, 4: 4, 8: 2, 32: 0}) == [Span(1, 4, 4), Span(5, 8, 2), Span(9, 32, 0)]


def test_engines_are_told_in_their_own_words() -> None:
    table = spans({1: 4, 4: 4, 8: 2, 32: 0})
    assert [setting.text for setting in tensorrt_llm(table)] == [
        "max_draft_len: 4",
        "draft_len_schedule: {4: 4, 8: 2}",
    ]
    assert '"num_speculative_tokens_per_batch_size": [[1, 4, 4], [5, 8, 2], [9, 32, 0]]' in (
        vllm(table)[0].text
    )
    assert [s.text for s in llama(3, 8, 0.4, "")] == [
        "--spec-draft-n-max 3",
        "--spec-draft-p-min 0.4",
    ]
    assert "nothing is known of longer" in llama(8, 8, None, "")[0].why


def test_longer_drafts_at_larger_batches_are_cut_for_tensorrt() -> None:
    length, schedule = tensorrt_llm(spans({1: 2, 8: 5}))
    assert length.text == "max_draft_len: 2"
    assert schedule.text == "draft_len_schedule: {1: 2, 8: 2}"
    assert "cut to max_draft_len" in schedule.why


def test_no_drafts_are_said_to_be_none() -> None:
    for said in (llama(0, 8, None, ""), tensorrt_llm(spans({1: 0})), vllm(spans({1: 0}))):
        assert said[0].text.startswith("(no ")
