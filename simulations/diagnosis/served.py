"""What was served: requests, and the cycles that decoded them, whatever they are known from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.costs import CostModel
from adaptive_spec.policy import NO_DRAFTER
from adaptive_spec.simulations.simulator import CycleLog
from adaptive_spec.traces.cycles import LoggedCycle
from adaptive_spec.traces.records import TraceSet

_SAMPLE = 4096


class Requests(NamedTuple):
    """The requests, in the order in which they were served; ``N`` of them.

    Attributes:
      categories: of each; None where not known.
      prompt_tokens, tokens: ``[N]`` length of the prompt, and what was emitted.
      proposed: ``[N]`` positions (of a log: cycles) at which a drafter proposed something;
        ``agreed``: ``[N]`` those of them at which its first token was right.
    """

    categories: tuple[str, ...] | None
    prompt_tokens: IntArray
    tokens: IntArray
    proposed: IntArray
    agreed: IntArray


class ServedCycles(NamedTuple):
    """Cycles; ``C`` of them.

    Attributes:
      request: ``[C]`` index of its request.
      tau, drafted, accepted: ``[C]`` tokens asked for, drafted, and of these emitted.
      drafter: ``[C]`` who drafted, as an index; ``NO_DRAFTER`` for nobody.
      context_tokens: ``[C]`` text before it.
      batch_size: ``[C]`` requests that shared the pass; ``width``: ``[C]`` longest draft in it.
    """

    request: IntArray
    tau: IntArray
    drafted: IntArray
    accepted: IntArray
    drafter: IntArray
    context_tokens: IntArray
    batch_size: IntArray
    width: IntArray

    def some(self, index: IntArray) -> "ServedCycles":
        """Some of the cycles."""
        return ServedCycles(*(column[index] for column in self))

    def sample(self) -> "ServedCycles":
        """At most ``_SAMPLE`` cycles, evenly spaced, for means over them."""
        count = self.request.size
        return self.some(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(np.int64))

    def at(self, tau: int) -> "ServedCycles":
        """The cycles as passes whose longest draft has ``tau`` tokens."""
        return self._replace(width=np.full_like(self.width, tau))

    def in_batch(self, batch_size: int) -> "ServedCycles":
        """The cycles as of a batch of that size."""
        return self._replace(batch_size=np.full_like(self.batch_size, batch_size))

    def of_drafter(self, drafter: int) -> "ServedCycles":
        """The cycles as if that one had drafted in all of them."""
        return self._replace(drafter=np.full_like(self.drafter, drafter))

    def per_request(self, values: FloatArray | IntArray | BoolArray, requests: int) -> FloatArray:
        """Sums by request, ``[C] -> [N]``."""
        sums = np.bincount(self.request, weights=values, minlength=requests)
        return sums.astype(np.float64)

    def prices(self, costs: CostModel, drafters: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Time of drafting and of the pass of every cycle, ``[C]`` each.

        Args:
          costs: what cycles cost.
          drafters: names, as ``drafter`` counts them.
        """
        draft_ms, verify_ms = np.zeros((2, self.request.size))
        for size in np.unique(self.batch_size).tolist():
            shared = self.batch_size == size
            at = self.width[shared], size, self.context_tokens[shared]
            verify_ms[shared] = costs.verify_ms(*at)
            for i, name in enumerate(drafters):
                own = shared & (self.drafting == i)
                at = self.width[own], size, self.context_tokens[own]
                draft_ms[own] = costs.of_drafter(name).draft_ms(*at)
        return draft_ms, verify_ms

    @property
    def drafting(self) -> IntArray:
        """``[C]`` whose drafts a cycle waited for: the first drafter's where nobody's are known."""
        return np.maximum(self.drafter, 0)


def of_replay(traces: TraceSet, log: CycleLog, batch_size: int) -> tuple[Requests, ServedCycles]:
    """What a policy served in replay.

    Args:
      traces: the trace.
      log: every cycle of the replay.
      batch_size: that passes are priced at.
    """
    said = [(np.count_nonzero(s.proposes), np.count_nonzero(s.agreement)) for s in traces]
    proposed, agreed = np.array(said, np.int64).T
    prompt_tokens = np.array([sequence.prompt_tokens for sequence in traces], np.int64)
    requests = Requests(
        tuple(sequence.category for sequence in traces),
        prompt_tokens,
        np.array([sequence.run_lengths.size for sequence in traces], np.int64),
        proposed,
        agreed,
    )
    cycles = ServedCycles(
        log.sequence,
        log.tau,
        log.num_draft_tokens,
        log.num_accepted_tokens,
        log.drafter,
        prompt_tokens[log.sequence] + log.position,
        np.full_like(log.tau, batch_size),
        log.num_draft_tokens,
    )
    return requests, cycles


def of_log(
    log: Sequence[LoggedCycle], widths: IntArray
) -> tuple[Requests, ServedCycles, tuple[str, ...]]:
    """What a live engine logged: requests, cycles, and the names of the drafters.

    Args:
      log: at least one cycle.
      widths: longest draft of the pass of each.
    """
    ids = {name: i for i, name in enumerate(dict.fromkeys(cycle.id for cycle in log))}
    drafters = tuple(dict.fromkeys(c.drafter for c in log if c.drafter is not None)) or ("drafter",)
    numbers = {name: i for i, name in enumerate(drafters)} | {None: NO_DRAFTER}
    request, tau, drafted, accepted, emitted, drafter, context, batch, position = (
        np.array(column, np.int64)
        for column in zip(
            *(
                (
                    ids[c.id],
                    c.tau,
                    c.num_draft_tokens,
                    c.num_accepted_tokens,
                    c.num_emitted_tokens,
                    numbers[c.drafter],
                    c.context_tokens,
                    c.batch_size,
                    c.position,
                )
                for c in log
            ),
            strict=True,
        )
    )
    cycles = ServedCycles(request, tau, drafted, accepted, drafter, context, batch, widths)
    count = len(ids)
    prompt_tokens = np.zeros(count, np.int64)
    prompt_tokens[request] = context - position
    judged = (drafted > 0) & ((accepted > 0) | (emitted > accepted))  # a stop may cut a draft off
    requests = Requests(
        None,
        prompt_tokens,
        cycles.per_request(emitted, count).astype(np.int64),
        cycles.per_request(judged, count).astype(np.int64),
        cycles.per_request(judged & (accepted > 0), count).astype(np.int64),
    )
    return requests, cycles, drafters
