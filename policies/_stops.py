"""Rules that stop inside the draft, each judged by the drafts that it would have ended sooner.

Such a rule can't be replayed on text that was not drafted, for nobody knows what the drafter would
have said of it. But of a draft of ``k`` tokens that was made it is known where the rule would have
ended it: what the drafter said is there, and the first ``j <= k`` of its tokens fare as they did.
Against the draft as it was, a rule that ends it after ``j`` of which ``a`` were accepted gains::

    g = rate * (time(k) - time(j)) - (a - min(a, j))

Where it would have gone on beyond ``k``, neither gains: what would have followed was not drafted.
So what is judged, exactly, is the driver with its drafts ended where the rule says so, if that is
sooner. That a rule would draft longer can be known only where it does: one that leads drives alone,
and of its drafts it is known in turn where the driver would have ended them. Once that turns out
significantly better, the rule is left to end the driver's.

While a rule is followed, one draft in eight is left to the driver: by those both are compared. What
is left out is that a draft ended inside a run leaves more of it for the next cycle, so that who
ends drafts sooner is taken for a little worse than it is.
"""

from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.policies._timing import Timing
from adaptive_spec.policy import NO_DRAFTER, Decision, DraftSignals, Outcome, Policy, State

NO_RULE = -1

_EVERY = 2
"""One in so many drafts is looked at by one of the rules; every one while some rule leads."""

_EVERY_FOLLOWED = 8
"""While a rule is followed, one draft in so many is left to the driver, and looked at by it."""

_EVERY_ALONE = 2
"""One in so many drafts of a rule that drives alone is looked at by the driver."""

_DOUBT_TOKENS = 1.0
"""Standard deviation of what a rule gains alone that is never thought away: where the evidence has
faded, it is tried again."""

_ONE_CYCLE = np.array([0, 1])


class Stops(NamedTuple):
    """What it would have brought to end drafts by each of ``R`` rules, in the drafts looked at.

    Attributes:
      lead, spread: ``[R]`` gained by ending the driver's drafts; discounted, in tokens and their
        squares.
      alone, alone_spread: ``[R]`` gained by drafting alone, beyond that.
      turn: ``[2]`` drafts of the driver that were looked at, and cycles since the last.
    """

    lead: FloatArray
    spread: FloatArray
    alone: FloatArray
    alone_spread: FloatArray
    turn: IntArray

    @classmethod
    def fresh(cls, rules: int) -> "Stops":
        """Before any draft."""
        lead, spread, alone, alone_spread = np.zeros((4, rules))
        return cls(lead, spread, alone, alone_spread, np.zeros(2, np.int64))

    @property
    def promising(self) -> int | None:
        """The rule that leads by most, if any does."""
        best = int(self.lead.argmax())
        return best if self.lead[best] > 0.0 else None

    @property
    def next(self) -> int:
        """Who looks at the driver's next draft: all in turn, but every other time who promises."""
        looks, promising = int(self.turn[0]), self.promising
        if promising is None:
            return looks % self.lead.size
        return promising if looks % 2 else looks // 2 % self.lead.size

    def due(self, followed: int | None) -> bool:
        """Whether the driver's next draft is to be looked at; ``followed``: the rule that is."""
        waited = int(self.turn[1])
        if followed is not None:
            return waited >= _EVERY_FOLLOWED - 1
        return waited >= _EVERY - 1 or self.promising is not None

    @property
    def looks_alone(self) -> bool:
        """Whether the driver is to look at the draft of a rule that drives alone."""
        return int(self.turn[1]) % _EVERY_ALONE == 0

    def drives_alone(self, rule: int, confidence: float) -> bool:
        """Whether a rule that is followed does not do significantly worse alone."""
        deviation = np.sqrt(self.alone_spread[rule] + _DOUBT_TOKENS**2)
        return bool(self.alone[rule] > -confidence * deviation)

    def later(self, faded: float) -> "Stops":
        """After a cycle; ``faded``: what is left of older evidence."""
        return Stops(
            faded * self.lead,
            faded**2 * self.spread,
            faded * self.alone,
            faded**2 * self.alone_spread,
            self.turn + _ONE_CYCLE,
        )

    def after(self, rule: int, gain: FloatArray) -> "Stops":
        """After drafts of the driver, of which this rule makes so many tokens more, ``[B]``.

        Rows are as many cycles: what one gains says nothing of the next.
        """
        lead, spread = self.lead.copy(), self.spread.copy()
        lead[rule] += gain.sum()
        spread[rule] += gain @ gain
        turn = np.array([int(self.turn[0]) + 1, 0])
        return self._replace(lead=lead, spread=spread, turn=turn)

    def after_alone(self, rule: int, gain: FloatArray) -> "Stops":
        """After drafts of this rule alone: what they gain beyond those that both end, ``[B]``."""
        alone, spread = self.alone.copy(), self.alone_spread.copy()
        alone[rule] += gain.sum()
        spread[rule] += gain @ gain
        return self._replace(alone=alone, alone_spread=spread)


