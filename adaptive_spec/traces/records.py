"""Traces in memory: one record per sequence, and the flat arrays that replay works on.

A trace holds what does not depend on tau (docs/exactness.md): the run length at every output
position, whether the drafter proposes anything there, and what it says of its proposals.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.budget import UNLIMITED_TOKENS
from adaptive_spec.errors import TraceError

SIGNALS = ("top1_probability", "entropy", "margin", "match_length")

Drafting = Literal["token", "block"]


@dataclass(frozen=True)
class TraceInfo:
    """What all sequences of a trace have in common.

    Attributes:
      verifier: name or path of the verifier; ``drafter``: spec of the drafter.
      drafting: "token" for a drafter that proposes token by token from the text before it, whose
        run lengths follow from its agreement bits; "block" for one whose proposal depends on where
        it started (prompt lookup, EAGLE-like), whose run lengths are recorded position by position.
      numerics: dtype, device and attention of the verifier, for telling traces apart.
      source: "recorded" by this package, or "imported" from run lengths.
      chat_template: whether the prompts went through the tokenizer's chat template.
      max_new_tokens: limit asked for when recording; 0 where not known.
      signal_depth: tokens of a draft whose signals are kept; 0 for none.
      rule: the verification rule, its sampling parameters and its seed.
    """

    verifier: str
    drafter: str
    drafting: Drafting
    numerics: str = "unknown"
    source: Literal["recorded", "imported"] = "recorded"
    chat_template: bool = True
    max_new_tokens: int = 0
    signal_depth: int = 0
    rule: str = "unknown"


class SignalTrace(NamedTuple):
    """Signals of a drafter along one sequence of ``n`` output tokens; NaN where unknown.

    Attributes:
      first: ``[n + 1]`` signal of the first token drafted from each position; the last entry is
        for drafting on after the sequence's end.
      later: ``[n + 1, D]`` signal of the second, third... token of that draft. A "token" drafter
        needs it only where its first token is wrong and after the end (up to there the signals
        are those of the positions passed); elsewhere it is NaN.
    """

    first: FloatArray
    later: FloatArray


@dataclass(frozen=True)
class SequenceTrace:
    """One request: the verifier's output, and what the drafter would have done along it.

    Attributes:
      id: unique in its trace; ``category``: free label.
      prompt_tokens: length of the prompt, >= 1.
      run_lengths: ``[n]`` draft tokens in a row that would be accepted from each output position,
        ``run_lengths[p] <= n - p``.
      proposes: ``[n]`` whether the drafter proposes anything there.
      limit_tokens: most tokens the request might have emitted; None where not known.
      draftable_tokens: output positions within the drafter's context; None for all.
      finish_reason: "eos", "stop", "length" or "unknown".
      signals: by name (one of ``SIGNALS``); missing where the drafter has none.
      prompt_ids: ``[prompt_tokens]``; ``output_ids``: ``[n]``; None where not recorded.
    """

    id: str
    category: str
    prompt_tokens: int
    run_lengths: IntArray
    proposes: BoolArray
    limit_tokens: int | None = None
    draftable_tokens: int | None = None
    finish_reason: str = "unknown"
    signals: dict[str, SignalTrace] = field(default_factory=dict)
    prompt_ids: IntArray | None = None
    output_ids: IntArray | None = None

    def __post_init__(self) -> None:
        runs, n = self.run_lengths, self.run_lengths.size
        where = f"sequence {self.id!r}"
        if n == 0:
            raise TraceError(f"{where}: no output tokens; a trace needs at least one")
        if self.prompt_tokens < 1:
            raise TraceError(f"{where}: prompt_tokens = {self.prompt_tokens}; must be at least 1")
        if runs.min() < 0 or (runs > n - np.arange(n)).any():
            raise TraceError(f"{where}: run_lengths must lie between 0 and the tokens left")
        if self.proposes.shape != runs.shape or (runs[~self.proposes] > 0).any():
            raise TraceError(f"{where}: proposes must have one entry a token, true where runs > 0")
        if self.limit_tokens is not None and self.limit_tokens < n:
            raise TraceError(
                f"{where}: limit_tokens = {self.limit_tokens}, but {n} tokens were emitted"
            )
        for name, signal in self.signals.items():
            if name not in SIGNALS:
                raise TraceError(f"{where}: unknown signal {name!r}; known are {SIGNALS}")
            if signal.first.shape != (n + 1,) or signal.later.shape[:-1] != (n + 1,):
                raise TraceError(f"{where}: signal {name} needs {n + 1} entries (n + 1)")
        for name, ids, size in (
            ("prompt_ids", self.prompt_ids, self.prompt_tokens),
            ("output_ids", self.output_ids, n),
        ):
            if ids is not None and ids.shape != (size,):
                raise TraceError(f"{where}: {name} has {ids.size} entries, expected {size}")

    @property
    def agreement(self) -> BoolArray:
        """``[n]`` whether the drafter's first proposal at each position is the verifier's token."""
        return self.run_lengths > 0


def run_lengths_of(agreement: BoolArray) -> IntArray:
    """Run lengths of a "token" drafter: ones in a row from each position, ``[n] -> [n]``."""
    position = np.arange(agreement.size)
    ends = np.where(agreement, agreement.size, position)
    next_end = np.minimum.accumulate(ends[::-1])[::-1]
    lengths: IntArray = next_end - position
    return lengths


@dataclass(frozen=True)
class TraceSet:
    """A trace: sequences recorded (or imported) with one verifier and one drafter."""

    info: TraceInfo
    sequences: tuple[SequenceTrace, ...]

    def __post_init__(self) -> None:
        if not self.sequences:
            raise TraceError("trace: holds no sequences")
        seen: set[str] = set()
        for sequence in self.sequences:
            if sequence.id in seen:
                raise TraceError(f"trace: sequence id {sequence.id!r} appears twice")
            seen.add(sequence.id)
            if self.info.drafting == "token":
                expected = run_lengths_of(sequence.agreement)
                if not np.array_equal(sequence.run_lengths, expected):
                    raise TraceError(
                        f"sequence {sequence.id!r}: run_lengths contradict a token-by-token "
                        "drafter, whose run shrinks by one a position; use drafting='block'"
                    )

    def __len__(self) -> int:
        return len(self.sequences)

    def __iter__(self) -> Iterator[SequenceTrace]:
        return iter(self.sequences)

    @property
    def num_tokens(self) -> int:
        """Output tokens of all sequences."""
        return sum(sequence.run_lengths.size for sequence in self.sequences)

    def select(self, index: Sequence[int] | IntArray) -> "TraceSet":
        """The trace of some of its sequences, in the order given."""
        return TraceSet(self.info, tuple(self.sequences[int(i)] for i in index))

    def flat(self) -> "FlatTrace":
        """The arrays that replay works on."""
        return FlatTrace.of(self)


class FlatTrace(NamedTuple):
    """All sequences end to end. ``N`` sequences, ``T`` tokens.

    Attributes:
      start: ``[N]`` index of each sequence's first token.
      num_tokens: ``[N]``; ``prompt_tokens``: ``[N]``.
      limit_tokens: ``[N]``, ``UNLIMITED_TOKENS`` where not known; ``draftable_tokens``: likewise.
      run_lengths: ``[T]``; ``proposes``: ``[T]``.
    """

    start: IntArray
    num_tokens: IntArray
    prompt_tokens: IntArray
    limit_tokens: IntArray
    draftable_tokens: IntArray
    run_lengths: IntArray
    proposes: BoolArray

    def take(self, index: slice | IntArray) -> "FlatTrace":
        """The trace of some of its sequences; tokens stay where they are."""
        chosen = (column[index] for column in self[:5])
        start, num_tokens, prompt_tokens, limit_tokens, draftable_tokens = chosen
        return FlatTrace(
            start,
            num_tokens,
            prompt_tokens,
            limit_tokens,
            draftable_tokens,
            self.run_lengths,
            self.proposes,
        )

    @staticmethod
    def of(traces: TraceSet) -> "FlatTrace":
        """Flattens a trace; limits that are not known become ``UNLIMITED_TOKENS``."""
        lengths = np.array([s.run_lengths.size for s in traces], np.int64)

        def column(name: str) -> IntArray:
            values = (getattr(s, name) for s in traces)
            return np.array([UNLIMITED_TOKENS if v is None else v for v in values], np.int64)

        return FlatTrace(
            np.concatenate(([0], np.cumsum(lengths)[:-1])),
            lengths,
            column("prompt_tokens"),
            column("limit_tokens"),
            column("draftable_tokens"),
            np.concatenate([s.run_lengths for s in traces]).astype(np.int64),
            np.concatenate([s.proposes for s in traces]),
        )
