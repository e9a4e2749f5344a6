"""Drafts by transformers' prompt lookup: what followed the text's last n tokens earlier on.

Of ``max_matching_ngram_size`` tokens down to one, the longest suffix that occurred before counts,
where it occurred first; the copy ends where the text does.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec._rows import UNLIMITED_TOKENS
from adaptive_spec.decoding.drafters.prompt_lookup import Match, run_length
from adaptive_spec.integrations.transformers.compatibility import require_attributes
from adaptive_spec.integrations.transformers.drafts import DraftSource, KeepDrafting, Proposal


class LookupSource(DraftSource):
    """Drafts by a ``PromptLookupCandidateGenerator``, which is asked before tau is decided.

    A lookup costs next to nothing, and a shorter draft is the beginning of a longer one.
    """

    name = "lookup"
    drafting = "block"
    signals = ()

    def __init__(self, inner: Any, prompt_tokens: int, *, reads_back: bool) -> None:
        """Takes a fresh generator over; arguments as for ``AssistantSource``.

        Raises:
          ConfigError: the generator is not made as it was known to be.
        """
        require_attributes(inner, ("num_output_tokens", "max_matching_ngram_size"))
        self._inner = inner
        self.static_tau = int(inner.num_output_tokens)
        self.reads_back = reads_back
        self._found: torch.Tensor | None = None
        self._index = _FirstOccurrences(int(inner.max_matching_ngram_size), prompt_tokens)

    def room(self, text: Sequence[int]) -> int:
        return UNLIMITED_TOKENS

    def look(self, ids: torch.Tensor, most: int) -> bool:
        self._inner.num_output_tokens = max(most, 1)
        self._found, _ = self._inner.get_candidates(ids)
        return self._found.shape[1] > ids.shape[1]

    def draft(
        self, ids: torch.Tensor, text: list[int], tau: int, keep_drafting: KeepDrafting | None
    ) -> Proposal:
        assert self._found is not None
        drafted = self._found[:, : ids.shape[1] + tau]
        token_ids: list[int] = drafted[0, ids.shape[1] :].tolist()
        return Proposal(drafted, token_ids)

    def match_length(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> FloatArray:
        newest = [next(iter(self._index.follow(text)[-1:]), None) for text in texts]
        return np.array([[np.nan if match is None else match.length] for match in newest])

    def rest(self, ids: torch.Tensor) -> None:
        """Nothing is kept from one lookup to the next."""

    def run_lengths(
        self, row: int, text: Sequence[int], prompt_tokens: int, first: int
    ) -> tuple[IntArray, BoolArray]:
        found = self._index.follow(text)[first:-1]
        places = list(enumerate(found, prompt_tokens + first))
        lengths = [
            0 if match is None else min(run_length(text, end, match.source), end - match.source)
            for end, match in places
        ]
        proposes = [match is not None for _, match in places]
        return np.array(lengths, np.int64), np.array(proposes, np.bool_)


class _FirstOccurrences:
    """A growing text and, for each of its n-grams, what followed it where it first occurred."""

    def __init__(self, max_ngram: int, prompt_tokens: int) -> None:
        self._max_ngram, self._prompt_tokens = max_ngram, prompt_tokens
        self._source: dict[tuple[int, ...], int] = {}
        self._text: list[int] = []
        self._found: list[Match | None] = []

    def follow(self, text: Sequence[int]) -> list[Match | None]:
        """What a lookup would copy from, behind the prompt and each token since; None for nothing.

        ``text`` goes on where that of the last call ended.
        """
        for token in text[len(self._text) :]:
            end = len(self._text)
            # n-grams that end here count once a token follows: a suffix never finds itself.
            for size in range(1, min(self._max_ngram, end) + 1):
                self._source.setdefault(tuple(self._text[end - size :]), end)
            self._text.append(token)
            if len(self._text) >= self._prompt_tokens:
                self._found.append(self._match())
        return self._found

    def _match(self) -> Match | None:
        # transformers leaves at least one token before the suffix that it looks for.
        for size in range(min(self._max_ngram, len(self._text) - 1), 0, -1):
            source = self._source.get(tuple(self._text[-size:]))
            if source is not None:
                return Match(size, source)
        return None