def foremost(lead: FloatArray, spread: FloatArray, confidence: float) -> int | None:
    """Who leads by most beyond ``confidence`` standard deviations; None where nobody does."""
    sure = lead - confidence * np.sqrt(spread)
    best = int(sure.argmax())
    return best if sure[best] > 0.0 else None


def tells(outcome: Outcome) -> bool:
    """Whether a draft says anything of rules that end it: one of two tokens, with signals."""
    if outcome.signals is None:
        return False
    shown = outcome.signals.top1_probability[outcome.num_draft_tokens > 1]
    return bool((~np.isnan(shown)).any())


class Ended(NamedTuple):
    """Drafts as a rule would have ended them.

    Attributes:
      own: its own decision.
      drafted: ``[B]`` tokens, no more than there were.
      stopped: ``[B]`` whether it was a signal on which it ended them.
    """

    own: Decision
    drafted: IntArray
    stopped: BoolArray


def ended_by(policy: Policy[Any, Any], state: State[Any, Any], outcome: Outcome) -> Ended:
    """Asks a rule, token by token, where it would have ended the drafts of an outcome.

    Args:
      policy: the rule, which looks inside the draft.
      state: its own, of the same rows.
      outcome: with signals.
    """
    assert outcome.signals is not None
    cycle = outcome.cycle
    own = policy.decide(state, cycle)
    drafted = np.minimum(own.tau, outcome.num_draft_tokens)
    stopped, going = np.zeros(drafted.size, np.bool_), np.ones(drafted.size, np.bool_)
    for depth in range(1, int(drafted.max(initial=0)) + 1):
        going = going & (drafted >= depth)
        asked = going & (own.tau > depth) & (cycle.min_tau <= depth)
        if not asked.any():
            continue
        shown = DraftSignals(*(column[:, :depth] for column in outcome.signals))
        ends = asked & ~policy.keep_drafting(state, cycle, own, depth, shown)
        if ends.any():
            drafted, stopped, going = np.where(ends, depth, drafted), stopped | ends, going & ~ends
            if not going.any():
                break
    return Ended(own, drafted, stopped)


def cut(outcome: Outcome, ended: Ended) -> Outcome:
    """What the rule would have been told, had it driven; with times of the cost model.

    Where it would have gone on beyond what was drafted, the tau asked for is what was drafted.
    """
    drafted, cycle = ended.drafted, outcome.cycle
    accepted = np.minimum(outcome.num_accepted_tokens, drafted)
    at = drafted, cycle.batch_size, cycle.prompt_tokens + cycle.emitted_tokens
    signals = outcome.signals
    if signals is not None:
        beyond = np.arange(signals.entropy.shape[1]) >= drafted[:, None]
        signals = DraftSignals(*(np.where(beyond, np.nan, column) for column in signals))
    return Outcome(
        cycle,
        ended.own,
        np.where(ended.stopped, ended.own.tau, drafted),
        np.where(drafted > 0, outcome.drafter, NO_DRAFTER),
        drafted,
        accepted,
        np.minimum(outcome.num_emitted_tokens, accepted + 1),
        cycle.costs.draft_ms(*at),
        cycle.costs.verify_ms(*at),
        signals,
    )


def gained(outcome: Outcome, drafted: IntArray, timing: Timing, rate: FloatArray) -> FloatArray:
    """What drafts gain if they end after ``drafted`` tokens, ``[B]``, in tokens.

    Args:
      outcome: with the drafts as they were.
      drafted: ``[B]``, no more than there were.
      timing: how long cycles take.
      rate: ``[B]`` tokens that a millisecond is worth.
    """
    cycle, gain = outcome.cycle, np.zeros(drafted.size)
    sooner = drafted < outcome.num_draft_tokens
    emitted = np.minimum(outcome.num_emitted_tokens, drafted + 1)
    lost = outcome.num_emitted_tokens - emitted
    for i in range(len(cycle.drafters)):
        own = np.flatnonzero(sooner & (outcome.drafter == i))
        if own.size:
            priced = timing.priced_ms(cycle, i)
            row = own if priced.shape[0] > 1 else np.zeros_like(own)
            saved = priced[row, outcome.num_draft_tokens[own]] - priced[row, drafted[own]]
            gain[own] = rate[own] * saved - lost[own]
    return gain
