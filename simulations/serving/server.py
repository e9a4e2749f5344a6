"""Continuous batching over arrivals, on a virtual clock.

Requests come, wait in a queue (first come, first served), and take one of ``max_batch`` places.
Their prompts are read while everybody waits; then they take part in every step until they end. A
step lasts as long as the cost model says of its batch. What happens in a cycle, and who decides, is
what it is in replay: the same ``ReplayedCycles`` and the same ``Controller``.

Not modelled: prompts read in chunks beside decoding, places lost to a full KV cache, and the host's
own time between two steps.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.constraints import AnyConstraints, ByClass, EndReason
from adaptive_spec.controller import Controller
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.policy import Policy
from adaptive_spec.registry import make_policy
from adaptive_spec.simulations.replayed_cycles import ReplayedCycle, ReplayedCycles
from adaptive_spec.simulations.serving.arrivals import Arrivals, OpenLoop
from adaptive_spec.simulations.serving.served import RequestLog, Served, StepLog
from adaptive_spec.simulations.simulator import AnyTrace, CycleLog, flat_of, signals_for
from adaptive_spec.traces.flat import FlatTrace
from adaptive_spec.traces.windows import WindowedTrace


class Requests(NamedTuple):
    """What is asked for, in the order of arrival; ``R`` requests.

    Attributes:
      sequence: ``[R]`` index in the trace; one may be asked for more than once.
      arrivals: when they come.
      request_class: ``[R]`` index into ``classes``; None where there is but one.
      classes: names of the classes.
    """

    sequence: IntArray
    arrivals: Arrivals
    request_class: IntArray | None = None
    classes: tuple[str, ...] = ("all",)


def serve(
    policy: str | Policy[Any, Any],
    traces: AnyTrace,
    requests: Requests,
    *,
    costs: CostModel,
    max_batch: int = 8,
    prefill_ms_per_token: float | None = None,
    max_draft_tokens: int = 10,
    constraints: AnyConstraints = None,
    uniform_widths: tuple[int, ...] | None = None,
    seed: int = 0,
    log_cycles: bool = False,
    on_finished: Callable[[int], None] | None = None,
) -> Served:
    """Serves requests, the texts of a trace, as they come.

    Args:
      policy: a policy or its spec.
      traces: what was recorded, or windows of it (a ``FlatTrace`` for policies that do not look
        inside the draft).
      requests: what is asked for, and when.
      costs: what steps cost, by batch.
      max_batch: sequences decoded together at most, >= 1; others wait.
      prefill_ms_per_token: time to read a token of a prompt, >= 0; None: a prompt takes what the
        cost model says of one verifier pass over all of it, alone.
      max_draft_tokens: K, largest tau.
      constraints: what is promised: of each class by its name, or of all requests together.
      uniform_widths: for engines that run one width per step, as in ``Controller``.
      seed: the policy's randomness.
      log_cycles: keep every cycle.
      on_finished: called with the number of requests finished since the last call.

    Raises:
      ConfigError: no requests, ones that the trace lacks, classes or arrivals of another number, a
        value out of range, or a policy that looks inside the draft on a trace without signals.
    """
    policy = make_policy(policy)
    flat = flat_of(traces, max_draft_tokens)
    classes = _checked_classes(requests, flat)
    if max_batch < 1:
        raise ConfigError(f"max_batch = {max_batch}; it must be at least 1")
    controller = Controller(
        policy,
        costs=costs,
        max_draft_tokens=max_draft_tokens,
        constraints=constraints,
        seed=seed,
        uniform_widths=uniform_widths,
        drafters=flat.drafters,
    )
    cycles = ReplayedCycles(controller, flat, signals_for(policy, traces, max_draft_tokens))
    prefill_ms = prefill_times(flat.prompt_tokens[requests.sequence], costs, prefill_ms_per_token)
    prompt = requests.sequence
    if isinstance(traces, WindowedTrace):
        prompt = traces.windows.sequence[requests.sequence]
    account = None
    if isinstance(constraints, Mapping | ByClass):
        account = np.array([controller.constraints.number(n) for n in requests.classes])[classes]
    loop = _Loop(cycles, requests, account, prefill_ms, max_batch, log_cycles, on_finished)
    loop.run()
    by_request: Iterator[Any] = itertools.chain(loop.times_ms, loop.totals, [loop.end_reason])
    by_step: Iterator[Any] = (np.array(column) for column in zip(*loop.steps, strict=True))
    return Served(
        RequestLog(
            requests.sequence,
            prompt,
            classes,
            *by_request,
        ),
        StepLog(*by_step),
        requests.classes,
        controller.ledgers,
        controller.feasibility,
        CycleLog.of(loop.log) if log_cycles else None,
    )


class _Loop:
    """The event loop; arrays ``[R]`` by request."""

    def __init__(
        self,
        cycles: ReplayedCycles,
        requests: Requests,
        account: IntArray | None,
        prefill_ms: FloatArray,
        max_batch: int,
        log_cycles: bool,
        on_finished: Callable[[int], None] | None,
    ) -> None:
        count = requests.sequence.size
        self._cycles = cycles
        self._requests = requests
        self._account = account  # class of each, by the constraints' numbers
        self._prefill_ms = prefill_ms
        self._max_batch = max_batch
        self._log_cycles = log_cycles
        self._on_finished = on_finished
        self.times_ms = np.zeros((4, count))  # arrived, admitted, first token, finished
        self.totals = np.zeros((4, count), np.int64)  # tokens, passes, drafted, accepted
        self.end_reason = np.zeros(count, np.int64)
        self.steps: list[tuple[float | int, ...]] = []
        self.log: list[ReplayedCycle] = []
        self._request = np.zeros(0, np.int64)  # by row
        self._done = 0

    def run(self) -> None:
        """Steps until every request has finished."""
        arrivals, count = self._requests.arrivals, self._requests.sequence.size
        arrived, admitted, first_token, _ = self.times_ms
        first_token[:] = np.nan
        controller = self._cycles.controller
        rows = np.zeros(0, np.int64)
        clock, come, taken = 0.0, 0, 0
        while self._done < count:
            due = min(arrivals.due(clock, self._done), count)
            if due > come:
                arrived[come:due] = arrivals.came_ms(come, due, clock)
                come = due
            if rows.size == 0 and taken == come:
                clock = arrivals.next_ms(come)
                continue
            begin, prefill = clock, 0.0
            new = np.arange(taken, min(come, taken + self._max_batch - rows.size))
            if new.size:
                taken += new.size
                admitted[new] = clock
                prefill = float(self._prefill_ms[new].sum())
                controller.elapse(rows, prefill)
                self._admit(new, clock + prefill - arrived[new])
                rows = controller.running
                clock += prefill
            ended = controller.ended(rows)
            if ended.any():
                self.end_reason[self._request[rows]] = ended
                rows = self._leave(rows, ended != EndReason.NONE, clock)
                if prefill:
                    self.steps.append((begin, prefill, 0.0, 0, come - taken, 0, 0))
                continue
            cycle = self._cycles.run(rows)
            if self._log_cycles:
                self.log.append(cycle)
            emitted = cycle.num_emitted_tokens
            request = self._request[rows]
            cycle_ms = float(cycle.cycle_ms.max())
            clock += cycle_ms
            self.totals[:, request] += (
                emitted,
                np.ones_like(emitted),
                cycle.num_draft_tokens,
                cycle.num_accepted_tokens,
            )
            if np.isnan(first_token[request]).any():
                first_token[request[cycle.position == 0]] = clock
            batch, tau, tokens = rows.size, int(cycle.tau.sum()), int(emitted.sum())
            self.steps.append((begin, prefill, cycle_ms, batch, come - taken, tau, tokens))
            if cycle.at_end.any():
                rows = self._leave(rows, cycle.at_end, clock)

    def _admit(self, new: IntArray, waited_ms: FloatArray) -> None:
        rows = self._cycles.admit(
            self._requests.sequence[new],
            request_class=None if self._account is None else self._account[new],
            waited_ms=waited_ms,
        )
        more = self._cycles.controller.capacity - self._request.size
        if more > 0:
            self._request = np.pad(self._request, (0, more))
        self._request[rows] = new

    def _leave(self, rows: IntArray, done: BoolArray, clock_ms: float) -> IntArray:
        """Releases some of the rows; returns the others."""
        self.times_ms[3, self._request[rows[done]]] = clock_ms
        self._cycles.controller.release(rows[done])
        count = int(done.sum())
        self._done += count
        if self._on_finished is not None:
            self._on_finished(count)
        return rows[~done]


def _checked_classes(requests: Requests, flat: FlatTrace) -> IntArray:
    """The class of each request, ``[R]``."""
    sequence, last = requests.sequence, flat.start.size - 1
    if sequence.size == 0 or sequence.min() < 0 or sequence.max() > last:
        raise ConfigError(f"requests: sequence must name sequences 0..{last}, at least one")
    arrivals = requests.arrivals
    if isinstance(arrivals, OpenLoop) and arrivals.times_ms.size != sequence.size:
        raise ConfigError(
            f"requests: {sequence.size} of them, and times_ms has {arrivals.times_ms.size} "
            "arrivals; give one for each"
        )
    classes, names = requests.request_class, requests.classes
    if classes is None:
        classes = np.zeros_like(sequence)
    if classes.shape != sequence.shape or classes.min() < 0 or classes.max() >= len(names):
        raise ConfigError(
            f"requests: request_class must be one of 0..{len(names) - 1} for each of them "
            f"({', '.join(names)})"
        )
    return classes


def prefill_times(
    prompt_tokens: IntArray, costs: CostModel, ms_per_token: float | None = None
) -> FloatArray:
    """Time to read each prompt, ``[R]``; ``ms_per_token`` as in ``serve``."""
    if ms_per_token is None:
        length, which = np.unique(prompt_tokens, return_inverse=True)
        by_prompt: FloatArray = costs.verify_ms(length - 1, 1, length)[which]
        return by_prompt
    if not (math.isfinite(ms_per_token) and ms_per_token >= 0):
        raise ConfigError(f"prefill_ms_per_token = {ms_per_token}; it must be at least 0")
    by_token: FloatArray = prompt_tokens * np.float64(ms_per_token)
    return by_token
