"""The decoding engine: admits requests, runs cycles of those that run, ends and fails them."""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.constraints import EndReason
from adaptive_spec.controller import Controller, Plan
from adaptive_spec.decoding.cycle import CycleRunner
from adaptive_spec.decoding.drafters.base import Drafter
from adaptive_spec.decoding.intake import Intake
from adaptive_spec.decoding.requests import (
    Completion,
    CycleRecord,
    Event,
    Failed,
    Finished,
    FinishReason,
    Request,
    TokensEmitted,
)
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.decoding.sequences import RunningSequence
from adaptive_spec.decoding.slots import Slots
from adaptive_spec.decoding.stopping import StopRules
from adaptive_spec.decoding.verification import (
    GREEDY,
    VerificationRule,
)
from adaptive_spec.errors import (
    AdaptiveSpecError,
    ConfigError,
    DeviceMemoryError,
    DrafterError,
    NumericsError,
    is_out_of_memory,
)

_ENDINGS: dict[int, FinishReason] = {EndReason.BUDGET: "budget", EndReason.DEADLINE: "deadline"}


class DecodingEngine:
    """Decodes requests; the output is the verifier's own, whatever the policy decides.

    Up to ``batch_size`` sequences run at a time. A free slot goes to the next request before every
    cycle, lowest slot first, and all running sequences take part in every cycle.

    A request that cannot be decoded fails alone, with a ``Failed`` event. A cycle happens wholly or
    not at all: where a model runs out of memory or returns NaN, the cycle is taken back, and the
    others go on without the sequence to blame (docs/serving-many.md).

    Attributes:
      batch_limit: sequences at a time that memory has allowed in this run, <= ``batch_size``; the
        youngest of those that run wait while there are more.
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
          controller: drives the policy; no rows of it may be in use, and it was made for the same
            drafters.
          stop_rules: what ends a sequence besides its length.
          rule: which drafted tokens stand and what follows them: greedy decoding, or sampling.
          batch_size: most sequences at a time, >= 1.
          record_signals: keep the draft's signals in the cycle records.
          measured_times: tell the controller what its cycles took. Otherwise it takes its cost
            model's times, and the same decisions come out on every machine and in replay.
          on_tokens: called with tokens as soon as they are verified.

        Raises:
          ConfigError: a batch size that is not positive, or larger than the verifier's slots; or a
            controller for other drafters.
        """
        if drafter is not None:
            controller.name_drafters(drafter.names)
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
        self._measured_times = measured_times
        self._on_tokens = on_tokens
        self._cycles = CycleRunner(
            verifier,
            drafter,
            controller,
            rule,
            batch_size=batch_size,
            record_signals=record_signals,
            measured_times=measured_times,
        )
        self.batch_limit = batch_size
        self._slots = Slots(verifier, drafter, controller, batch_size)
        self._running: dict[int, RunningSequence] = {}  # by row, the oldest first
        self._suspects: deque[int] = deque()  # rows whose next cycle is theirs alone
        self._cancelled: set[str] = set()

    @property
    def running_ids(self) -> tuple[str, ...]:
        """Ids of the requests that run now, the oldest first."""
        return tuple(sequence.request.id for sequence in self._running.values())

    def complete(self, requests: Iterable[Request]) -> list[Completion]:
        """Decodes all requests; completions in the order of the requests.

        Raises:
          AdaptiveSpecError: the first request's that failed, when all others are done; ``outcomes``
            gives these, too.
        """
        done = []
        for outcome in self.outcomes(requests):
            if isinstance(outcome, Failed):
                raise outcome.error
            done.append(outcome)
        return done

    def outcomes(self, requests: Iterable[Request]) -> list[Completion | Failed]:
        """Decodes all requests; what became of each, in the order of the requests.

        Raises:
          ConfigError: the controller's rows are in use by another run.
        """
        # Copies, so that a request given twice by mistake is told apart.
        wanted = [dataclasses.replace(request) for request in requests]
        places = {id(request): i for i, request in enumerate(wanted)}
        first = {request.id: i for i, request in reversed([*enumerate(wanted)])}
        done: dict[int, Completion | Failed] = {}
        for event in self.run(wanted):
            if isinstance(event, Finished):
                done[first[event.completion.id]] = event.completion
            elif isinstance(event, Failed):
                done[places[id(event.request)]] = event
        return [done[i] for i in range(len(wanted))]

    def run(self, requests: Iterable[Request | None]) -> Iterator[Event]:
        """Decodes requests, yielding events as tokens are verified.

        Closing the iterator early cancels what is running and frees its rows.

        Args:
          requests: with distinct ids; read one at a time, each when there is a row for it. None
            among them says that none waits now, and to ask again after a cycle; where nothing runs
            either (``running_ids``), wait or stop rather than say so.

        Raises:
          ConfigError: the controller's rows are in use by another run (while iterating).
        """
        verifier = self.verifier
        return self._run(
            Intake(
                requests,
                context_limit=verifier.context_limit,
                vocab_size=verifier.vocab_size,
                classes=self.controller.constraints.names,
            )
        )

    def cancel(self, request_id: str) -> None:
        """Ends a request before the next cycle, with ``finish_reason="cancelled"``.

        May be called from any thread, and while events are read. One that waits ends when its turn
        comes; one that is done is left as it is. Forgotten when the run ends.
        """
        self._cancelled.add(request_id)

    def _run(self, intake: Intake) -> Iterator[Event]:
        if self.controller.running.size:
            raise ConfigError(
                f"the controller drives {self.controller.running.size} sequences already; finish "
                "or close the other run first, or use a controller of its own"
            )
        self.batch_limit = self.batch_size
        try:
            while intake.open or self._running:
                yield from self._end_cancelled()
                yield from self._admit(intake)
                if spent := self._end_spent():
                    yield from spent
                    continue  # others may take their rows before the next cycle
                if self._running:
                    for event in self._cycle():
                        if self._on_tokens is not None and isinstance(event, TokensEmitted):
                            self._on_tokens(event)
                        yield event
        except Exception:
            self.verifier.cache.clear()  # whatever went wrong, it is not to be found by the next
            raise
        finally:
            self._slots.reset()
            self._running.clear()
            self._suspects.clear()
            self._cancelled.clear()

    def _cycle(self) -> list[Event]:
        """One cycle of everything that runs, and what came of it."""
        rows = self._next_rows()
        sequences = [self._running[row] for row in rows.tolist()]
        plan = self._cycles.plan(rows, sequences)
        try:
            verified = self._cycles.verify(plan, sequences)
        except Exception as error:
            if not isinstance(error, NumericsError) and not is_out_of_memory(error):
                raise
            return self._call_off(plan, error)
        events: list[Event] = []
        emitted = self._cycles.emit(plan, sequences, verified)
        for row, sequence, (cycle, tokens, reason) in zip(
            rows.tolist(), sequences, emitted, strict=True
        ):
            events.append(_emitted(sequence.request, cycle, tokens))
            self.verifier.truncate([row], [len(sequence.text) - 1])
            if reason is not None:
                events.append(Finished(sequence.completion(reason, self.rule)))
                self._leave(row, finished=True)
        return events

    def _next_rows(self) -> IntArray:
        """Rows of the next cycle: all, the oldest that memory allows, or one that is suspected."""
        while self._suspects:
            row = self._suspects.popleft()
            if row in self._running:
                return np.array([row], np.int64)
        return np.array(sorted([*self._running][: self.batch_limit]), np.int64)

    def _call_off(self, plan: Plan, error: Exception) -> list[Event]:
        """Takes back a cycle that failed, and sees to it that the others can go on.

        Rows that shared it with NaN go alone next, so that the one to blame fails alone. Where
        memory ran out, fewer take part from now on.
        """
        rows = plan.rows.tolist()
        self.controller.withdraw(plan)
        self.verifier.truncate(rows, [len(self._running[row].text) - 1 for row in rows])
        if len(rows) == 1:
            return [self._fail(rows[0], error)]
        if isinstance(error, NumericsError):
            self._suspects.extend(rows)
        else:
            self.batch_limit = len(rows) // 2
        return []

    def _admit(self, intake: Intake) -> list[Event]:
        """Gives free rows to the next requests, lowest row first, and reads their prompts."""
        events: list[Event] = []
        admitted = []
        while intake.open and len(self._running) < self.batch_limit:
            request = intake.take()
            if request is None:
                break
            if isinstance(request, Failed):
                events.append(request)
                continue
            sequence = self._sequence(request)
            if request.id in self._cancelled:
                events.append(Finished(sequence.completion("cancelled", self.rule)))
                continue
            row = self._slots.take(
                request.id,
                sequence.text,
                sequence.limit,
                request.request_class,
                self._waited_ms(request),
            )
            self._cycles.begin(row)
            self._running[row] = sequence
            admitted.append(row)
        return events + (self._read(admitted) if admitted else [])

    def _waited_ms(self, request: Request) -> float:
        if request.arrival_s is None or not self._measured_times:
            return 0.0
        return (time.monotonic() - request.arrival_s) * 1e3

    def _sequence(self, request: Request) -> RunningSequence:
        prompt = np.asarray(request.prompt_ids).tolist()
        limit = min(request.max_new_tokens, self.verifier.context_limit - len(prompt))
        seed = request.noise_seed(self.rule.seed)
        return RunningSequence(request, prompt, limit, self.stop_rules.follow(prompt), seed)

    def _read(self, rows: list[int]) -> list[Event]:
        """Reads the prompts of newly admitted rows: together, or alone where that fails."""
        began = time.perf_counter()
        try:
            reused = self._slots.read(rows)
        except Exception as error:
            if not isinstance(error, DrafterError) and not is_out_of_memory(error):
                raise
            if len(rows) == 1:
                return [self._fail(rows[0], error)]
        else:
            elapsed_ms = (time.perf_counter() - began) * 1e3
            if self._measured_times:  # everybody waited for it
                self.controller.elapse(self.controller.running, elapsed_ms)
            for row in rows:
                self._running[row].prefill_ms = elapsed_ms
                self._running[row].reused_prefix_tokens = reused[row]
            return []
        for row in rows:
            self.verifier.reset(row)
        return [event for row in rows for event in self._read([row])]

    def _leave(self, row: int, *, finished: bool) -> RunningSequence:
        self._slots.give_back(row, finished=finished)
        return self._running.pop(row)

    def _fail(self, row: int, error: Exception) -> Failed:
        """Ends a sequence that failed, and wipes its row."""
        sequence = self._leave(row, finished=False)
        self._slots.wipe(row)
        return Failed(sequence.request, _reason(sequence.request, error), sequence.output)

    def _end_cancelled(self) -> list[Event]:
        """Ends what was cancelled since the last cycle."""
        asked_for = self._cancelled
        rows = [row for row, s in self._running.items() if s.request.id in asked_for]
        return [
            Finished(self._leave(row, finished=False).completion("cancelled", self.rule))
            for row in rows
        ]

    def _end_spent(self) -> list[Event]:
        """Ends what has no pass or no time left by what was promised."""
        rows = np.array(sorted(self._running), np.int64)
        ended = zip(rows.tolist(), self.controller.ended(rows).tolist(), strict=True)
        return [
            Finished(self._leave(row, finished=True).completion(_ENDINGS[reason], self.rule))
            for row, reason in ended
            if reason != EndReason.NONE
        ]


def _reason(request: Request, error: Exception) -> AdaptiveSpecError:
    if isinstance(error, NumericsError | DrafterError):
        return type(error)(f"request {request.id!r}: {error}")
    return DeviceMemoryError(
        f"request {request.id!r}: out of memory, even with no other sequence in the pass "
        f"({str(error).strip().partition(chr(10))[0]}); lower max_new_tokens, batch_size (whose "
        "caches take memory, too) or the runner's prefill_chunk_tokens, or take a smaller model"
    )


def _emitted(request: Request, cycle: CycleRecord, tokens: list[int]) -> TokensEmitted:
    return TokensEmitted(
        id=request.id,
        token_ids=tuple(tokens),
        num_accepted=cycle.num_accepted_tokens,
        tau=cycle.tau,
        num_draft_tokens=cycle.num_draft_tokens,
    )
