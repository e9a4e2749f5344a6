import numpy as np
import pytest
import torch

from adaptive_spec import NumericsError
from adaptive_spec.decoding import Draft
from adaptive_spec.decoding.draft import Unread

CPU = torch.device("cpu")


def draft(*tokens: list[int]) -> Draft:
    """Row 1 on the host; rows 0 and 2 on the device, of which the latter proposes one token."""
    unread = Unread(np.array([0, 2]), np.array([2, 1]), torch.tensor(tokens or ([5, 6], [7, 0])))
    return Draft([[], [1, 2, 3], []], unread=(unread,))


def test_sizes_are_known_without_a_read() -> None:
    one = draft()
    assert one.num_tokens.tolist() == [2, 3, 1]
    assert one.token_ids == [[], [1, 2, 3], []]


@pytest.mark.parametrize("depth", [None, 3, 4])
def test_tokens_of_both_kinds_lie_side_by_side_on_the_device(depth: int | None) -> None:
    found = draft([5, 6], [7, 9]).on_device(CPU, depth)
    expected = [[5, 6, 0, 0], [1, 2, 3, 0], [7, 0, 0, 0]]
    assert found.tolist() == [row[: depth or 3] for row in expected]


def test_reading_fills_the_lists_in_place() -> None:
    one = draft()
    held = one.token_ids[2]
    read = one.read()
    assert read.token_ids == [[5, 6], [1, 2, 3], [7]]
    assert held == [7]
    assert read.num_tokens.tolist() == [2, 3, 1]
    assert read.read() is read


def test_other_values_come_with_the_same_read() -> None:
    one = draft()
    values = torch.tensor([[10, 11, 12], [13, 14, 15]])
    np.testing.assert_array_equal(one.read_with(values), values)
    assert one.token_ids == [[5, 6], [1, 2, 3], [7]]


def test_broken_logits_are_noticed_when_read() -> None:
    broken = draft([5, -1], [7, 0])
    assert (broken.on_device(CPU) >= 0).all()  # what goes into the pass is a token
    with pytest.raises(NumericsError, match="draft model"):
        broken.read()
    assert draft([5, 6], [7, -1]).read().token_ids[2] == [7]  # beyond what the row proposes
