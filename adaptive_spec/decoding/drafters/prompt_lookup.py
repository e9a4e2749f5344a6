"""Prompt lookup: copies what followed the last n tokens the last time they occurred.

The longest suffix of the text, of ``max_ngram`` down to ``min_ngram`` tokens, that occurred before
is looked up (Saxena, Prompt Lookup Decoding, 2023; LLMA, Yang et al. 2023); of several occurrences
the most recent counts. A copy that runs into the text's end goes on into itself, as in LZ77.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.decoding.draft import Draft
from adaptive_spec.decoding.drafters.base import (
    Drafter,
    DraftRequest,
    block_draft,
    empty_signals,
)
from adaptive_spec.errors import DrafterSpecError


class Match(NamedTuple):
    """An earlier occurrence of a text's suffix.

    Attributes:
      length: tokens that match, >= 1.
      source: index of the token that followed them there; copying starts with it.
    """

    length: int
    source: int


class NgramIndex:
    """A growing text and, for each of its n-grams, where it last ended.

    Looking up and adding a token take O(``max_ngram``), however long the text is.
    """

    def __init__(self, max_ngram: int = 7, min_ngram: int = 1) -> None:
        """Sets up an index of n-grams of ``min_ngram`` to ``max_ngram`` tokens, without text."""
        self._sizes = range(min_ngram, max_ngram + 1)
        self._ends: dict[tuple[int, ...], int] = {}
        self.text: list[int] = []

    def extend(self, token_ids: Sequence[int]) -> None:
        """Appends tokens to the text."""
        text, ends = self.text, self._ends
        for token in token_ids:
            # The n-grams that end here enter only now that a token follows them, so that a suffix
            # never finds itself.
            end = len(text)
            for size in self._sizes:
                if size > end:
                    break
                ends[tuple(text[end - size :])] = end
            text.append(token)

    def match(self) -> Match | None:
        """The longest suffix that occurred before, at its most recent occurrence."""
        text, found = self.text, None
        for size in self._sizes:  # a longer suffix occurred only where the shorter one did
            source = self._ends.get(tuple(text[-size:])) if size <= len(text) else None
            if source is None:
                break
            found = Match(size, source)
        return found


def matches(
    text: Sequence[int], first: int, max_ngram: int = 7, min_ngram: int = 1
) -> Iterator[Match | None]:
    """What a lookup finds after ``text[:position]``, for position = ``first`` ... ``len(text)``."""
    index = NgramIndex(max_ngram, min_ngram)
    index.extend(text[:first])
    yield index.match()
    for position in range(first, len(text)):
        index.extend(text[position : position + 1])
        yield index.match()


def copied(text: Sequence[int], source: int, count: int) -> list[int]:
    """``count`` tokens copied from ``source`` on, going on into the copy at the text's end."""
    block = list(text[source : source + count])
    period = len(text) - source
    while len(block) < count:
        block.append(block[len(block) - period])
    return block


def run_length(text: Sequence[int], position: int, source: int) -> int:
    """Tokens from ``position`` on that a copy from ``source`` would have had right, >= 0."""
    length = 0
    while position + length < len(text) and text[source + length] == text[position + length]:
        length += 1
    return length


class PromptLookupDrafter(Drafter):
    """Drafts by copying from the text itself; proposes nothing where no suffix occurred before."""

    drafting = "block"
    signals = ("match_length",)

    def __init__(self, max_ngram: int = 7, min_ngram: int = 1) -> None:
        """Sets up a drafter.

        Args:
          max_ngram: longest suffix looked up, in tokens; at most 64.
          min_ngram: shortest one, 1 to ``max_ngram``.

        Raises:
          DrafterSpecError: lengths out of range.
        """
        if not 1 <= min_ngram <= max_ngram <= 64:
            raise DrafterSpecError(
                f"prompt lookup: min_ngram = {min_ngram}, max_ngram = {max_ngram}; "
                "they must satisfy 1 <= min_ngram <= max_ngram <= 64"
            )
        self.max_ngram, self.min_ngram = max_ngram, min_ngram
        self.spec = f"lookup:max_ngram={max_ngram},min_ngram={min_ngram}"
        self.context_limit: int | None = None
        self._indexes: dict[int, NgramIndex] = {}
        self._matches: dict[int, list[Match | None]] = {}  # by row, from the prompt's end on

    def begin(self, row: int, prompt_ids: Sequence[int]) -> None:
        index = NgramIndex(self.max_ngram, self.min_ngram)
        index.extend(prompt_ids)
        self._indexes[row] = index
        self._matches[row] = [index.match()]

    def end(self, row: int) -> None:
        self._indexes.pop(row, None)
        self._matches.pop(row, None)

    def available(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> BoolArray:
        found = (self._follow(row, text)[-1] for row, text in zip(rows, texts, strict=True))
        return np.array([[match is not None] for match in found], np.bool_)

    def match_length(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> FloatArray:
        found = (self._follow(row, text)[-1] for row, text in zip(rows, texts, strict=True))
        return np.array([[np.nan if match is None else match.length] for match in found])

    def _follow(self, row: int, text: Sequence[int]) -> list[Match | None]:
        """What was found after each token since the prompt, up to the text's end."""
        index, found = self._indexes[row], self._matches[row]
        for token in text[len(index.text) :]:
            index.extend([token])
            found.append(index.match())
        return found

    def run_lengths(
        self, row: int, text: Sequence[int], prompt_tokens: int, first: int
    ) -> tuple[IntArray, BoolArray]:
        found = self._follow(row, text)[first:-1]
        lengths = [
            0 if match is None else run_length(text, prompt_tokens + position, match.source)
            for position, match in enumerate(found, first)
        ]
        proposes = [match is not None for match in found]
        return np.array(lengths, np.int64), np.array(proposes, np.bool_)

    def propose(self, asked: DraftRequest) -> Draft:
        rows, texts, tau = asked.rows, asked.texts, asked.tau
        drafted: list[list[int]] = [[] for _ in rows]
        signals = empty_signals(len(rows), asked.depth)
        for i in np.flatnonzero(tau).tolist():
            match = self._follow(rows[i], texts[i])[-1]
            if match is not None:
                drafted[i] = copied(texts[i], match.source, int(tau[i]))
                signals.match_length[i, : tau[i]] = match.length
        return block_draft(drafted, signals, asked)
