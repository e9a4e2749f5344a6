"""The flat arrays of a trace that replay works on: all sequences end to end."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec._rows import UNLIMITED_TOKENS
from adaptive_spec.hints import Certainty
from adaptive_spec.traces.sequences import DrafterTrace, SequenceTrace


class FlatTrace(NamedTuple):
    """All sequences end to end. ``N`` sequences, ``T`` tokens, ``D`` drafters in default order.

    Attributes:
      drafters: names of the drafters.
      ids: ``[N]`` of the requests, as text.
      token_by_token: ``[D]`` whether they propose token by token, or whole blocks.
      start: ``[N]`` index of each sequence's first token.
      num_tokens: ``[N]``; ``prompt_tokens``: ``[N]``.
      limit_tokens: ``[N]``, ``UNLIMITED_TOKENS`` where not known.
      draftable_tokens: ``[N, D]``, ``UNLIMITED_TOKENS`` for all.
      run_lengths: ``[T, D]``, which of a window (``traces.windows``) may reach beyond its end;
        ``proposes``: ``[T, D]``.
      certainty: ``[T]`` how sure the verifier was of each token.
      match_length: ``[T, D]`` of drafts from each position.
      top1_probability: ``[T, D]`` of what a "token" drafter would propose at each position.

    Numbers are NaN where they are not known.
    """

    drafters: tuple[str, ...]
    ids: npt.NDArray[np.object_]
    token_by_token: BoolArray
    start: IntArray
    num_tokens: IntArray
    prompt_tokens: IntArray
    limit_tokens: IntArray
    draftable_tokens: IntArray
    run_lengths: IntArray
    proposes: BoolArray
    certainty: Certainty
    match_length: FloatArray
    top1_probability: FloatArray

    def take(self, index: slice | IntArray) -> "FlatTrace":
        """The trace of some of its sequences; tokens stay where they are."""
        return self._replace(
            ids=self.ids[index],
            start=self.start[index],
            num_tokens=self.num_tokens[index],
            prompt_tokens=self.prompt_tokens[index],
            limit_tokens=self.limit_tokens[index],
            draftable_tokens=self.draftable_tokens[index],
        )

    def room(self, sequence: IntArray, position: IntArray) -> IntArray:
        """Most tokens that each drafter can propose there, ``[B, D]``; 0 for nothing."""
        left = self.draftable_tokens[sequence] - position[:, None]
        room: IntArray = np.maximum(left, 0) * self.proposes[self.start[sequence] + position]
        return room

    @staticmethod
    def of(
        drafters: tuple[str, ...],
        token_by_token: Sequence[bool],
        sequences: Sequence[SequenceTrace],
    ) -> "FlatTrace":
        """Flattens sequences, at least one; unknown limits become ``UNLIMITED_TOKENS``."""
        lengths = np.array([s.run_lengths.size for s in sequences], np.int64)
        parts = [s.drafters for s in sequences]
        return FlatTrace(
            drafters,
            np.array([s.id for s in sequences], np.object_),
            np.array(token_by_token),
            np.concatenate(([0], np.cumsum(lengths)[:-1])),
            lengths,
            _limits([s.prompt_tokens for s in sequences]),
            _limits([s.limit_tokens for s in sequences]),
            np.stack([_limits([d.draftable_tokens for d in some]) for some in parts]),
            np.concatenate([_side_by_side([d.run_lengths for d in some]) for some in parts]).astype(
                np.int64
            ),
            np.concatenate([_side_by_side([d.proposes for d in some]) for some in parts]),
            Certainty(*(np.concatenate(c) for c in zip(*map(_certainty, sequences), strict=True))),
            _first_signals("match_length", parts, [True] * len(drafters)),
            _first_signals("top1_probability", parts, token_by_token),
        )


def _certainty(sequence: SequenceTrace) -> Certainty:
    return sequence.certainty or Certainty.unknown(sequence.run_lengths.size)


def _first_signals(
    name: str, parts: Sequence[Sequence[DrafterTrace]], known: Sequence[bool]
) -> FloatArray:
    """A signal of the first token drafted from each position, ``[T, D]``, of drafters ``[D]``."""
    return np.concatenate(
        [
            _side_by_side(
                [
                    said.signals[name].first[:-1]
                    if known[i] and name in said.signals
                    else np.full(said.run_lengths.size, np.nan)
                    for i, said in enumerate(some)
                ]
            )
            for some in parts
        ]
    )


def _limits(values: Sequence[int | None]) -> IntArray:
    return np.array([UNLIMITED_TOKENS if v is None else v for v in values], np.int64)


def _side_by_side(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.stack(columns, axis=1)
