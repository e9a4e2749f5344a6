"""An independent draft model: token by token, with a KV cache of its own."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec.decoding import transfer
from adaptive_spec.decoding.draft import Aside, Draft, Unread, refuse_broken
from adaptive_spec.decoding.drafters.base import (
    Drafter,
    DraftRequest,
    empty_signals,
    first_columns,
)
from adaptive_spec.decoding.drafters.predictions import Predictions
from adaptive_spec.decoding.prefix import read_prompts
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.decoding.sampling import Contexts
from adaptive_spec.decoding.token_signals import token_signals, top1_probability
from adaptive_spec.decoding.verification import Chooser, DraftChoices
from adaptive_spec.policy import DraftSignals


class DraftModelDrafter(Drafter):
    """Drafts what the verification rule chooses from a smaller model's logits.

    Before it drafts, one pass feeds every verified token that its cache lacks: the last one always,
    the bonus token after full acceptance, all of a stretch that was decoded without drafting.

    Proposals and their signals stay on the device, for verification to read, unless somebody looks
    at them while drafting: then they are read at once.
    """

    drafting = "token"
    signals = ("top1_probability", "entropy", "margin")

    def __init__(
        self,
        runner: ModelRunner,
        spec: str,
        *,
        vocab_size: int | None = None,
        token_ids: torch.Tensor | None = None,
    ) -> None:
        """Sets up a drafter with free rows.

        Args:
          runner: the draft model; its slots are the rows.
          spec: text that builds the drafter again.
          vocab_size: tokens shared with the verifier; logits beyond them are not looked at. None
            where both models' vocabularies are of one size.
          token_ids: ``[H]`` the tokens of the draft model's logits, where these are of a part of
            the vocabulary (``TrimmedDraft``); None where logit i is token i.
        """
        self.spec = spec
        self.runner = runner
        self.context_limit: int | None = runner.context_limit
        self.vocab_size = vocab_size or runner.vocab_size
        self.token_ids = token_ids
        self._cached: dict[int, list[int]] = {}  # row -> tokens in its cache, up to its length
        self._verified: dict[int, int] = {}  # row -> how many of them are known to be verified
        # row -> what was proposed since, all but the last in the cache, too; empty until it is read
        self._proposed: dict[int, list[int]] = {}
        self._predictions: dict[int, Predictions] = {}

    def begin(self, row: int, prompt_ids: Sequence[int]) -> None:
        self.begin_rows([row], [prompt_ids])

    def begin_rows(self, rows: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
        texts = {row: list(prompt[:-1]) for row, prompt in zip(rows, prompts, strict=True)}
        read_prompts(self.runner, self._cached, texts)
        for row, text in texts.items():
            self._verified[row] = len(text)
            self._proposed.pop(row, None)
            self._predictions[row] = Predictions(len(text) + 1)

    def end(self, row: int) -> None:
        if self._cached.pop(row, None) is not None:
            self.runner.cache.clear([row])

    def propose(self, asked: DraftRequest) -> Draft:
        rows, texts, tau = asked.rows, asked.texts, asked.tau
        depth, keep_drafting = asked.depth, asked.keep_drafting
        signals = empty_signals(len(rows), depth) if asked.needs_confidence else None
        proposals = _Proposals(len(rows), depth, signals)
        reads = tau > 0 if asked.catch_up is None else (tau > 0) | asked.catch_up[:, 0]
        active = np.flatnonzero(reads)
        if active.size == 0:
            return proposals.draft()
        slots, begun = np.asarray(rows, np.int64), active.tolist()
        missing = [self._roll_back(rows[i], texts[i], asked.looks_back) for i in begun]
        logits = self.runner.append(slots[active].tolist(), missing, last_only=not asked.looks_back)
        chooser = asked.chooser or Chooser.greedy(len(rows))
        aside: tuple[Aside, ...] = ()
        if asked.looks_back:
            along = _Reading(texts, active, missing, tau[active] > 0)
            aside = self._look_aside(logits, chooser, along)
            last = transfer.to_device([[len(own) - 1] for own in missing], logits.device)
            logits = logits.take_along_dim(last[:, :, None], dim=1)
            active = active[along.drafts]
            logits = logits[transfer.to_device(np.flatnonzero(along.drafts).tolist(), last.device)]
        if active.size:
            choices = DraftChoices(chooser, texts, active)
        for step in range(1, depth + 1):
            tokens, column = self._choose(logits[:, 0], choices, asked)
            proposals.add(active, column)
            going_on = tau[active] > step
            if keep_drafting is not None and going_on.any():
                seen = first_columns(proposals.read(), step)
                going_on &= keep_drafting(step, seen)[active]
            if not going_on.any():
                break
            if not going_on.all():
                index = transfer.to_device(np.flatnonzero(going_on).tolist(), tokens.device)
                tokens, active = tokens.index_select(0, index), active[going_on]
                choices.keep(going_on, index)
            logits = self.runner.step(slots[active].tolist(), tokens)
        draft = proposals.draft()
        self._proposed.update({rows[i]: draft.token_ids[i] for i in begun})
        if asked.looks_back:
            for i, own, expected in zip(begun, missing, aside[0].into, strict=True):
                first = len(texts[i]) - len(own) + 1
                self._predictions[rows[i]].add(first, expected, draft.token_ids[i])
        drawn_from = choices.drawn_from() if active.size else ()
        return dataclasses.replace(draft, drawn_from=drawn_from, aside=aside)

    def run_lengths(
        self, row: int, text: Sequence[int], prompt_tokens: int, first: int
    ) -> tuple[IntArray, BoolArray]:
        del prompt_tokens
        lengths = self._predictions[row].run_lengths(text, first)
        return lengths, np.ones(lengths.size, np.bool_)

    def _roll_back(self, row: int, text: Sequence[int], looks_back: bool) -> list[int]:
        """Drops what the cache holds beyond the verified text; returns what it lacks of it."""
        cached, agreed = self._cached[row], self._verified[row]
        cached.extend(self._proposed.pop(row, [])[:-1])  # the last one was never fed
        # The last token is fed for its logits; the cache lacks tokens where a pass failed.
        most = min(len(cached), len(text) - 1, self.runner.length(row))
        if looks_back:  # what was read but not told, when a pass failed, is read again
            most = min(most, self._predictions[row].settle(text) - 1)
        while agreed < most and cached[agreed] == text[agreed]:
            agreed += 1
        agreed = min(agreed, most)
        missing = list(text[agreed:])
        self.runner.truncate([row], [agreed])
        self._cached[row][agreed:] = missing
        self._verified[row] = agreed
        return missing

    @torch.inference_mode()
    def _look_aside(
        self, logits: torch.Tensor, chooser: Chooser, along: "_Reading"
    ) -> tuple[Aside, ...]:
        """What is expected at the verified tokens that are read, ``logits`` being theirs."""
        row, step = along.places
        device = logits.device
        at = (transfer.array_to_device(part, device) for part in (row, step))
        places = Contexts(
            along.texts,
            chooser.seeds[along.rows],
            row,
            step,
            transfer.to_device(along.followed, device) if chooser.reads_text else None,
            chooser.vocab_size,
            device,
        )
        seen = logits[tuple(at)][:, : self.vocab_size]
        expected = chooser.rule.choose(seen, places, self.token_ids).token_ids
        return (Aside(expected, tuple([] for _ in along.counts), along.counts),)

    @torch.inference_mode()
    def _choose(
        self, logits: torch.Tensor, choices: DraftChoices, asked: DraftRequest
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Next token of each row ``[b]``, and what is to be read back: ``[b]``, or ``[b, 1 + k]``.

        The latter with the first ``k`` of its signals, where they are asked for.
        """
        logits = logits[:, : self.vocab_size]
        tokens = choices.choose(logits, self.token_ids)
        fed = tokens.clamp(min=0)  # -1 marks broken logits until the host sees it
        if not asked.needs_confidence:
            return fed, tokens
        said = token_signals(logits) if asked.needs_signals else top1_probability(logits)
        # Tokens travel as floats, exactly: no vocabulary comes near 2**24.
        return fed, torch.cat([tokens[:, None].float(), said], dim=-1)


