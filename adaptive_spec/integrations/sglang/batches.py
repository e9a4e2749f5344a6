"""Drives a controller for an engine that tells its policy the size of a batch, and no more.

SGLang's ``AdaptiveSpecPolicy`` (0.5.23, ``speculative/adaptive_runtime_state.py``) is asked before
every decode round for the number of draft steps of the whole batch, and told afterwards, while the
next round may be under way already, how many drafts of each request were right. It is not told
which requests these are, how long their texts are, or how long the round took.

So a row of the controller stands for a *place* in the batch, whoever has it: what a policy learns
of all requests together is right, what it learns of a single one is of whoever had the place. The
round is timed here, unless several ranks have to decide alike: their clocks differ.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec._rows import UNLIMITED_TOKENS
from adaptive_spec.controller import Controller, Plan
from adaptive_spec.cycle_times import cycle_times
from adaptive_spec.integrations.step_times import StepTimes
from adaptive_spec.policy import NO_DRAFTER

_log = logging.getLogger(__name__)

_PROMPT_TOKENS = 1024
"""Text before a place's first round, of which nothing is known: for costs that depend on it."""
_PLACE_TOKENS = 1024
"""Tokens after which a place is taken to have another request, since nobody says when it has."""
_LONG = 3.0
"""A round that takes so many times what it should has read prompts in between, and is no measure;
unless so did those before it."""
_LONG_ROUNDS = 4


class _Round(NamedTuple):
    """A round under way: what was decided for it, and when."""

    plan: Plan
    steps: int
    begun_s: float


class BatchSteps:
    """Decides the number of draft steps of each round, one for the whole batch.

    Whatever fails in here is logged once, and the engine goes on with its initial steps.

    Attributes:
      candidate_steps: those that are decided between.
      gave_up: whether something failed.
    """

    def __init__(
        self,
        controller: Controller,
        candidate_steps: Sequence[int],
        initial_steps: int,
        *,
        timed: bool,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Sets up for batches of any size.

        Args:
          controller: its own, with ``candidate_steps`` as its widths.
          candidate_steps: steps that the engine has prepared, 0 among them.
          initial_steps: what the engine goes on with when something fails; one of the candidates.
          timed: whether rounds are timed; otherwise they take what the cost model says.
          clock: in seconds.
        """
        self.candidate_steps = sorted(candidate_steps)
        self.gave_up = False
        self._controller = controller
        self._initial_steps = initial_steps
        self._clock = clock if timed else None
        self._times = StepTimes()
        self._under_way: deque[_Round] = deque()
        self._emitted = np.zeros(0, np.int64)  # by place, since it was taken
        self._done_s = -math.inf
        self._long = 0
        self._captured: list[int] | None = None

    def set_cuda_graph_bs(self, cuda_graph_bs: list[int] | None) -> None:
        """Is told the batch sizes that have graphs; None for none."""
        self._captured = sorted(cuda_graph_bs) if cuda_graph_bs else None

    def cuda_graph_bs_for_step(self, step: int) -> list[int] | None:
        """Batch sizes that may meet this number of steps: all."""
        del step
        return None if self._captured is None else list(self._captured)

    def get_steps_for_batch(self, batch_size: int) -> int:
        """Steps of the round that begins now."""
        if not self.gave_up and batch_size > 0:
            try:
                return self._decide(batch_size)
            except Exception:  # noqa: BLE001  # whatever it is, requests go on
                self._give_up()
        return self._initial_steps

    def on_verify_complete(
        self, num_correct_drafts_per_req: list[int], batch_size: int
    ) -> int | None:
        """Is told what came of a round; the next is decided on when it begins, so: None."""
        del batch_size
        if not self.gave_up and num_correct_drafts_per_req:
            try:
                self._observe(np.array(num_correct_drafts_per_req, np.int64))
            except Exception:  # noqa: BLE001  # whatever it is, requests go on
                self._give_up()
        return None

    def _decide(self, batch_size: int) -> int:
        places = self._places(batch_size)
        plan = self._controller.decide(places)
        steps = int(plan.tau.max())
        self._under_way.append(_Round(plan, steps, 0.0 if self._clock is None else self._clock()))
        return steps

    def _places(self, batch_size: int) -> IntArray:
        """Rows of the controller, one for each place of the batch."""
        there = self._controller.running
        kept = np.arange(min(there.size, batch_size))
        old = kept[self._emitted[kept] >= _PLACE_TOKENS]
        self._controller.release(np.concatenate([old, there[batch_size:]]), finished=False)
        missing = batch_size - (kept.size - old.size)
        self._controller.admit(
            np.full(missing, _PROMPT_TOKENS), np.full(missing, UNLIMITED_TOKENS)
        )  # the lowest free rows: those places
        self._emitted = np.pad(self._emitted, (0, max(batch_size - self._emitted.size, 0)))
        self._emitted[old] = 0
        self._emitted[kept.size :] = 0
        return self._controller.running

    def _observe(self, correct: IntArray) -> None:
        begun = self._begun(correct.size)
        if begun is None:
            return
        drafted = begun.plan.tau
        accepted = np.clip(correct, 0, drafted)
        draft_ms, verify_ms = self._measured_ms(begun)
        self._controller.observe(
            begun.plan, drafted, accepted, accepted + 1, draft_ms=draft_ms, verify_ms=verify_ms
        )
        self._emitted[begun.plan.rows] += accepted + 1

    def _begun(self, batch_size: int) -> _Round | None:
        """The oldest round of this many requests; older ones had no outcome, and did not happen."""
        while self._under_way:
            begun = self._under_way.popleft()
            if begun.plan.rows.size == batch_size:
                return begun
            self._controller.withdraw(begun.plan)
        return None

    def _measured_ms(self, begun: _Round) -> tuple[float | None, float | None]:
        """Time of drafting and of verifying; None for the cost model's.

        Rounds overlap: one takes from its beginning, or from when the one before was done.
        """
        if self._clock is None:
            return None, None
        now = self._clock()
        elapsed_ms = (now - max(begun.begun_s, self._done_s)) * 1e3
        self._done_s = now
        plan = begun.plan
        drafter = np.where(plan.tau > 0, plan.drafter, NO_DRAFTER)
        modelled = cycle_times(plan.cycle, drafter, plan.tau, plan.catch_up, lockstep=True)
        drafting, verifying = (float(part.max()) for part in modelled)
        expected_ms = self._times.expected_ms(verifying, drafting)
        self._long = self._long + 1 if elapsed_ms > _LONG * (expected_ms or math.inf) else 0
        if expected_ms is not None and 0 < self._long <= _LONG_ROUNDS:
            share = drafting / (drafting + verifying)
            return expected_ms * share, expected_ms * (1.0 - share)
        verify_ms, draft_ms = self._times.split(max(elapsed_ms, 0.0), verifying, drafting)
        return draft_ms, verify_ms

    def _give_up(self) -> None:
        self.gave_up = True
        _log.exception(
            "adaptive_spec failed; SGLang goes on with %d draft steps", self._initial_steps
        )
