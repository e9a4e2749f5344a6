"""Traces in memory: one record per sequence, and the flat arrays that replay works on.

A trace holds what does not depend on tau (docs/exactness.md): the run length at every output
position, whether the drafter proposes anything there, and what it says of its proposals.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec._specs import short_names
from adaptive_spec.budget import UNLIMITED_TOKENS
from adaptive_spec.errors import TraceError

SIGNALS = ("top1_probability", "entropy", "margin", "match_length")

Drafting = Literal["token", "block"]


@dataclass(frozen=True)
class Component:
    """One drafter of a composition: its ``spec``, and its ``drafting`` as in ``TraceInfo``."""

    spec: str
    drafting: Drafting


@dataclass(frozen=True)
class TraceInfo:
    """What all sequences of a trace have in common.

    Attributes:
      verifier: name or path of the verifier; ``drafter``: spec of the drafter.
      drafting: "token" for a drafter that proposes token by token from the text before it, whose
        run lengths follow from its agreement bits; "block" for one whose proposal depends on where
        it started (prompt lookup, EAGLE-like), whose run lengths are recorded position by position.
      numerics: dtype, device and attention of the verifier, for telling traces apart.
      source: "recorded" by this package, "imported" from run lengths, or "synthetic": made up.
      chat_template: whether the prompts went through the tokenizer's chat template.
      max_new_tokens: limit asked for when recording; 0 where not known.
      signal_depth: tokens of a draft whose signals are kept; 0 for none.
      rule: the verification rule, its sampling parameters and its seed.
      components: of a composed drafter, in default order; empty for a single drafter.
    """

    verifier: str
    drafter: str
    drafting: Drafting
    numerics: str = "unknown"
    source: Literal["recorded", "imported", "synthetic"] = "recorded"
    chat_template: bool = True
    max_new_tokens: int = 0
    signal_depth: int = 0
    rule: str = "unknown"
    components: tuple[Component, ...] = ()

    def __post_init__(self) -> None:
        specs = [component.spec for component in self.components]
        if self.components and (self.drafting != "block" or len(set(specs)) < max(len(specs), 2)):
            raise TraceError(
                f"info: components {specs}; a composition has drafting 'block' and two or more "
                "drafters, all different"
            )

    @property
    def drafters(self) -> tuple[Component, ...]:
        """The drafters, in default order: one, or those of a composition."""
        return self.components or (Component(self.drafter, self.drafting),)

    @property
    def drafter_names(self) -> tuple[str, ...]:
        """What the drafters are called in cycles, costs and tables."""
        return short_names([drafter.spec for drafter in self.drafters])


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
class DrafterTrace:
    """What one drafter would have done along a sequence; fields as in ``SequenceTrace``."""

    run_lengths: IntArray
    proposes: BoolArray
    draftable_tokens: int | None = None
    signals: dict[str, SignalTrace] = field(default_factory=dict)

    @property
    def agreement(self) -> BoolArray:
        """``[n]`` whether the drafter's first proposal at each position is the verifier's token."""
        return self.run_lengths > 0

    @property
    def available(self) -> BoolArray:
        """``[n]`` whether it proposes something: it has something to say, and room for it."""
        if self.draftable_tokens is None:
            return self.proposes
        return self.proposes & (np.arange(self.proposes.size) < self.draftable_tokens)

    def require_valid(self, where: str) -> None:
        """Refuses entries that are missing or contradict each other."""
        runs, n = self.run_lengths, self.run_lengths.size
        if n and (runs.min() < 0 or (runs > n - np.arange(n)).any()):
            raise TraceError(f"{where}: run_lengths must lie between 0 and the tokens left")
        if self.proposes.shape != runs.shape or (runs[~self.proposes] > 0).any():
            raise TraceError(f"{where}: proposes must have one entry a token, true where runs > 0")
        for name, signal in self.signals.items():
            if name not in SIGNALS:
                raise TraceError(f"{where}: unknown signal {name!r}; known are {SIGNALS}")
            if signal.first.shape != (n + 1,) or signal.later.shape[:-1] != (n + 1,):
                raise TraceError(f"{where}: signal {name} needs {n + 1} entries (n + 1)")


def in_default_order(drafters: Sequence[DrafterTrace]) -> DrafterTrace:
    """What several drafters do together where the first that proposes anything is taken.

    Signals are left with the drafters whose they are.
    """
    available = np.stack([drafter.available for drafter in drafters])  # [D, n]
    runs = np.stack([drafter.run_lengths for drafter in drafters])
    proposes: BoolArray = np.logical_or.reduce(available, axis=0)
    first = np.take_along_axis(runs, available.argmax(axis=0)[None, :], axis=0)[0]
    reach = [drafter.draftable_tokens for drafter in drafters]
    limited = [r for r in reach if r is not None]
    draftable = max(limited) if len(limited) == len(reach) else None
    return DrafterTrace(np.where(proposes, first, 0), proposes, draftable)


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
      components: each drafter of a composition; ``run_lengths``, ``proposes`` and
        ``draftable_tokens`` are then those of its default order, and ``signals`` is empty.
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
    components: tuple[DrafterTrace, ...] = ()

    def __post_init__(self) -> None:
        n = self.run_lengths.size
        where = f"sequence {self.id!r}"
        if n == 0:
            raise TraceError(f"{where}: no output tokens; a trace needs at least one")
        if self.prompt_tokens < 1:
            raise TraceError(f"{where}: prompt_tokens = {self.prompt_tokens}; must be at least 1")
        if self.limit_tokens is not None and self.limit_tokens < n:
            raise TraceError(
                f"{where}: limit_tokens = {self.limit_tokens}, but {n} tokens were emitted"
            )
        DrafterTrace(
            self.run_lengths, self.proposes, self.draftable_tokens, self.signals
        ).require_valid(where)
        if self.components:
            self._require_default_order(where)
        for name, ids, size in (
            ("prompt_ids", self.prompt_ids, self.prompt_tokens),
            ("output_ids", self.output_ids, n),
        ):
            if ids is not None and ids.shape != (size,):
                raise TraceError(f"{where}: {name} has {ids.size} entries, expected {size}")

    def _require_default_order(self, where: str) -> None:
        for i, drafter in enumerate(self.components):
            drafter.require_valid(f"{where}: drafter {i}")
            if drafter.run_lengths.shape != self.run_lengths.shape:
                raise TraceError(f"{where}: drafter {i} has another number of tokens")
        together = in_default_order(self.components)
        if (
            not np.array_equal(together.run_lengths, self.run_lengths)
            or not np.array_equal(together.proposes, self.proposes)
            or together.draftable_tokens != self.draftable_tokens
            or self.signals
        ):
            raise TraceError(f"{where}: contradicts its drafters in their default order")

    @property
    def drafters(self) -> tuple[DrafterTrace, ...]:
        """Each drafter, in default order: one, or those of a composition."""
        return self.components or (
            DrafterTrace(self.run_lengths, self.proposes, self.draftable_tokens, self.signals),
        )

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
            if len(sequence.drafters) != len(self.info.drafters):
                raise TraceError(
                    f"sequence {sequence.id!r}: has {len(sequence.drafters)} drafters, the trace "
                    f"{len(self.info.drafters)}"
                )
            for drafter, said in zip(self.info.drafters, sequence.drafters, strict=True):
                if drafter.drafting == "token" and not np.array_equal(
                    said.run_lengths, run_lengths_of(said.agreement)
                ):
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
    """All sequences end to end. ``N`` sequences, ``T`` tokens, ``D`` drafters in default order.

    Attributes:
      drafters: names of the drafters; token_by_token: ``[D]`` whether they propose token by token
        from the text, or whole blocks.
      start: ``[N]`` index of each sequence's first token.
      num_tokens: ``[N]``; ``prompt_tokens``: ``[N]``.
      limit_tokens: ``[N]``, ``UNLIMITED_TOKENS`` where not known.
      draftable_tokens: ``[N, D]``, ``UNLIMITED_TOKENS`` for all.
      run_lengths: ``[T, D]``; ``proposes``: ``[T, D]``.
    """

    drafters: tuple[str, ...]
    token_by_token: BoolArray
    start: IntArray
    num_tokens: IntArray
    prompt_tokens: IntArray
    limit_tokens: IntArray
    draftable_tokens: IntArray
    run_lengths: IntArray
    proposes: BoolArray

    def take(self, index: slice | IntArray) -> "FlatTrace":
        """The trace of some of its sequences; tokens stay where they are."""
        return self._replace(
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
    def of(traces: TraceSet) -> "FlatTrace":
        """Flattens a trace; limits that are not known become ``UNLIMITED_TOKENS``."""
        lengths = np.array([s.run_lengths.size for s in traces], np.int64)
        drafters = [s.drafters for s in traces]
        return FlatTrace(
            traces.info.drafter_names,
            np.array([drafter.drafting == "token" for drafter in traces.info.drafters]),
            np.concatenate(([0], np.cumsum(lengths)[:-1])),
            lengths,
            _limits([s.prompt_tokens for s in traces]),
            _limits([s.limit_tokens for s in traces]),
            np.stack([_limits([d.draftable_tokens for d in some]) for some in drafters]),
            np.concatenate(
                [_side_by_side([d.run_lengths for d in some]) for some in drafters]
            ).astype(np.int64),
            np.concatenate([_side_by_side([d.proposes for d in some]) for some in drafters]),
        )


def _limits(values: Sequence[int | None]) -> IntArray:
    return np.array([UNLIMITED_TOKENS if v is None else v for v in values], np.int64)


def _side_by_side(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.stack(columns, axis=1)