class _Reading:
    """Rows that read verified text before they draft, or in place of it.

    Attributes:
      rows: ``[b]`` of the batch; ``drafts``: ``[b]`` which of them go on to draft.
      texts: ``[b]`` what their caches held, and the first token read.
      followed: ``[b, m]`` the tokens read after it, padded.
      counts: ``[b]`` places to look at: all tokens read but the last, after which a draft begins;
        the last, too, where none does.
    """

    def __init__(
        self,
        texts: Sequence[Sequence[int]],
        rows: IntArray,
        missing: Sequence[list[int]],
        drafts: BoolArray,
    ) -> None:
        """``missing`` are the tokens that rows read, at least one each."""
        self.rows, self.drafts = rows, drafts
        self.texts = [
            texts[i][: len(texts[i]) - len(own) + 1]
            for i, own in zip(rows.tolist(), missing, strict=True)
        ]
        width = max(map(len, missing))
        self.followed = [own[1:] + [0] * (width - len(own)) for own in missing]
        self.counts = tuple(
            len(own) - bool(goes_on) for own, goes_on in zip(missing, drafts.tolist(), strict=True)
        )

    @property
    def places(self) -> tuple[IntArray, IntArray]:
        """Row, ``[n]``, and token after the first that it read, ``[n]``, of each place."""
        row = np.repeat(np.arange(len(self.counts)), self.counts)
        step = np.concatenate([np.arange(count) for count in self.counts])
        return row, step


