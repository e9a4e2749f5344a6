"""What live decoding knows of drafts from positions already passed, as a replay does."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec.controller import Plan
from adaptive_spec.runs import KnownPositions, Runs, window_of
from adaptive_spec.traces.records import Drafting


class Asked(Protocol):
    """What a drafter is asked when somebody looks back on it; methods as those of ``Drafter``."""

    drafting: Drafting

    @property
    def components(self) -> "Sequence[Asked]": ...
    def room(self, text: Sequence[int]) -> int: ...
    def run_lengths(
        self, row: int, text: Sequence[int], prompt_tokens: int, first: int
    ) -> tuple[IntArray, BoolArray]: ...


class LookingBack:
    """Follows the rows of an engine whose policy learns from every position."""

    def __init__(self, drafter: Asked) -> None:
        """Sets up without rows."""
        self._drafters = drafter.components
        by_token = [one.drafting == "token" for one in self._drafters]
        self._known = KnownPositions(np.array(by_token))

    def begin(self, row: int) -> None:
        """Another sequence takes this row."""
        self._known.begin(np.array([row]))

    def behind_tokens(
        self, rows: IntArray, texts: Sequence[Sequence[int]], prompt_tokens: IntArray
    ) -> IntArray:
        """Verified tokens that each drafter has not read, ``[B, D]``."""
        position = np.array([len(text) for text in texts]) - prompt_tokens
        return self._known.behind_tokens(rows, position, self._reach(texts, prompt_tokens))

    def runs(
        self,
        plan: Plan,
        texts: Sequence[Sequence[int]],
        drafted: IntArray,
        accepted: IntArray,
        emitted: IntArray,
    ) -> Runs:
        """What is known after a cycle.

        Args:
          plan: what was carried out.
          texts: ``[B]`` prompt and verified output, that of the cycle among it.
          drafted: ``[B]`` tokens drafted.
          accepted: ``[B]`` of these, emitted.
          emitted: ``[B]`` tokens emitted.
        """
        prompt_tokens = plan.cycle.prompt_tokens
        end = np.array([len(text) for text in texts]) - prompt_tokens
        reach = self._reach(texts, prompt_tokens)
        known = self._known.after_cycle(
            plan.rows,
            end - emitted,
            reach,
            drafter=plan.drafter,
            catches_up=plan.catch_up,
            drafted=drafted,
            accepted=accepted,
            emitted=emitted,
        )
        window = window_of(plan.cycle.max_draft_tokens)
        length = np.zeros((*known.shape, window), np.int64)
        proposes = np.zeros(length.shape, np.bool_)
        for i, (row, text) in enumerate(zip(plan.rows.tolist(), texts, strict=True)):
            first = max(int(end[i]) - window, 0)
            for j, one in enumerate(self._drafters):
                if known[i, j] > first and reach[i, j] > 0:
                    told = one.run_lengths(row, text, int(prompt_tokens[i]), first)
                    left = int(known[i, j]) - np.arange(first, int(known[i, j]))
                    count = min(left.size, told[0].size)
                    begin = window - int(end[i]) + first
                    length[i, j, begin : begin + count] = np.minimum(told[0][:count], left[:count])
                    proposes[i, j, begin : begin + count] = told[1][:count]
        at = end[:, None] + np.arange(-window, 0)
        return Runs(end, known, length, proposes & (at[:, None, :] < reach[:, :, None]))

    def _reach(self, texts: Sequence[Sequence[int]], prompt_tokens: IntArray) -> IntArray:
        """Output positions within each drafter's context, ``[B, D]``."""
        return np.array(
            [
                [one.room(text[:size]) for one in self._drafters]
                for text, size in zip(texts, prompt_tokens.tolist(), strict=True)
            ]
        )
