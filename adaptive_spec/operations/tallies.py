"""What a controller's cycles brought, as sums: the part of metrics that needs no metrics library.

Everything is counted when an outcome comes in. Time is counted once for all rows of a pass. What
plain decoding would have taken for the same tokens is the cost model's time of a plain pass of the
same batch, times measured over modelled time of the pass that was run: a machine that is slower
than the model says is slower at plain decoding, too.
"""

from bisect import bisect_left
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec._rows import Counters
from adaptive_spec.answers import who_catches_up
from adaptive_spec.controller import Controller
from adaptive_spec.cycle_times import cycle_times
from adaptive_spec.observers import Observer, Step
from adaptive_spec.policy import MAX_DRAFTERS, Outcome

POSITIONS = 32
"""Positions in the draft that are counted one by one; deeper ones are in the totals alone."""

POLICY_SECONDS = (
    *(25e-6, 50e-6, 100e-6, 250e-6, 500e-6),
    *(1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 100e-3, 250e-3, 1.0),
)
"""Bounds of the histogram of the policy's time."""

_RECENT = 1.0 - 1.0 / 1000.0
"""Weight of older passes in what is said of recent ones, per pass."""


class Times(NamedTuple):
    """Times of passes, ms.

    Attributes:
      draft, verify: measured (or the cost model's, where the engine measured nothing).
      modelled_draft, modelled_verify: by the cost model, for the tokens that were drafted.
      plain: that plain decoding would have taken for the tokens emitted.
    """

    draft: float = 0.0
    verify: float = 0.0
    modelled_draft: float = 0.0
    modelled_verify: float = 0.0
    plain: float = 0.0

    @property
    def measured(self) -> float:
        """Drafting and verifying."""
        return self.draft + self.verify

    @property
    def modelled(self) -> float:
        """The same, by the cost model."""
        return self.modelled_draft + self.modelled_verify

    def plus(self, other: "Times", weight: float = 1.0) -> "Times":
        """``weight`` times these, and the others."""
        return Times(*(weight * a + b for a, b in zip(self, other, strict=True)))


class Histogram:
    """Counts of what was at most so much."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """``bounds`` ascend; beyond the last comes one more bucket."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Counts a value, so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += times * value


class Tallies(Observer):
    """Sums over all cycles of a controller, which it watches from now on.

    Attributes:
      controller: watched.
      drafts, draft_tokens, accepted_tokens: ``[8]`` by drafter, in the controller's order.
      accepted_at: ``[32]`` accepted draft tokens by position in the draft.
      tau: ``[K + 1]`` cycles of a sequence, by tau.
      passes: cycles of a sequence, each of which takes it one verifier pass.
      fallback_passes: of these, those where something could have been drafted and nothing was.
      emitted_tokens: in all.
      times: of all passes; ``recent``: of recent ones, older ones discounted.
      recent_tau, recent_fallback, recent_passes: likewise; sums over sequences.
      cancelled: requests that were; those that finished are in the controller's ledgers.
      policy_seconds: time that the policy took to answer, by what it was asked.
    """

    def __init__(self, controller: Controller) -> None:
        """Begins at zero, and watches."""
        self.controller = controller
        self.drafts, self.draft_tokens, self.accepted_tokens = np.zeros((3, MAX_DRAFTERS), np.int64)
        self.accepted_at = np.zeros(POSITIONS, np.int64)
        self.tau = np.zeros(controller.max_draft_tokens + 1, np.int64)
        self.passes = self.fallback_passes = self.emitted_tokens = 0
        self.times, self.recent = Times(), Times()
        self.recent_tau = self.recent_fallback = self.recent_passes = 0.0
        self.cancelled = 0
        self.policy_seconds: dict[Step, Histogram] = {
            step: Histogram(POLICY_SECONDS) for step in ("decide", "keep_drafting", "update")
        }
        controller.watch(self)

    def observed(self, rows: IntArray, outcome: Outcome) -> None:
        drafted, accepted = outcome.num_draft_tokens, outcome.num_accepted_tokens
        who = np.maximum(outcome.drafter, 0)
        self.drafts += np.bincount(who[drafted > 0], minlength=MAX_DRAFTERS)
        self.draft_tokens += _sums(who, drafted)
        self.accepted_tokens += _sums(who, accepted)
        self.accepted_at += (accepted[:, None] > np.arange(POSITIONS)).sum(axis=0)
        self.tau += np.bincount(outcome.tau, minlength=self.tau.size)
        fallback = int(((outcome.tau == 0) & (outcome.cycle.max_tau > 0)).sum())
        self.passes += rows.size
        self.fallback_passes += fallback
        self.emitted_tokens += int(outcome.num_emitted_tokens.sum())
        spent = self._times(outcome)
        self.times = self.times.plus(spent)
        self.recent = self.recent.plus(spent, _RECENT)
        self.recent_tau = _RECENT * self.recent_tau + float(outcome.tau.sum())
        self.recent_fallback = _RECENT * self.recent_fallback + fallback
        self.recent_passes = _RECENT * self.recent_passes + rows.size

    def released(self, rows: IntArray, counters: Counters, finished: bool) -> None:
        self.cancelled += 0 if finished else rows.size

    def thought(self, step: Step, spent_ms: float) -> None:
        self.policy_seconds[step].add(spent_ms / 1000.0)

    def _times(self, outcome: Outcome) -> Times:
        cycle, drafted = outcome.cycle, outcome.num_draft_tokens
        lockstep = self.controller.lockstep
        catch_up = who_catches_up(self.controller.policy, outcome.decision, cycle, outcome.drafter)
        modelled = cycle_times(cycle, outcome.drafter, drafted, catch_up, lockstep=lockstep)
        context = cycle.prompt_tokens + cycle.emitted_tokens
        if lockstep:
            context = np.full_like(context, context.max())
        plain = cycle.costs.verify_ms(np.zeros_like(context), cycle.batch_size, context)
        slower = outcome.verify_ms / np.maximum(modelled[1], 1e-9)
        plain_ms = plain * slower * outcome.num_emitted_tokens
        once, of_plain = (np.max, np.mean) if lockstep else (np.sum, np.sum)
        return Times(
            float(once(outcome.draft_ms)),
            float(once(outcome.verify_ms)),
            float(once(modelled[0])),
            float(once(modelled[1])),
            float(of_plain(plain_ms)),
        )


def _sums(who: IntArray, tokens: IntArray) -> IntArray:
    """Sums of tokens by drafter."""
    sums: IntArray = np.bincount(who, tokens, minlength=MAX_DRAFTERS).astype(np.int64)
    return sums
