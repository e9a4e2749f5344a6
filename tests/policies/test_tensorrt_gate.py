import pytest

from adaptive_spec import PolicySpecError, make_policy
from adaptive_spec.policies.tensorrt_gate import TensorrtGate
from tests.policies.driving import drive, drive_batch


def test_tau_by_batch_size() -> None:
    runs = [[9] * size for size in (1, 4, 5, 32, 33)]
    assert [tau for tau, *_ in drive_batch(TensorrtGate(), runs)] == [5, 5, 3, 3, 0]
    policy = make_policy("tensorrt-gate:batch_sizes=4/8/32,taus=4/2/1")
    assert [tau for tau, *_ in drive_batch(policy, runs)] == [4, 4, 2, 1, 0]


def test_decisions_worked_by_hand() -> None:
    # Of 5 drafted: 5, 3, 0, 0 accepted. After three: (1 + .6 + 0) / 3 = .533, open; after four:
    # (.6 + 0 + 0) / 3 = .2 < .5, closed for good.
    policy = TensorrtGate(window=3, threshold=0.5)
    assert drive(policy, [5, 3, 0, 0] + [9] * 20) == [5] * 4 + [0] * 20


def test_it_waits_until_the_window_is_full() -> None:
    assert drive(TensorrtGate(window=3, threshold=0.5), [0] * 5) == [5, 5, 5, 0, 0]


def test_a_mean_at_the_threshold_stays_open() -> None:
    assert drive(TensorrtGate(window=2, threshold=0.2), [1] * 5) == [5] * 5


def test_tokens_are_pooled_over_the_batch() -> None:
    # (5 + 0) / 10 = .5 and (0 + 1) / 10 = .1: mean .3.
    for threshold, then in ((0.3, 5), (0.31, 0)):
        policy = TensorrtGate(window=2, threshold=threshold)
        taus = drive_batch(policy, [[5, 0], [0, 1], [0, 0]])
        assert taus == [[5, 5], [5, 5], [then, then]]


def test_cycles_without_drafting_do_not_count() -> None:
    assert drive(TensorrtGate(window=2, threshold=1.0), [0] * 9, proposes=False) == [5] * 9


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tensorrt-gate:batch_sizes=4/4,taus=2/1", "at least 1 and increasing"),
        ("tensorrt-gate:batch_sizes=0/4,taus=2/1", "at least 1 and increasing"),
        ("tensorrt-gate:batch_sizes=4/8/9", "there must be one for each of batch_sizes"),
        ("tensorrt-gate:taus=5/-1", "draft lengths in 0..1024"),
        ("tensorrt-gate:window=0", "window = 0; it must be in 1..10000"),
        ("tensorrt-gate:threshold=nan", r"threshold = nan; it must be in \[0, 1\]"),
    ],
)
def test_values_out_of_range_are_refused(spec: str, message: str) -> None:
    with pytest.raises(PolicySpecError, match=message):
        make_policy(spec)
