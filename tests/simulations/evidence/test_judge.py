"""Verdicts against figures worked out by hand; the times are derived in ``examples``."""

import numpy as np
import pytest

from adaptive_spec.simulations.evidence.judge import Place, cells_of, judge, verdict
from adaptive_spec.simulations.evidence.marks import Times, static_times
from adaptive_spec.simulations.evidence.results import Settings
from adaptive_spec.simulations.evidence.subjects import Subject, subjects_of
from adaptive_spec.simulations.simulator import replay
from tests.simulations.evidence.examples import (
    COSTS,
    SETTINGS,
    easy_and_hard,
    sequence,
    trace_of,
    varied,
)


def place_of(subject: Subject) -> Place:
    return cells_of(subject, "c", COSTS, "", SETTINGS)[0]


def test_static_times() -> None:
    [subject] = subjects_of([easy_and_hard()])
    static = static_times(subject, COSTS, 3)
    easy, hard = [12, 6.75, 5, 4.125], [12, 13.375, 14.625, 15.75]
    expected = np.array([easy, easy, hard, hard]).T
    assert static.choose_ms == pytest.approx(expected)
    assert static.judge.time_ms == pytest.approx(expected)
    assert static.judge.cycles[:, 0].tolist() == [12, 6, 4, 3]
    assert static.optimum.time_ms == pytest.approx(np.array([[4.125, 4.125, 12, 12]]))


def test_the_marks_of_every_cell() -> None:
    [subject] = subjects_of([easy_and_hard()])
    _, cells = cells_of(subject, "c", COSTS, "basis", SETTINGS)
    assert [cell.category for cell in cells] == [None, "easy", "hard"]
    assert [cell.hindsight_tau for cell in cells] == [2, 3, 0]
    assert [cell.chosen_tau for cell in cells] == [2, 3, 0]
    assert [(cell.prompts, cell.tokens) for cell in cells] == [(4, 48), (2, 24), (2, 24)]
    mixture, easy, hard = (cell.marks for cell in cells)
    assert mixture["plain"].over_hindsight.value == pytest.approx(9.8125 / 12)
    assert mixture["optimum"].over_plain.value == pytest.approx(12 / 8.0625)
    assert mixture["optimum"].span_share == (1, 1, 1)
    assert mixture["hindsight_static"].span_share == (0, 0, 0)
    assert mixture["plain"].tokens_per_cycle == 1
    assert easy["hindsight_static"].over_plain == pytest.approx((12 / 4.125,) * 3)
    assert easy["hindsight_static"].tokens_per_cycle == 4
    assert easy["optimum"].span_share is None  # it is the best static tau itself
    assert hard["plain"].over_chosen == (1, 1, 1)


def test_a_policy_in_every_cell() -> None:
    [subject] = subjects_of([easy_and_hard()])
    verdicts = judge(place_of(subject), "fixed:tau=3", SETTINGS)
    mixture, easy, hard = verdicts[None], verdicts["easy"], verdicts["hard"]
    assert mixture.over_plain.value == pytest.approx(12 / 9.9375)
    assert mixture.over_hindsight.value == pytest.approx(9.8125 / 9.9375)
    assert mixture.span_share is not None
    share = (1 / 9.9375 - 1 / 9.8125) / (1 / 8.0625 - 1 / 9.8125)
    assert mixture.span_share.value == pytest.approx(share)
    assert mixture.over_plain.low < mixture.over_plain.value < mixture.over_plain.high
    assert easy.over_hindsight == pytest.approx((1, 1, 1))
    assert hard.over_hindsight == pytest.approx((12 / 15.75,) * 3)  # prompts are all alike
    assert mixture.tokens_per_cycle == pytest.approx(24 / (3 + 12))
    assert mixture.orders == 1


