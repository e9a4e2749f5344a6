"""Which tokens a draft can propose."""

import numpy as np
import pytest

from adaptive_spec.distillation.texts import Text
from adaptive_spec.distillation.vocabulary import coverage, frequent_tokens


def text(prompt: list[int], answer: list[int]) -> Text:
    return Text(np.array(prompt + answer), len(prompt), True)


def test_answers_count_more_than_prompts() -> None:
    texts = [text([5, 5, 5], [1, 2]), text([5, 5], [1, 3])]
    assert frequent_tokens(texts, 3, 10).tolist() == [1, 2, 3]


def test_some_tokens_are_always_among_them() -> None:
    assert frequent_tokens([text([4], [1, 1, 2])], 2, 10, always=[9]).tolist() == [1, 9]


def test_no_more_than_the_vocabulary() -> None:
    assert frequent_tokens([text([4], [1])], 50, 10).tolist() == list(range(10))


def test_other_text_counts_as_much_as_all_answers() -> None:
    texts = [text([5], [1, 1, 1, 2])]
    # 1 has 3 of 4; the four tokens of answers weigh as much as the eight others: 7 has 3, 8 has 1.
    others = [7] * 6 + [8] * 2
    assert frequent_tokens(texts, 2, 10, others=others).tolist() == [1, 7]
    assert frequent_tokens(texts, 3, 10, others=[7, 7, 8]).tolist() == [1, 7, 8]
    assert frequent_tokens(texts, 2, 10).tolist() == [1, 2]


def test_coverage_is_of_answers() -> None:
    texts = [text([7, 7], [1, 2]), text([7], [1, 4])]
    assert coverage(texts, np.array([1, 2])) == pytest.approx(0.75)
