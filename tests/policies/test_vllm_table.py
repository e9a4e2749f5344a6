import pytest

from adaptive_spec import PolicySpecError, make_policy
from adaptive_spec.policies.vllm_table import VllmTable
from tests.policies.driving import drive_batch


def test_tau_by_batch_size() -> None:
    # [1, 64, 3], [65, 128, 1], [129, 512, 0]; beyond 512 the last K is carried on.
    runs = [[0] * size for size in (1, 64, 65, 128, 129, 512, 513)]
    assert [tau for tau, *_ in drive_batch(VllmTable(), runs)] == [3, 3, 1, 1, 0, 0, 0]


def test_a_table_of_one_s_own() -> None:
    policy = make_policy("vllm-table:batch_sizes=1/3,taus=7/2")
    taus = drive_batch(policy, [[0], [0, 0], [0, 0, 0], [9] * 20], max_draft_tokens=6)
    assert [tau for tau, *_ in taus] == [6, 6, 2, 2]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vllm-table:batch_sizes=2/3,taus=1/0", "the first row must begin at 1"),
        ("vllm-table:batch_sizes=1/3", "one for each of batch_sizes"),
        ("vllm-table:batch_sizes=1/5/4", "increasing"),
        ("vllm-table:taus=3/1/2000", "draft lengths in 0..1024"),
    ],
)
def test_values_out_of_range_are_refused(spec: str, message: str) -> None:
    with pytest.raises(PolicySpecError, match=message):
        make_policy(spec)
