import pytest

from adaptive_spec import ConstantCosts, PolicySpecError, make_policy
from adaptive_spec.policies.sglang_throughput import SglangThroughput
from tests.policies.driving import drive, drive_batch


def test_decisions_worked_by_hand() -> None:
    # Costs 1 + .5 S, tiers 1 and 3, windows of two batches, a decision after every second one.
    #   batches 1, 2 at tau 3: A = (0, 3), (1, 0): p = (.5, .25, .25)
    #       1.5 / 1.5 = 1.000,  2.00 / 2.5 = .800                           -> 1; forget depths 1, 2
    #   batches 3, 4 at tau 1: all accepted: p = (1), flat beyond: (1, 1, 1)
    #       2.0 / 1.5 = 1.333,  4.00 / 2.5 = 1.600                          -> 3
    #   batches 5, 6 at tau 3: A = (3, 3), (1, 1): p = (1, .5, .5)
    #       2.0 / 1.5 = 1.333,  3.00 / 2.5 = 1.200                          -> 1
    policy = SglangThroughput(tiers=(1, 3), window=2, interval=2)
    runs = [[0, 3], [1, 0], [1, 1], [1, 1], [3, 3], [1, 1], [0, 0]]
    taus = drive_batch(policy, runs, ConstantCosts(draft=0.5))
    assert [tau for tau, _ in taus] == [3, 3, 1, 1, 3, 3, 1]


@pytest.mark.parametrize(("draft", "then"), [(0.05, 4), (0.1, 2)])
def test_acceptance_beyond_the_depths_tried_goes_on_geometrically(draft: float, then: int) -> None:
    # p = (1, .5), ratio .5: p_2 = .25, p_3 = .125.
    # Costs 1 + .05 S: 2.5 / 1.1 = 2.273 < 2.875 / 1.2 = 2.396; 1 + .1 S: 2.083 > 2.054.
    policy = SglangThroughput(tiers=(2, 4), initial=2, window=2, interval=2)
    assert drive(policy, [2, 1, 0], ConstantCosts(draft=draft)) == [2, 2, then]


def test_a_switch_must_bring_more_than_the_hysteresis() -> None:
    # As above: 2.396 / 2.273 is a gain of 5.4 %.
    for hysteresis, then in ((0.05, 4), (0.06, 2)):
        policy = SglangThroughput((2, 4), 2, 2, 2, hysteresis)
        assert drive(policy, [2, 1, 0], ConstantCosts(draft=0.05)) == [2, 2, then]


def test_it_decides_when_due_and_all_windows_are_full() -> None:
    policy = SglangThroughput(tiers=(1, 3), window=3, interval=2)
    assert drive(policy, [0] * 6, ConstantCosts(draft=0.5)) == [3, 3, 3, 3, 1, 1]


def test_no_acceptance_at_all_is_not_extrapolated_to_any() -> None:
    policy = SglangThroughput(tiers=(1, 3), initial=1, window=1, interval=1)
    assert drive(policy, [0] * 4, ConstantCosts(draft=0.0)) == [1] * 4


def test_published_defaults() -> None:
    taus = drive(SglangThroughput(), [9] * 41)
    # p = (1, 1, 1), flat: 7 at once, after 20 batches; after 20 more, still 7.
    assert taus == [3] * 20 + [7] * 21


def test_tiers_depend_on_the_batch_size() -> None:
    # 3 is no tier for 128, where only 1 is; for one sequence 7 is the longest.
    policy = SglangThroughput(window=1, interval=1)
    taus = drive_batch(policy, [[9] * 128, [9] * 128, [9], [9]])
    assert [tau for tau, *_ in taus] == [3, 1, 1, 7]


def test_depths_that_the_cap_keeps_out_of_reach_are_not_waited_for() -> None:
    policy = SglangThroughput(tiers=(1, 3), window=2, interval=2)
    taus = drive(policy, [0] * 3, ConstantCosts(draft=0.5), max_draft_tokens=2)
    assert taus == [2, 2, 1]


def test_a_drafter_that_proposes_nothing_teaches_nothing() -> None:
    assert drive(SglangThroughput(), [0] * 60, proposes=False) == [3] * 60


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sglang-throughput:tiers=0/1", "draft lengths in 1..1024"),
        ("sglang-throughput:tiers=2/2", "they must be increasing"),
        ("sglang-throughput:initial=0", "initial = 0; it must be in 1..1024"),
        ("sglang-throughput:window=0", "window = 0; it must be in 1..10000"),
        ("sglang-throughput:interval=0", "interval = 0; it must be at least 1"),
        ("sglang-throughput:hysteresis=nan", "hysteresis = nan; it must be at least 0"),
    ],
)
def test_values_out_of_range_are_refused(spec: str, message: str) -> None:
    with pytest.raises(PolicySpecError, match=message):
        make_policy(spec)
