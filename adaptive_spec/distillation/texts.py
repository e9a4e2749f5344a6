"""Texts to learn from: prompt and answer as tokens, kept in a folder of numbered parts.

A part is a compressed NumPy archive of plain arrays. Parts are written whole or not at all, so that
an interrupted run goes on after the last one.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec._files import atomic_write
from adaptive_spec.errors import DistillError


@dataclass(frozen=True)
class Text:
    """One prompt and what the verifier answered.

    Attributes:
      token_ids: ``[T]`` both, with the chat template around them.
      answer_start: index of the answer's first token, 1 to T - 1.
      is_greedy: whether the answer is the verifier's greedy output.
    """

    token_ids: IntArray
    answer_start: int
    is_greedy: bool


def save_texts(path: Path, texts: Sequence[Text]) -> None:
    """Writes one part."""
    ids = [text.token_ids for text in texts]
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            token_ids=np.concatenate(ids).astype(np.uint32),
            lengths=np.array([one.size for one in ids], np.uint32),
            answer_starts=np.array([text.answer_start for text in texts], np.uint32),
            is_greedy=np.array([text.is_greedy for text in texts], np.bool_),
        )


def load_texts(path: Path) -> list[Text]:
    """Reads one part.

    Raises:
      DistillError: not a part, or one that contradicts itself.
    """
    try:
        with np.load(path, allow_pickle=False) as part:
            ids, lengths = part["token_ids"].astype(np.int64), part["lengths"].astype(np.int64)
            starts, greedy = part["answer_starts"].astype(np.int64), part["is_greedy"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DistillError(f"{path}: not a part of texts ({error}); delete it") from error
    ends = np.cumsum(lengths)
    fits = lengths.size == starts.size == greedy.size and ids.size == lengths.sum()
    if not fits or (starts < 1).any() or (starts >= lengths).any():
        raise DistillError(f"{path}: its lengths contradict one another; delete it")
    pieces = np.split(ids, ends[:-1])
    return [
        Text(piece, int(start), bool(one))
        for piece, start, one in zip(pieces, starts, greedy, strict=True)
    ]
