"""tau = argmax over k of  sum_{i<=k} S_i(context) - rate * priced time(k):  draft on while it pays.

``S_i`` is the probability that the first ``i`` draft tokens are all accepted, ``rate`` the tokens
emitted per unit of priced time, tracked online: Dinkelbach's ratio (Management Science 13, 1967),
at whose fixed point the rule has the best ratio of expected tokens to expected time, where the
ratio of one cycle alone would be short-sighted. tau = 0 is the case where not even the first token
pays. SmartSpec's goodput (2406.14066) and SpecDec++ (2405.19715) are special cases.

``S`` is learned from every position of the text, not from every cycle: the output does not depend
on tau, so each position is the start of a run whose length shows as soon as the text does
(``Outcome.runs``); a run is right-censored nowhere. Run lengths are counted per context: whether
the last two tokens agreed (or are not known), and how many of the last sixteen did. Counts age, and
a context that has seen little leans on all contexts together.

Signals: history only. Weakness: what the drafter itself knows of its proposals is not looked at;
counts are shared by all sequences, so that sequences of a trace are replayed one by one.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policy import (
    MAX_DRAFTERS,
    NO_DRAFTER,
    Cycle,
    Decision,
    Outcome,
    Policy,
    Runs,
    State,
)

_LONGEST = 16
"""Run lengths are told apart up to here; the hazard goes on as it was."""
_RECENT = 16
"""Tokens whose share of agreement is part of the context."""
_LEVELS = 5
_UNKNOWN = 2
_PRIOR_RATE = 0.6
_PRIOR_RUNS = 4.0


class Row(NamedTuple):
    """What is kept of one sequence.

    Attributes:
      known: ``[B, 8]`` output positions learned from, per drafter.
      context: ``[B, 8]`` context of the next position, per drafter.
      tokens, time_ms: ``[B]`` emitted and spent, discounted.
    """

    known: IntArray
    context: IntArray
    tokens: FloatArray
    time_ms: FloatArray


class Fleet(NamedTuple):
    """What all sequences share.

    Attributes:
      runs: ``[8, contexts, 17]`` run lengths seen, aged, per drafter and context.
      tokens, time_ms: ``[]`` emitted and spent, discounted.
    """

    runs: FloatArray
    tokens: FloatArray
    time_ms: FloatArray


_CONTEXTS = 3 * 3 * _LEVELS
_BEGINNING = (_UNKNOWN * 3 + _UNKNOWN) * _LEVELS + _LEVELS // 2


@dataclass(frozen=True)
class Marginal(Policy[Row, Fleet]):
    """Drafts on while the next token is worth its time, by what every position has shown.

    Attributes:
      memory: runs that a context remembers, in (1, inf).
      lean: runs' worth that a context leans on all contexts together, > 0.
      pace: cycles over which a sequence's rate is averaged, in (1, inf).
      upkeep: share of the time that may be spent on catching up where nothing is drafted, in
        (0, 1).
    """

    memory: float = 1000.0
    lean: float = 12.0
    pace: float = 64.0
    upkeep: float = 0.01

    learns = "across sequences"
    looks_back = True

    def __post_init__(self) -> None:
        for name in ("memory", "pace"):
            if not 1 < getattr(self, name) < math.inf:
                raise PolicySpecError(f"marginal: {name} = {getattr(self, name)}; must be above 1")
        if not 0 < self.lean < math.inf:
            raise PolicySpecError(f"marginal: lean = {self.lean}; it must be above 0")
        if not 0 < self.upkeep < 1:
            raise PolicySpecError(f"marginal: upkeep = {self.upkeep}; it must be in (0, 1)")

    def init(self, num_sequences: int, seed: int) -> State[Row, Fleet]:
        shape = num_sequences, MAX_DRAFTERS
        row = Row(
            np.zeros(shape, np.int64),
            np.full(shape, _BEGINNING),
            np.zeros(num_sequences),
            np.zeros(num_sequences),
        )
        runs = np.zeros((MAX_DRAFTERS, _CONTEXTS, _LONGEST + 1))
        return State(row, Fleet(runs, np.zeros(()), np.zeros(())))

    def decide(self, state: State[Row, Fleet], cycle: Cycle) -> Decision:
        value = np.full(cycle.max_tau.shape, -np.inf)
        tau, chosen = np.zeros((2, value.size), np.int64)
        depth = np.arange(cycle.max_draft_tokens + 1)
        step = np.inf
        for i in range(len(cycle.drafters)):
            priced = cycle.priced_ms(np.full(value.size, i))
            rate = self._rate(state, cycle, priced[:, 0])
            survival = self._survival(state.shared.runs[i], state.rows.context[:, i], depth.size)
            gain = np.cumsum(survival, axis=1) - rate[:, None] * priced
            gain[depth > np.where(cycle.available[:, i], cycle.max_tau, 0)[:, None]] = -np.inf
            best = np.argmax(gain, axis=1)
            worth = gain[np.arange(value.size), best]
            better = worth > value
            value[better], tau[better], chosen[better] = worth[better], best[better], i
            step = min(step, float((priced[:, min(1, depth.size - 1)] - priced[:, 0]).mean()))
        plain = float(priced[:, 0].mean())
        pause = max(step / (self.upkeep * plain), 1.0)
        drafter = np.where(cycle.available.any(axis=1), chosen, NO_DRAFTER)
        default = cycle.drafter
        there = cycle.available[np.arange(value.size), chosen]
        drafter = np.where(there, chosen, default)
        return Decision(
            cycle.clip(tau),
            drafter=drafter,
            catch_up=(cycle.behind_tokens >= pause).any(axis=1),
        )

    def update(self, state: State[Row, Fleet], outcome: Outcome) -> State[Row, Fleet]:
        rows, fleet = state
        keep = 1.0 - 1.0 / self.pace
        spent = outcome.cycle_ms + outcome.cycle.pass_price_ms
        emitted = outcome.num_emitted_tokens
        shared = rows.known.shape[0]
        runs, known, context = fleet.runs, rows.known, rows.context
        if outcome.runs is not None:
            d = outcome.runs.known.shape[1]
            contexts, following = _contexts(outcome.runs)
            runs = self._learned(runs, known[:, :d], outcome.runs, contexts)
            known, context = known.copy(), context.copy()
            known[:, :d], context[:, :d] = outcome.runs.known, following
        slow = keep ** (shared / 8)
        return State(
            Row(known, context, keep * rows.tokens + emitted, keep * rows.time_ms + spent),
            Fleet(runs, slow * fleet.tokens + emitted.sum(), slow * fleet.time_ms + spent.sum()),
        )

    def _rate(self, state: State[Row, Fleet], cycle: Cycle, plain_ms: FloatArray) -> FloatArray:
        """Tokens per millisecond, ``[B]``: the sequence's own, leaning on everybody's."""
        fleet = np.where(
            state.shared.time_ms > 0,
            (state.shared.tokens + 1.5) / (state.shared.time_ms + plain_ms),
            1.5 / plain_ms,
        )
        lean = 8.0 * plain_ms
        rate: FloatArray = (state.rows.tokens + fleet * lean) / (state.rows.time_ms + lean)
        return rate

    def _survival(self, runs: FloatArray, context: IntArray, size: int) -> FloatArray:
        """Probability that 0, 1 ... tokens are all accepted, ``[B, size]``, 1 for none."""
        lengths = np.arange(_LONGEST + 1)
        prior = _PRIOR_RATE**lengths * (1 - _PRIOR_RATE)
        prior[-1] = _PRIOR_RATE**_LONGEST
        every = runs[: 3 * 2 * _LEVELS].sum(axis=0) + _PRIOR_RUNS * prior
        own = runs[context] + self.lean * every / every.sum()
        tail = own[:, ::-1].cumsum(axis=1)[:, ::-1]
        survival = tail / tail[:, :1]
        if size > survival.shape[1]:
            on = survival[:, -1:] / survival[:, -2:-1]
            more = on ** np.arange(1, size - survival.shape[1] + 1)
            survival = np.concatenate([survival, survival[:, -1:] * more], axis=1)
        return survival[:, :size]

    def _learned(
        self, counts: FloatArray, known: IntArray, runs: Runs, contexts: IntArray
    ) -> FloatArray:
        """Counts with the runs that have been settled since."""
        length = np.minimum(runs.length, _LONGEST)
        settled_at = runs.position[:, None, :] + np.minimum(runs.length + 1, _LONGEST)
        settled = runs.seen & runs.proposes & (runs.ended | (runs.length >= _LONGEST))
        new = settled & (settled_at > known[:, :, None])
        row, drafter, column = np.nonzero(new)
        if row.size == 0:
            return counts
        counts = counts.copy()
        found = length[row, drafter, column]
        for context in contexts[:, row, drafter, column]:
            once = np.zeros(counts.shape[:2])
            np.add.at(once, (drafter, context), 1.0)
            touched = once > 0
            counts[touched] *= (1.0 - 1.0 / self.memory) ** once[touched][:, None]
            np.add.at(counts, (drafter, context, found), 1.0)
        return counts


def _contexts(runs: Runs) -> tuple[IntArray, IntArray]:
    """Contexts of each column, ``[3, B, D, W]``, and of the position to come, ``[B, D]``.

    The three are with both last bits known, with the last one not, and with neither.
    """
    seen = runs.seen
    bits = np.where(seen, (runs.length > 0).astype(np.int64), _UNKNOWN)
    ones = _before(np.cumsum(bits == 1, axis=2))
    both = _before(np.cumsum(seen, axis=2))
    share = (ones + 1.0) / (both + 2.0)
    level = np.minimum((share * _LEVELS).astype(np.int64), _LEVELS - 1)
    edge = np.full((*bits.shape[:2], 1), _UNKNOWN)
    last = np.concatenate([edge, bits], axis=2)
    before = np.concatenate([edge, edge, bits[:, :, :-1]], axis=2)
    exact = (before * 3 + last) * _LEVELS + level
    half = (before * 3 + _UNKNOWN) * _LEVELS + level
    none = (_UNKNOWN * 3 + _UNKNOWN) * _LEVELS + level
    known = np.stack([exact, half, none])[..., :-1]
    return known, exact[..., -1]


def _before(sums: IntArray) -> IntArray:
    """Sums over the ``_RECENT`` columns before each column, and before the one to come."""
    padded = np.concatenate([np.zeros((*sums.shape[:2], _RECENT + 1), np.int64), sums], axis=2)
    difference: IntArray = padded[:, :, _RECENT:] - padded[:, :, :-_RECENT]
    return difference
