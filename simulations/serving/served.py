"""What came of serving: one record per request, one per step of the engine."""

from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.constraints import EndReason, Feasibility, Ledger
from adaptive_spec.simulations.simulator import CycleLog


class RequestLog(NamedTuple):
    """What became of each request, in the order of arrival; ``R`` requests, times on one clock.

    Attributes:
      sequence: ``[R]`` index in the trace that was served.
      prompt: ``[R]`` index of the recorded sequence that it comes from, which windows share.
      request_class: ``[R]`` index of its class.
      arrival_ms: ``[R]`` when it came; ``admitted_ms``: when it left the queue.
      first_token_ms: ``[R]`` end of its first cycle, NaN where it was ended before.
      finished_ms: ``[R]`` end of its last cycle, or when it was ended.
      tokens: ``[R]`` emitted; ``passes``: verifier passes.
      num_draft_tokens, num_accepted_tokens: ``[R]``.
      end_reason: ``[R]`` ``EndReason``: whether a budget or a deadline cut it short.
    """

    sequence: IntArray
    prompt: IntArray
    request_class: IntArray
    arrival_ms: FloatArray
    admitted_ms: FloatArray
    first_token_ms: FloatArray
    finished_ms: FloatArray
    tokens: IntArray
    passes: IntArray
    num_draft_tokens: IntArray
    num_accepted_tokens: IntArray
    end_reason: IntArray

    @property
    def complete(self) -> BoolArray:
        """``[R]`` whether its text is whole."""
        whole: BoolArray = self.end_reason == EndReason.NONE
        return whole

    @property
    def latency_ms(self) -> FloatArray:
        """``[R]`` from arrival to the last token, waiting included."""
        return self.finished_ms - self.arrival_ms

    @property
    def time_to_first_token_ms(self) -> FloatArray:
        """``[R]`` from arrival to the end of the first cycle."""
        return self.first_token_ms - self.arrival_ms

    @property
    def time_per_output_token_ms(self) -> FloatArray:
        """``[R]`` from the first cycle's end on, over the tokens but one; NaN for one token."""
        later = self.tokens - 1
        spent = self.finished_ms - self.first_token_ms
        return np.where(later > 0, spent / np.maximum(later, 1), np.nan)

    def of_class(self, request_class: int) -> "RequestLog":
        """The requests of one class."""
        return RequestLog(*(column[self.request_class == request_class] for column in self))


class StepLog(NamedTuple):
    """Each step of the engine: prompts read, if any came, and one cycle; ``S`` steps.

    Where a constraint ended requests whose prompts had just been read, a step has no cycle.

    Attributes:
      begin_ms: ``[S]``.
      prefill_ms: ``[S]`` time of reading prompts; ``cycle_ms``: of drafting and verifying.
      batch_size: ``[S]`` sequences in it.
      waiting: ``[S]`` requests left in the queue.
      tau: ``[S]`` sum of tau over its sequences.
      tokens: ``[S]`` emitted.
    """

    begin_ms: FloatArray
    prefill_ms: FloatArray
    cycle_ms: FloatArray
    batch_size: IntArray
    waiting: IntArray
    tau: IntArray
    tokens: IntArray

    @property
    def busy_ms(self) -> float:
        """Time in which the engine was at work."""
        return float(self.prefill_ms.sum() + self.cycle_ms.sum())


class Served(NamedTuple):
    """What came of serving.

    Attributes:
      requests: in the order of arrival.
      steps: in time.
      classes: names of the classes.
      ledgers: what finished requests took, by class of the constraints.
      feasibility: whether what was promised can be kept, as far as the controller can tell.
      log: every cycle, where asked for; ``sequence`` is the index in the trace.
    """

    requests: RequestLog
    steps: StepLog
    classes: tuple[str, ...]
    ledgers: dict[str, Ledger]
    feasibility: dict[str, Feasibility]
    log: CycleLog | None = None

    @property
    def makespan_ms(self) -> float:
        """From the first arrival to the last token."""
        return float(self.requests.finished_ms.max() - self.requests.arrival_ms[0])

    @property
    def utilisation(self) -> float:
        """Share of that time in which the engine was at work, in 0..1."""
        # Sums of the same times in another order may differ in their last digits.
        return min(self.steps.busy_ms / self.makespan_ms, 1.0)
