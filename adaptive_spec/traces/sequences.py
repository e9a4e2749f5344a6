"""What a trace holds of one sequence, and how it must hang together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.errors import TraceError

SIGNALS = ("top1_probability", "entropy", "margin", "match_length")


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

    def only(self, drafter: int) -> "SequenceTrace":
        """The sequence with one of its drafters alone, by its index in default order."""
        said = self.drafters[drafter]
        return replace(
            self,
            run_lengths=said.run_lengths,
            proposes=said.proposes,
            draftable_tokens=said.draftable_tokens,
            signals=said.signals,
            components=(),
        )


def run_lengths_of(agreement: BoolArray) -> IntArray:
    """Run lengths of a "token" drafter: ones in a row from each position, ``[n] -> [n]``."""
    position = np.arange(agreement.size)
    ends = np.where(agreement, agreement.size, position)
    next_end = np.minimum.accumulate(ends[::-1])[::-1]
    lengths: IntArray = next_end - position
    return lengths
