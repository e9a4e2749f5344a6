"""What vLLM's n-gram lookup would have proposed at every position of a text.

Of ``prompt_lookup_max`` tokens down to ``prompt_lookup_min``, the longest suffix of the text that
occurred before counts, where it occurred first; the copy ends where the text does (vLLM 0.32,
``v1/spec_decode/ngram_proposer.py``). So a policy that looks back need not see a draft to know what
would have come of it: the text is asked. That takes one search a token, as vLLM's own lookup does.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.runs import Runs, window_of


class NgramTexts:
    """The texts of requests that run, and how drafts from their last positions have fared."""

    def __init__(self, min_ngram: int, max_ngram: int, max_draft_tokens: int) -> None:
        """Sets up without requests.

        Args:
          min_ngram: shortest n-gram that vLLM looks up, >= 1.
          max_ngram: longest one, >= ``min_ngram``.
          max_draft_tokens: K, which says how many positions are looked back on.
        """
        self._sizes = min_ngram, max_ngram
        self._window = window_of(max_draft_tokens)
        self._texts: dict[str, _Text] = {}

    def begin(self, request_id: str, prompt: Sequence[int]) -> None:
        """A request begins; ``prompt`` is all that is there of its text."""
        self._texts[request_id] = _Text(prompt, *self._sizes, self._window)

    def extend(self, request_id: str, token_ids: Sequence[int]) -> None:
        """It got tokens, if it is there."""
        text = self._texts.get(request_id)
        if text is not None:
            for token in token_ids:
                text.add(token)

    def end(self, request_id: str) -> None:
        """It is gone, if it was there."""
        self._texts.pop(request_id, None)

    def runs(self, request_ids: Sequence[str]) -> Runs:
        """What is known of their drafts, ``[B]`` in this order, of the one drafter."""
        texts = [self._texts[one] for one in request_ids]
        end = np.array([text.emitted for text in texts], np.int64)
        length = np.zeros((end.size, 1, self._window), np.int64)
        proposes = np.zeros(length.shape, np.bool_)
        for i, text in enumerate(texts):
            if text.drafts:
                length[i, 0, -len(text.drafts) :] = [draft.length for draft in text.drafts]
                proposes[i, 0, -len(text.drafts) :] = [
                    draft.source is not None for draft in text.drafts
                ]
        return Runs(end, end[:, None], length, proposes)


@dataclass(slots=True)
class _Draft:
    """A draft that could have begun somewhere.

    Attributes:
      source: index of the token with which copying would have begun; None where nothing matched.
      end: index in the text at which it would have begun, where the copy ends, too.
      length: tokens in a row that it had right.
      goes_on: whether the next token may add to them.
    """

    source: int | None
    end: int
    length: int = 0
    goes_on: bool = True


class _Text:
    """A growing text; ``drafts``: from its last output positions, one for each."""

    def __init__(self, prompt: Sequence[int], min_ngram: int, max_ngram: int, window: int) -> None:
        self._min_ngram, self._max_ngram = min_ngram, max_ngram
        self._tokens = np.array(prompt, np.int64)
        self._size = len(prompt)
        self.emitted = 0
        self.drafts: deque[_Draft] = deque(maxlen=window)
        self._next = self._look()

    def add(self, token: int) -> None:
        self.drafts.append(_Draft(self._next, self._size, goes_on=self._next is not None))
        for draft in self.drafts:
            if draft.goes_on:
                assert draft.source is not None
                copied = draft.source + draft.length
                draft.goes_on = copied < draft.end and bool(self._tokens[copied] == token)
                draft.length += draft.goes_on
        if self._size == self._tokens.size:
            self._tokens = np.pad(self._tokens, (0, max(self._size, 64)))
        self._tokens[self._size] = token
        self._size += 1
        self.emitted += 1
        self._next = self._look()

    def _look(self) -> int | None:
        return first_match(self._tokens[: self._size], self._min_ngram, self._max_ngram)


def first_match(text: IntArray, min_ngram: int, max_ngram: int) -> int | None:
    """Index of the token that followed the longest suffix where it first occurred; None for none.

    Args:
      text: ``[n]`` tokens.
      min_ngram: shortest suffix that counts, >= 1.
      max_ngram: longest one, >= ``min_ngram``.
    """
    found, size = None, 1
    ends = np.flatnonzero(text[:-1] == text[-1:])  # where the last ``size`` tokens ended before
    while ends.size:
        if size >= min_ngram:
            found = int(ends[0]) + 1
        if size == max_ngram:
            break
        ends = ends[ends >= size]
        ends = ends[text[ends - size] == text[-1 - size]]
        size += 1
    return found
