"""Requests that come, run, fail, are cancelled and end in any order; nothing leaks, ever."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from adaptive_spec.decoding import DraftModelDrafter, Event, Failed, Finished, ModelRunner, Request
from tests.decoding.faults import POISON, Passes, poisoned
from tests.decoding.scripted import Scripted, engine, generate
from tests.tiny_models import perturbed, tiny_llama

MODEL = poisoned(tiny_llama(layers=2))
DRAFT = poisoned(perturbed(tiny_llama(layers=2)))
SYSTEM = [(7 * i * i + 3) % 60 for i in range(20)]
GOOD = [[5], [1, 2, 3], SYSTEM, [*SYSTEM, 9, 8], [*SYSTEM[:17], 1, 2], [4, 4, 4, 4, 4, 4]]
BAD = [[POISON, 2], [*SYSTEM, POISON], [1, 99], [-1]]
MOST = 7
PLAIN = [generate(MODEL, prompt, MOST) for prompt in GOOD]
ROWS = 3


class EngineMachine(RuleBasedStateMachine):
    """One engine over many runs, with a draft model that shares its fate."""

    @initialize()
    def start(self) -> None:
        drafter = DraftModelDrafter(ModelRunner(DRAFT, slots=ROWS), "draft")
        self.engine = engine(MODEL, drafter, Scripted(), ROWS)
        self.runners = [self.engine.verifier, drafter.runner]
        self.most = ROWS
        for runner in self.runners:
            Passes(runner, lambda rows, widths: len(rows) > self.most)
        self.waiting: deque[Request] = deque()
        self.expected: dict[str, list[int] | None] = {}
        self.cancelled: set[str] = set()
        self.open: set[str] = set()
        self.events: Iterator[Event] | None = None

    def source(self) -> Iterator[Request | None]:
        while self.waiting or self.engine.running_ids:
            yield self.waiting.popleft() if self.waiting else None

    def submit(self, prompt: list[int], expected: list[int] | None, new_tokens: int) -> None:
        name = f"r{len(self.expected)}"
        self.waiting.append(Request(name, prompt, new_tokens))
        self.expected[name] = expected
        self.open.add(name)

    @rule(which=st.integers(0, len(GOOD) - 1), new_tokens=st.integers(1, MOST))
    def submit_good(self, which: int, new_tokens: int) -> None:
        self.submit(GOOD[which], PLAIN[which][:new_tokens], new_tokens)

    @rule(prompt=st.sampled_from(BAD))
    def submit_bad(self, prompt: list[int]) -> None:
        self.submit(prompt, None, MOST)

    @rule(most=st.integers(1, ROWS))
    def change_memory(self, most: int) -> None:
        self.most = most

    @precondition(lambda self: self.events is not None and self.open)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.open)))
        self.engine.cancel(name)
        self.cancelled.add(name)

    @precondition(lambda self: self.waiting or self.events is not None)
    @rule(count=st.integers(1, 8))
    def advance(self, count: int) -> None:
        for _ in range(count):
            if self.events is None:
                self.events = self.engine.run(self.source())
            event = next(self.events, None)
            if event is None:
                self.events = None
                break
            self.check(event)

    @precondition(lambda self: self.events is not None)
    @rule()
    def close(self) -> None:
        running = set(self.engine.running_ids)
        self.events.close()  # type: ignore[union-attr]
        self.events = None
        self.open = {request.id for request in self.waiting}
        self.cancelled.clear()
        assert not running & self.open

    def check(self, event: Event) -> None:
        if isinstance(event, Failed):
            assert self.expected[event.request.id] is None, event
            self.open.remove(event.request.id)
        elif isinstance(event, Finished):
            done, expected = event.completion, self.expected[event.completion.id]
            self.open.remove(done.id)
            if done.finish_reason == "cancelled":
                assert done.id in self.cancelled
                assert expected is None or list(done.token_ids) == expected[: len(done.token_ids)]
            else:
                assert list(done.token_ids) == expected

    @invariant()
    def books_agree(self) -> None:
        running = self.engine.running_ids
        assert len(running) == self.engine.controller.running.size <= ROWS
        assert set(running) <= self.open
        if self.events is None:
            assert running == ()
            assert [runner.cache.lengths for runner in self.runners] == [[0] * ROWS] * 2
        if all(self.expected[name] is not None for name in running):
            for runner in self.runners:
                runner.cache.check_integrity()

    def teardown(self) -> None:
        if self.events is not None:
            for event in self.events:
                self.check(event)
            self.events = None
            assert self.open == set()
            self.books_agree()


EngineMachine.TestCase.settings = settings(max_examples=10, stateful_step_count=14, deadline=None)
TestEngine = EngineMachine.TestCase


class LongMachine(EngineMachine):
    """The same for longer."""


LongMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestEngineForLong = pytest.mark.slow(LongMachine.TestCase)
