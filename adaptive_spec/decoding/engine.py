"""The decoding engine: draft, verify, emit, learn; one sequence or a ragged batch of them."""

import functools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec.controller import Controller, Plan
from adaptive_spec.decoding.drafters.base import Draft, Drafter, empty_signals
from adaptive_spec.decoding.requests import (
    Completion,
    CycleRecord,
    Event,
    Finished,
    FinishReason,
    Request,
    TokensEmitted,
)
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.decoding.stopping import StopRules, StopWatch
from adaptive_spec.decoding.verification import (
    GREEDY,
    Block,
    Chooser,
    Verdict,
    VerificationRule,
)
from adaptive_spec.errors import ConfigError, ContextLengthError, NumericsError, PromptError
from adaptive_spec.policy import UNKNOWN_AGREEMENT, DraftSignals


@dataclass
class _Sequence:
    """A request while it runs.

    Attributes:
      text: prompt and verified output; ``limit``: most output tokens.
      watch: tells where it ends; ``cycles``: what its cycles showed.
      seed: of its noise.
    """

    request: Request
    text: list[int]
    limit: int
    watch: StopWatch
    seed: int = 0
    prefill_ms: float = 0.0
    cycles: list[CycleRecord] = field(default_factory=list)

    def emit(self, token_ids: list[int]) -> tuple[list[int], FinishReason | None]:
        """Appends verified tokens up to the sequence's end; returns them, and why it ends."""
        room = self.limit - (len(self.text) - len(self.request.prompt_ids))
        kept, reason = self.watch.cut(token_ids, room)
        self.text.extend(token_ids[:kept])
        return token_ids[:kept], reason

    def completion(self, reason: FinishReason, rule: VerificationRule) -> Completion:
        prompt_tokens = len(self.request.prompt_ids)
        return Completion(
            id=self.request.id,
            category=self.request.category,
            prompt_tokens=prompt_tokens,
            token_ids=tuple(self.text[prompt_tokens:]),
            finish_reason=reason,
            cycles=tuple(self.cycles),
            prefill_ms=self.prefill_ms,
            rule=rule.spec,
            lossless=rule.lossless,
        )


