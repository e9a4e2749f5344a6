import pytest

from adaptive_spec import PolicySpecError, make_policy
from adaptive_spec.policies.sglang_tiers import SglangTiers
from tests.policies.driving import drive, drive_batch


def test_decisions_worked_by_hand() -> None:
    # Tiers 1, 3, 5, 7, first tau 3, mean e = 2; decisions after batches 15, 20, 25, ...
    # 15: A = 3 each time, e = 3 - .8**15 = 2.965 > 2.5, not > 4.5        -> 5
    # 20: A = 5, e = 5 - 2.035 * .8**5 = 4.333, not > 4.5                 -> 5
    # 25: e = 5 - .667 * .8**5 = 4.781 > 4.5, not > 6.5 (the last tier)   -> 7
    # 30: A = 0, e = 4.781 * .8**5 = 1.567 <= 4.25 and <= 2.25, not .25   -> 3
    # 35: e = .513, not <= .25                                            -> 3
    # 40: e = .168 <= .25                                                 -> 1
    taus = drive(SglangTiers(), [7] * 25 + [0] * 16)
    assert taus == [3] * 15 + [5] * 10 + [7] * 5 + [3] * 10 + [1]


def test_it_falls_back_in_larger_batches_and_probes() -> None:
    # Batches of 8: tiers 0, 1, 3; tau 3, e = 2.
    # 15: A = 0, e = 2 * .8**15 = .070 <= .5 (to 1) and <= .5 (to 0)      -> 0
    # 20: a probe; e rests                                                -> 1
    # 25: A = 1, e = 1 - .930 * .8**5 = .695 > .5, not > 2.5              -> 3
    # The same with A = 0: e = .023 <= .5                                 -> 0
    none, one = [[0] * 8], [[1] * 8]
    back = drive_batch(SglangTiers(), none * 20 + one * 5 + none)
    assert [tau for tau, *_ in back] == [3] * 15 + [0] * 5 + [1] * 5 + [3]
    off = drive_batch(SglangTiers(), none * 26)
    assert [tau for tau, *_ in off] == [3] * 15 + [0] * 5 + [1] * 5 + [0]


def test_the_mean_is_taken_over_the_batch() -> None:
    # e = .8 * 2 + .2 * (3 + 2) / 8 = 1.725; then A = 3: 1.98, 2.184, 2.347, 2.478, 2.582 > 2.5.
    policy = SglangTiers(warmup=0, interval=1, tiers=(1, 3, 5))
    runs = [[3, 2, 0, 0, 0, 0, 0, 0], *[[9] * 8] * 6]
    assert [tau for tau, *_ in drive_batch(policy, runs)] == [3, 3, 3, 3, 3, 3, 5]


def test_each_class_of_batch_sizes_stands_for_itself() -> None:
    taus = drive_batch(SglangTiers(), [[0] * 8] * 15 + [[0] * n for n in (1, 7, 8, 31, 32, 64)])
    assert [tau for tau, *_ in taus[15:]] == [3, 3, 0, 0, 1, 0]


def test_a_tier_never_seen_begins_with_a_mean_of_its_own() -> None:
    # From tau 0, e = -1. Probe of 2 with e = 1; A = 2: 1.2, 1.36, 1.488, 1.590 > 1.5 -> 4.
    policy = SglangTiers(tiers=(0, 2, 4), initial=0, warmup=0, interval=1)
    assert drive(policy, [2] * 6) == [0, 2, 2, 2, 2, 4]


def test_an_initial_tau_that_is_no_tier_gives_way_to_the_middle_one() -> None:
    assert drive(SglangTiers(tiers=(2, 4, 8)), [0]) == [4]


def test_a_drafter_that_proposes_nothing_teaches_nothing() -> None:
    assert drive(SglangTiers(), [0] * 60, proposes=False) == [3] * 60


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sglang-tiers:tiers=3/1", r"tiers = \(3, 1\); they must be increasing"),
        ("sglang-tiers:tiers=-1/1", "draft lengths in 0..1024"),
        ("sglang-tiers:initial=-1", "initial = -1; it must be in 0..1024"),
        ("sglang-tiers:smoothing=2", "smoothing = 2.0; it must be in"),
        ("sglang-tiers:warmup=-1", "warmup = -1; it must be at least 0"),
        ("sglang-tiers:interval=0", "interval = 0; it must be at least 1"),
    ],
)
def test_values_out_of_range_are_refused(spec: str, message: str) -> None:
    with pytest.raises(PolicySpecError, match=message):
        make_policy(spec)