class _Proposals:
    """Tokens drafted so far, left on the device until they are read back, all at once."""

    def __init__(self, batch_size: int, depth: int, signals: DraftSignals | None) -> None:
        self._token_ids: list[list[int]] = [[] for _ in range(batch_size)]
        self._signals = signals
        self._steps: list[tuple[IntArray, torch.Tensor]] = []  # those that were not read
        self._depth = 0

    def add(self, rows: IntArray, column: torch.Tensor) -> None:
        """The next token of these rows, ``[b]``; or, with ``k`` signals, ``[b, 1 + k]``."""
        self._steps.append((rows, column))

    def draft(self) -> Draft:
        """Everything drafted: on the host where somebody looked at it, else on the device."""
        if self._depth:
            return Draft(self._token_ids, self.read())
        unread = (self._unread(),) if self._steps else ()
        return Draft(self._token_ids, self._signals, unread=unread)

    def read(self) -> DraftSignals:
        """The signals of everything drafted so far; reads its tokens, too."""
        assert self._signals is not None
        if self._steps:
            values = transfer.to_host(torch.cat([column for _, column in self._steps]))
            sizes = np.cumsum([rows.size for rows, _ in self._steps])
            for (rows, _), part in zip(self._steps, np.split(values, sizes[:-1]), strict=True):
                self._put(rows, part, self._signals)
            self._steps.clear()
        return self._signals

    def _unread(self) -> Unread:
        rows = self._steps[0][0]
        column = np.concatenate([np.searchsorted(rows, some) for some, _ in self._steps])
        step = np.repeat(np.arange(len(self._steps)), [some.size for some, _ in self._steps])
        # Rows end after different steps: where the step's column holds each row, 0 where it is out.
        index = np.zeros((rows.size, len(self._steps)), np.int64)
        index[column, step] = np.arange(column.size)
        flat = torch.cat([tokens for _, tokens in self._steps])
        columns = flat[transfer.array_to_device(index, flat.device)]
        counts = np.bincount(column, minlength=rows.size)
        if self._signals is None:
            return Unread(rows, counts, columns)
        return Unread(rows, counts, columns[..., 0].long(), columns[..., 1:])

    def _put(self, rows: IntArray, part: npt.NDArray[Any], signals: DraftSignals) -> None:
        refuse_broken(part[:, 0])
        for i, token in zip(rows.tolist(), part[:, 0].tolist(), strict=True):
            self._token_ids[i].append(int(token))
        signals.top1_probability[rows, self._depth] = part[:, 1]
        signals.entropy[rows, self._depth] = part[:, 2]
        signals.margin[rows, self._depth] = part[:, 3]
        self._depth += 1