class DecodingEngine:
    """Decodes requests; the output is the verifier's own, whatever the policy decides.

    Up to ``batch_size`` sequences run at a time. A free slot goes to the next request before every
    cycle, lowest slot first, and all running sequences take part in every cycle.
    """

    def __init__(
        self,
        verifier: ModelRunner,
        drafter: Drafter | None,
        controller: Controller,
        stop_rules: StopRules | None = None,
        *,
        rule: VerificationRule = GREEDY,
        batch_size: int = 1,
        record_signals: bool = False,
        measured_times: bool = True,
        on_tokens: Callable[[TokensEmitted], None] | None = None,
    ) -> None:
        """Sets up an engine with nothing running.

        Args:
          verifier: the target model, with at least ``batch_size`` slots.
          drafter: proposes tokens, with as many rows; None to decode plainly.
          controller: drives the policy; no rows of it may be in use. It has as many drafters as
            ``drafter`` has names.
          stop_rules: what ends a sequence besides its length.
          rule: which drafted tokens stand and what follows them: greedy decoding, or sampling.
          batch_size: most sequences at a time, >= 1.
          record_signals: keep the draft's signals in the cycle records.
          measured_times: tell the controller what its cycles took. Otherwise it takes its cost
            model's times, and the same decisions come out on every machine and in replay.
          on_tokens: called with tokens as soon as they are verified.

        Raises:
          ConfigError: a batch size that is not positive, or larger than the verifier's slots; or a
            controller for another number of drafters.
        """
        if drafter is not None and len(drafter.names) != len(controller.drafters):
            raise ConfigError(
                f"the controller knows {len(controller.drafters)} drafters, {drafter.spec} has "
                f"{len(drafter.names)}; create it with drafters=drafter.names"
            )
        if not 1 <= batch_size <= verifier.slots:
            raise ConfigError(
                f"batch_size = {batch_size}; the verifier has {verifier.slots} slots, so that "
                f"1 to {verifier.slots} are allowed"
            )
        self.verifier = verifier
        self.drafter = drafter
        self.controller = controller
        self.rule = rule
        self.stop_rules = stop_rules or StopRules()
        self.batch_size = batch_size
        self._record_signals = record_signals
        self._measured_times = measured_times
        self._on_tokens = on_tokens
        self._looks_inside = controller.policy.looks_inside_draft
        self._running: dict[int, _Sequence] = {}  # by row

    def complete(self, requests: Iterable[Request]) -> list[Completion]:
        """Decodes all requests; completions in the order of the requests.

        Raises:
          As ``run``.
        """
        wanted = list(requests)
        done = {
            event.completion.id: event.completion
            for event in self.run(wanted)
            if isinstance(event, Finished)
        }
        return [done[request.id] for request in wanted]

    def run(self, requests: Iterable[Request]) -> Iterator[Event]:
        """Decodes requests, yielding events as tokens are verified.

        Closing the iterator early cancels what is running and frees its rows.

        Raises:
          ContextLengthError: a prompt that leaves no room in the verifier's context.
          PromptError: a token outside the vocabulary, or two requests with one id.
          NumericsError: logits that are not numbers (while iterating).
          ConfigError: the controller's rows are in use by another run (while iterating).
        """
        pending = deque(requests)
        self._check(pending)
        return self._run(pending)

    def _run(self, pending: deque[Request]) -> Iterator[Event]:
        if self.controller.running.size:
            raise ConfigError(
                f"the controller drives {self.controller.running.size} sequences already; finish "
                "or close the other run first, or use a controller of its own"
            )
        try:
            while pending or self._running:
                while pending and len(self._running) < self.batch_size:
                    self._admit(pending.popleft())
                for event in self._cycle():
                    if self._on_tokens is not None and isinstance(event, TokensEmitted):
                        self._on_tokens(event)
                    yield event
        except NumericsError:
            self.verifier.cache.clear()
            raise
        finally:
            self._free(list(self._running), finished=False)

    def _cycle(self) -> list[Event]:
        """One cycle of everything that runs: plan, draft, verify, emit, learn, release."""
        rows = self.controller.running
        sequences = [self._running[row] for row in rows.tolist()]
        plan = self.controller.decide(rows, self._available(rows, sequences))
        began = time.perf_counter()
        draft = self._draft(plan, sequences)
        drafted = time.perf_counter()
        verdict = self._verify(plan, sequences, draft)
        verified = time.perf_counter()
        draft_ms = (drafted - began) * 1e3 if plan.tau.any() else 0.0
        times_ms = draft_ms, (verified - drafted) * 1e3
        emissions = [
            sequence.emit(tokens)
            for sequence, tokens in zip(sequences, verdict.token_ids, strict=True)
        ]
        emitted = np.array([len(tokens) for tokens, _ in emissions], np.int64)
        accepted = np.minimum(verdict.num_accepted_tokens, emitted)
        self._observe(plan, draft, accepted, emitted, times_ms)
        spent = self.controller.out_of_passes(rows)
        events: list[Event] = []
        for i, (sequence, (tokens, reason)) in enumerate(zip(sequences, emissions, strict=True)):
            sequence.cycles.append(
                self._record(i, plan, draft, int(accepted[i]), int(emitted[i]), times_ms)
            )
            events.append(_emitted(sequence, tokens))
            ending = reason or ("budget" if spent[i] else None)
            if ending is not None:
                events.append(Finished(sequence.completion(ending, self.rule)))
                self._free([int(rows[i])], finished=True)
            else:
                self.verifier.truncate([int(rows[i])], [len(sequence.text) - 1])
        return events

    def _available(self, rows: IntArray, sequences: list[_Sequence]) -> BoolArray | None:
        if self.drafter is None:
            return None
        texts = [sequence.text for sequence in sequences]
        return self.drafter.available(rows.tolist(), texts)

    def _draft(self, plan: Plan, sequences: list[_Sequence]) -> Draft:
        if self.drafter is None or not plan.tau.any():
            return Draft.none(len(sequences))
        return self.drafter.propose_by(
            plan.drafter,
            plan.rows.tolist(),
            [sequence.text for sequence in sequences],
            plan.tau,
            keep_drafting=(
                functools.partial(self.controller.keep_drafting, plan)
                if self._looks_inside
                else None
            ),
            want_signals=self._record_signals,
            chooser=Chooser(self.rule, _seeds(sequences), self.verifier.vocab_size),
        )

    def _verify(self, plan: Plan, sequences: list[_Sequence], draft: Draft) -> Verdict:
        """One pass over each row's last verified token and its draft."""
        blocks = [
            [sequence.text[-1], *tokens]
            for sequence, tokens in zip(sequences, draft.token_ids, strict=True)
        ]
        logits = self.verifier.append(plan.rows.tolist(), blocks)
        texts = [sequence.text for sequence in sequences]
        block = Block(texts, draft.token_ids, _seeds(sequences), draft.drawn_from)
        return self.rule.verify(logits, block)

    def _observe(
        self,
        plan: Plan,
        draft: Draft,
        accepted: IntArray,
        emitted: IntArray,
        times_ms: tuple[float, float],
    ) -> None:
        draft_ms, verify_ms = times_ms if self._measured_times else (None, None)
        signals = None
        if self._looks_inside:
            signals = empty_signals(plan.rows.size, plan.cycle.max_draft_tokens)
            if draft.signals is not None:
                for whole, known in zip(signals, draft.signals, strict=True):
                    whole[:, : known.shape[1]] = known
        self.controller.observe(
            plan,
            draft.num_tokens,
            accepted,
            emitted,
            draft_ms=draft_ms,
            verify_ms=verify_ms,
            signals=signals,
        )

    def _record(
        self,
        i: int,
        plan: Plan,
        draft: Draft,
        accepted: int,
        emitted: int,
        times_ms: tuple[float, float],
    ) -> CycleRecord:
        """The record of the cycle's ``i``-th row."""
        drafted = len(draft.token_ids[i])
        next_bit = 0 if accepted < drafted else UNKNOWN_AGREEMENT
        position = int(plan.cycle.emitted_tokens[i])
        signals = None
        if self._record_signals:
            known = draft.signals or empty_signals(len(draft.token_ids), 0)
            signals = DraftSignals(*(array[i, :drafted].copy() for array in known))
        return CycleRecord(
            position=position,
            tau=int(plan.tau[i]),
            num_draft_tokens=drafted,
            num_accepted_tokens=accepted,
            num_emitted_tokens=emitted,
            agreement=(1,) * accepted + (next_bit,) * (emitted - accepted),
            signals=signals,
            draft_ms=times_ms[0],
            verify_ms=times_ms[1],
            context_tokens=int(plan.cycle.prompt_tokens[i]) + position,
            batch_size=plan.rows.size,
            drafter=self.drafter.names[plan.drafter[i]] if self.drafter and drafted else None,
        )

    def _admit(self, request: Request) -> None:
        """Takes the lowest free row for a request and reads its prompt."""
        prompt = list(request.prompt_ids)
        limit = min(request.max_new_tokens, self.verifier.context_limit - len(prompt))
        reach = self._draftable_tokens(prompt, limit)
        seed = request.noise_seed(self.rule.seed)
        sequence = _Sequence(request, prompt, limit, self.stop_rules.follow(prompt), seed)
        sizes = (np.array([value], np.int64) for value in (len(prompt), limit, reach))
        row = int(self.controller.admit(*sizes)[0])
        self._running[row] = sequence
        began = time.perf_counter()
        self.verifier.prefill(row, prompt[:-1])
        if self.drafter is not None and reach > 0:
            self.drafter.begin(row, prompt)
        sequence.prefill_ms = (time.perf_counter() - began) * 1e3

    def _draftable_tokens(self, prompt: list[int], limit: int) -> int:
        """Output positions within the drafter's context, which holds the prompt too."""
        if self.drafter is None:
            return 0
        if self.drafter.context_limit is None:
            return limit
        return max(self.drafter.context_limit - len(prompt), 0)

    def _free(self, rows: list[int], *, finished: bool) -> None:
        for row in rows:
            del self._running[row]
            self.controller.release(np.array([row]), finished=finished)
            self.verifier.reset(row)
            if self.drafter is not None:
                self.drafter.end(row)

    def _check(self, requests: Iterable[Request]) -> None:
        """Refuses the whole run before anything of it has begun."""
        context, vocabulary = self.verifier.context_limit, self.verifier.vocab_size
        seen: set[str] = set()
        for request in requests:
            if request.id in seen:
                raise PromptError(f"request {request.id!r}: two requests have this id")
            seen.add(request.id)
            if len(request.prompt_ids) >= context:
                raise ContextLengthError(
                    f"request {request.id!r}: the prompt has {len(request.prompt_ids)} tokens, the "
                    f"model's context {context}; at least one must be left for the answer"
                )
            lowest, highest = min(request.prompt_ids), max(request.prompt_ids)
            if lowest < 0 or highest >= vocabulary:
                raise PromptError(
                    f"request {request.id!r}: prompt_ids range from {lowest} to {highest}; the "
                    f"model's vocabulary allows 0 to {vocabulary - 1}"
                )


def _seeds(sequences: list[_Sequence]) -> npt.NDArray[np.uint64]:
    return np.array([sequence.seed for sequence in sequences], np.uint64)


def _emitted(sequence: _Sequence, tokens: list[int]) -> TokensEmitted:
    cycle = sequence.cycles[-1]
    return TokensEmitted(
        id=sequence.request.id,
        token_ids=tuple(tokens),
        num_accepted=cycle.num_accepted_tokens,
        tau=cycle.tau,
        num_draft_tokens=cycle.num_draft_tokens,
    )