def test_the_static_tau_is_chosen_on_the_other_half() -> None:
    # Sorted by id, every other prompt is judged: the hard ones.
    prompts = [sequence(f"{i}", "", i % 2) for i in range(8)]
    [subject] = subjects_of([trace_of(prompts)])
    _, [cell] = cells_of(subject, "c", COSTS, "", SETTINGS)
    assert (cell.chosen_tau, cell.hindsight_tau) == (3, 0)
    one = judge(place_of(subject), "fixed:tau=1", SETTINGS)[None]
    assert one.over_chosen == pytest.approx((15.75 / 13.375,) * 3)
    assert one.over_hindsight == pytest.approx((12 / 13.375,) * 3)


def test_learners_are_run_in_many_orders_in_each_category_alone() -> None:
    [subject] = subjects_of([varied(16)])
    verdicts = judge(place_of(subject), "bandit", SETTINGS)
    for category, (_, judged) in subject.groups.items():
        alone = subject.judge.select(judged)
        time = 0.0
        for shuffle in range(3):
            order = np.random.default_rng([0, shuffle]).permutation(len(subject.judge))
            rank = {index: i for i, index in enumerate(judged.tolist())}
            seed = int(np.random.SeedSequence([0, shuffle]).generate_state(1)[0])
            done = replay(
                "bandit",
                alone,
                costs=COSTS,
                max_draft_tokens=3,
                order=[rank[i] for i in order.tolist() if i in rank],
                seed=seed,
            )
            time += float(done.time_ms.sum()) / 3
        assert verdicts[category].orders == 3
        assert verdicts[category].over_plain.value == pytest.approx(alone.num_tokens / time)


def test_others_are_run_once() -> None:
    [subject] = subjects_of([varied(16)])
    verdicts = judge(place_of(subject), "ewma", SETTINGS)
    whole = replay("ewma", subject.judge, costs=COSTS, max_draft_tokens=3)
    for category, (_, judged) in subject.groups.items():
        tokens, time = whole.tokens[judged].sum(), whole.time_ms[judged].sum()
        assert verdicts[category].orders == 1
        assert verdicts[category].over_plain.value == pytest.approx(tokens / time)


def test_the_interval_resamples_prompts_and_orders() -> None:
    settings = Settings(resamples=400)
    marks = Times(np.full((4, 1), 20.0), np.ones((4, 1), np.int64))
    two = Times(np.array([[10.0], [40.0]]), np.array([[1], [3]]))
    found = verdict(two, marks, np.array([4]), settings)
    # One prompt, two orders: both, or one of them twice. Of the mean time, not of the speedups.
    assert found.over_plain == pytest.approx((20 / 25, 20 / 40, 20 / 10))
    assert found.tokens_per_cycle == 2
    assert found.span_share is None
    marks = Times(np.tile([10.0, 30.0], (4, 1)), np.ones((4, 2), np.int64))
    one = Times(np.array([[10.0, 60.0]]), np.ones((1, 2), np.int64))
    found = verdict(one, marks, np.array([1, 1]), settings)
    assert found.over_plain == pytest.approx((40 / 70, 30 / 60, 10 / 10))
    same = Times(marks.time_ms[[0]] * 2, np.ones((1, 2), np.int64))
    paired = verdict(same, marks, np.array([1, 1]), settings)
    assert paired.over_plain == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize(("best", "share"), [(100 / 1.019, None), (100 / 1.021, 0.0)])
def test_small_spans_are_not_shared(best: float, share: float | None) -> None:
    marks = Times(np.array([[120.0], [100.0], [100.0], [best]]), np.ones((4, 1), np.int64))
    own = Times(np.array([[100.0]]), np.ones((1, 1), np.int64))
    found = verdict(own, marks, np.array([9]), SETTINGS).span_share
    assert (found if found is None else found.value) == share


def test_everything_follows_from_the_seed() -> None:
    [subject] = subjects_of([varied(16)])
    first = judge(place_of(subject), "bandit", SETTINGS)
    assert judge(place_of(subject), "bandit", SETTINGS) == first
    other = Settings(max_draft_tokens=3, shuffles=3, resamples=40, seed=1)
    assert judge(place_of(subject), "bandit", other) != first
