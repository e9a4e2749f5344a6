"""Which tokens a draft can propose: those the verifier writes most often (FR-Spec, Zhao 2025)."""

from collections.abc import Collection, Sequence

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.distillation.texts import Text

_PROMPT_WEIGHT = 0.1  # users' words tell the answers' words, less than answers do


def frequent_tokens(
    texts: Sequence[Text],
    size: int,
    vocab_size: int,
    always: Collection[int] = (),
    others: Sequence[int] = (),
) -> IntArray:
    """The most frequent tokens, ascending, ``[min(size, vocab_size)]``.

    Args:
      texts: where to count.
      size: tokens wanted, >= 1.
      vocab_size: of the verifier.
      always: tokens that are among them in any case, such as those that end a sequence.
      others: tokens of other text, which counts as much in total as all answers do.
    """
    counts = np.zeros(vocab_size)
    if len(others):
        answers = sum(text.token_ids.size - text.answer_start for text in texts)
        counts += np.bincount(np.asarray(others), minlength=vocab_size) * (answers / len(others))
    for text in texts:
        weights = np.full(text.token_ids.size, _PROMPT_WEIGHT)
        weights[text.answer_start :] = 1.0
        np.add.at(counts, text.token_ids, weights)
    counts[list(always)] = np.inf
    return np.sort(np.argsort(-counts, kind="stable")[:size])


def coverage(texts: Sequence[Text], token_ids: IntArray) -> float:
    """Share of answer tokens that are among ``token_ids``."""
    answers = np.concatenate([text.token_ids[text.answer_start :] for text in texts])
    return float(np.isin(answers, token_ids).mean())
