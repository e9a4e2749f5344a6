"""Several drafters for one sequence: each row is drafted for by the first that proposes something.

Or by the one that the policy chose. Rows of a batch may be drafted for by different drafters in the
same cycle; each drafter then drafts for its rows in one batch. A drafter that was passed over for
some cycles needs no notice: all of them catch up with the verified text when they draft next.
"""

import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.decoding.draft import Aside, Draft, Unread
from adaptive_spec.decoding.drafters.base import Drafter, DraftRequest, KeepDrafting, empty_signals
from adaptive_spec.decoding.sampling import DraftDistributions
from adaptive_spec.errors import DrafterSpecError
from adaptive_spec.policy import MAX_DRAFTERS, NO_DRAFTER, DraftSignals

SEPARATOR = "+"
"""Between the specs of a composition's drafters."""


class ComposedDrafter(Drafter):
    """Drafts with one of several drafters, tried in order; each keeps a row for every sequence."""

    drafting = "block"  # where a draft starts decides who drafts

    def __init__(self, components: Sequence[Drafter]) -> None:
        """Composes drafters that are not in use.

        Raises:
          DrafterSpecError: fewer than two or too many, two alike, or a composition among them.
        """
        specs = [component.spec for component in components]
        if not 2 <= len(specs) <= MAX_DRAFTERS or len(set(specs)) < len(specs):
            raise DrafterSpecError(
                f"drafter {SEPARATOR.join(specs)!r}: compose 2 to {MAX_DRAFTERS} drafters, all of "
                "them different"
            )
        if any(isinstance(component, ComposedDrafter) for component in components):
            raise DrafterSpecError("a composed drafter: its drafters cannot be composed themselves")
        self._components = tuple(components)
        self.spec = SEPARATOR.join(specs)
        limits = [c.context_limit for c in components if c.context_limit is not None]
        self.context_limit = max(limits) if len(limits) == len(specs) else None
        self.signals = tuple(dict.fromkeys(name for c in components for name in c.signals))

    @property
    def components(self) -> tuple[Drafter, ...]:
        return self._components

    def begin(self, row: int, prompt_ids: Sequence[int]) -> None:
        self.begin_rows([row], [prompt_ids])

    def begin_rows(self, rows: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
        for component in self.components:
            fits = [component.has_room(prompt) for prompt in prompts]
            for row in itertools.compress(rows, map(operator.not_, fits)):
                component.end(row)
            begun = list(itertools.compress(rows, fits))
            if begun:
                component.begin_rows(begun, list(itertools.compress(prompts, fits)))

    def end(self, row: int) -> None:
        for component in self.components:
            component.end(row)

    def available(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> BoolArray:
        parts = [component.available(rows, texts) for component in self.components]
        together: BoolArray = np.concatenate(parts, axis=1)
        return together

    def match_length(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> FloatArray:
        return np.concatenate([c.match_length(rows, texts) for c in self.components], axis=1)

    def propose(self, asked: DraftRequest) -> Draft:
        there = self.available(asked.rows, asked.texts)
        drafter = np.where(there.any(axis=1), there.argmax(axis=1), NO_DRAFTER)
        return self.propose_by(drafter, asked)

    def propose_by(self, drafter: IntArray, asked: DraftRequest) -> Draft:
        rows, texts, tau = asked.rows, asked.texts, asked.tau
        keep, chooser = asked.keep_drafting, asked.chooser
        signals = empty_signals(len(rows), asked.depth) if asked.needs_confidence else None
        drafted: list[list[int]] = [[] for _ in rows]
        drawn_from: list[DraftDistributions] = []
        unread: list[Unread] = []
        aside: list[Aside] = []
        for i, component in enumerate(self.components):
            drafts = (drafter == i) & (tau > 0)
            reads = None if asked.catch_up is None else asked.catch_up[:, [i]]
            index = np.flatnonzero(drafts if reads is None else drafts | reads[:, 0])
            if index.size == 0:
                continue
            own = index.tolist()
            room = np.array([component.room(texts[j]) for j in own], np.int64)
            part = component.propose(
                DraftRequest(
                    [rows[j] for j in own],
                    [texts[j] for j in own],
                    np.minimum(tau[index], room) * drafts[index],
                    keep and _Among(keep, index, len(rows)),
                    asked.want_signals,
                    asked.want_confidence,
                    chooser and chooser.take(index),
                    None if reads is None else reads[index],
                    asked.looks_back,
                )
            )
            drawn_from += [replace(drawn, rows=index[drawn.rows]) for drawn in part.drawn_from]
            aside += part.aside
            unread += [replace(left, rows=index[left.rows]) for left in part.unread]
            for j, tokens in zip(own, part.token_ids, strict=True):
                if drafts[j]:
                    drafted[j] = tokens
            if signals is not None and part.signals is not None:
                _put(signals, index, part.signals)
        return Draft(drafted, signals, tuple(drawn_from), tuple(unread), tuple(aside))


@dataclass(frozen=True)
class _Among:
    """Asks about a drafter's rows among all rows of the batch, of which the others say nothing."""

    keep_drafting: KeepDrafting
    index: IntArray
    batch_size: int

    def __call__(self, depth: int, signals: DraftSignals) -> BoolArray:
        whole = empty_signals(self.batch_size, depth)
        _put(whole, self.index, signals)
        return self.keep_drafting(depth, whole)[self.index]


def _put(whole: DraftSignals, index: IntArray, part: DraftSignals) -> None:
    """Writes signals of some rows into those of all, in place."""
    for column, values in zip(whole, part, strict=True):
        column[index, : values.shape[1]] = values
