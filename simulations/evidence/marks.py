"""What policies are held against: plain decoding, static taus, the clairvoyant optimum.

The best static tau is found twice: on the half to choose on, which is what could have been
deployed, and on the judged prompts themselves, which is a bound in hindsight.
"""

from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.costs import CostModel
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.simulations.evidence.subjects import Subject
from adaptive_spec.simulations.hindsight import optimum
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces.records import TraceSet


class Times(NamedTuple):
    """Time and cycles of each judged prompt, in ``P`` orders of the prompts.

    Attributes:
      time_ms: ``[P, N]``; ``cycles``: ``[P, N]``, one verifier pass each.
    """

    time_ms: FloatArray
    cycles: IntArray

    def of(self, prompts: IntArray) -> "Times":
        """Those of some prompts."""
        return Times(self.time_ms[:, prompts], self.cycles[:, prompts])


class StaticTimes(NamedTuple):
    """Times of every static tau, and of the optimum, of all prompts.

    Attributes:
      choose_ms: ``[K + 1, M]`` on the half to choose on.
      judge: ``[K + 1, N]`` on the half to judge on; ``optimum``: ``[1, N]``.
    """

    choose_ms: FloatArray
    judge: Times
    optimum: Times

    def best_tau(self, choose: IntArray, judge: IntArray) -> tuple[int, int]:
        """The fastest tau of each half, for these of their prompts; the least of equals."""
        chosen = self.choose_ms[:, choose].sum(axis=1).argmin()
        hindsight = self.judge.time_ms[:, judge].sum(axis=1).argmin()
        return int(chosen), int(hindsight)

    def marks(self, judge: IntArray, chosen: int, hindsight: int) -> Times:
        """The four marks of these prompts, in the order of ``MARKS``, ``[4, n]``."""
        static, best = self.judge.of(judge), self.optimum.of(judge)
        taus = [0, chosen, hindsight]
        return Times(
            np.concatenate([static.time_ms[taus], best.time_ms]),
            np.concatenate([static.cycles[taus], best.cycles]),
        )


def static_times(subject: Subject, costs: CostModel, max_draft_tokens: int) -> StaticTimes:
    """Replays every static tau on both halves, and finds the optimum of the judged one."""
    best = optimum(subject.judge, costs=costs, max_draft_tokens=max_draft_tokens)
    return StaticTimes(
        _every_tau(subject.choose, costs, max_draft_tokens).time_ms,
        _every_tau(subject.judge, costs, max_draft_tokens),
        Times(best.time_ms[None], best.cycles[None]),
    )


def _every_tau(half: TraceSet, costs: CostModel, max_draft_tokens: int) -> Times:
    flat = half.flat()
    runs = [
        replay(Fixed(tau), flat, costs=costs, max_draft_tokens=max_draft_tokens)
        for tau in range(max_draft_tokens + 1)
    ]
    return Times(np.stack([run.time_ms for run in runs]), np.stack([run.cycles for run in runs]))
