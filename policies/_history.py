"""How likely the next draft token is accepted, by what became of the tokens before it.

The log-odds of acceptance add up from what is known where a token would be drafted:

- its *depth* in the draft: a drafter that goes on by itself may do worse, or end, at some depth;
- the *streak*: how many tokens in a row, up to this one, the drafter had right. Drafters that copy
  have long runs, and the longer a run has lasted the likelier it goes on;
- the *level*: the share of recent tokens that it had right, over some sixteen and some fifty.

Tables over all of these together would dilute the evidence (a sum needs eleven numbers where a
table needs thousands); the sum is learned by ``_logistic``, for each drafter, from every position
of the text and not just from those where something was drafted: each token says how it would have
fared in each draft that had got so far, begun at it or before it.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.policies._compiled import kernels
from adaptive_spec.policies._logistic import Weights, log_odds
from adaptive_spec.policies._merging import each, means
from adaptive_spec.policy import MAX_DRAFTERS, UNKNOWN_AGREEMENT, Outcome
from adaptive_spec.runs import Runs

DEPTHS = 10
"""Drafts that a token is looked at in: those begun at most so many tokens before its end."""

_DECAY = np.array([15 / 16, 47 / 48])
"""Weight of older tokens in the two levels, per token."""
_LEANING_TOKENS = 8.0
"""A level leans on that of all sequences as on so many tokens."""
_LEAST_LEVEL = 0.02
_FLEET_DECAY = 0.998
_FLEET_PRIOR = np.array([2.4, 4.0])
"""Four imagined tokens, of which 60 % agreed."""

_LONGEST_STREAK = 32
_PRIOR_MEAN = np.array([0.0] + 5 * [0.0] + [0.0, 0.0, 0.3] + [0.2, 0.4])
"""Streak and levels are taken to speak for what they say, until the text shows how much."""
PRIOR = Weights.prior(_PRIOR_MEAN, 0.3, MAX_DRAFTERS)


@functools.cache
def _of_depth(depths: int) -> FloatArray:
    """What the depth contributes to the features, ``[depths, 5]``: 1, 2, 3, 4, 5 or 6, deeper."""
    depth = np.arange(1, depths + 1)[:, None]
    return ((depth >= [1, 2, 3, 4, 5]) & (depth <= [1, 2, 3, 4, 6])).astype(np.float64)


def _of_streaks() -> FloatArray:
    """What the streak contributes, ``[33, 3]``."""
    streak = np.arange(_LONGEST_STREAK + 1)
    return np.stack([streak >= 1, streak >= 2, np.log1p(streak) / 2.0], axis=1).astype(np.float64)


_OF_STREAK = _of_streaks()


class Past(NamedTuple):
    """Where the text of each sequence stands, for each of ``M`` drafters.

    Attributes:
      known: ``[B, M]`` output positions taken account of.
      streak: ``[B, M]`` of them, the last so many had the drafter right.
      agreed, judged: ``[B, M, 2]`` discounted counts of tokens that it had right, and would have
        proposed anything for, at the two paces of forgetting.
    """

    known: IntArray
    streak: IntArray
    agreed: FloatArray
    judged: FloatArray

    @classmethod
    def fresh(cls, num_sequences: int) -> "Past":
        """Before any text."""
        shape = num_sequences, MAX_DRAFTERS
        counts = np.zeros((2, *shape, _DECAY.size))
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64), *counts)

    def copy(self) -> "Past":
        """One that may be changed in place."""
        return Past(*[part.copy() for part in self])  # type: ignore[arg-type]


class Learned(NamedTuple):
    """What all sequences have taught.

    Attributes:
      weights: of the features, for each of ``M`` drafters.
      fleet: ``[M, 2]`` discounted counts of tokens that agreed, and that were judged.
    """

    weights: Weights
    fleet: FloatArray

    @classmethod
    def fresh(cls) -> "Learned":
        """Before any text."""
        return cls(PRIOR, np.tile(_FLEET_PRIOR, (MAX_DRAFTERS, 1)))

    @classmethod
    def merged(cls, parts: "Sequence[Learned]", weights: FloatArray) -> "Learned":
        """Of several replicas (``Policy.merge``)."""
        return cls(
            Weights.merged(each(parts, "weights"), weights, PRIOR),
            means(each(parts, "fleet"), weights),
        )


class Tokens(NamedTuple):
    """Newly known tokens of each sequence and drafter; ``n`` columns, of which ``fresh`` count.

    Attributes:
      fresh: ``[B, D]``; ``known``: ``[B, D]`` output positions that are then taken account of.
      agreed: ``[B, D, n]`` whether the drafter would have had the token right.
      chance: ``[B, D, n]`` how likely that was, where it was left to chance; 1 or 0 as ``agreed``
        where it was not, or that is not known.
      judged: ``[B, D, n]`` whether that is known, and it would have proposed anything.
      tested: ``[B, D, n, DEPTHS]`` whether it is known how the token fares as the first, second ...
        of a draft that had got so far.
      passed: ``[B, D, n, DEPTHS]`` how likely it is accepted there.
    """

    fresh: IntArray
    known: IntArray
    agreed: BoolArray
    chance: FloatArray
    judged: BoolArray
    tested: BoolArray
    passed: FloatArray

    @classmethod
    def of_runs(cls, runs: Runs, known: IntArray) -> "Tokens":
        """What the text shows beyond the ``known`` positions, ``[B, D]``."""
        rows, drafters, window = runs.length.shape
        oldest = runs.end[:, None] - window + DEPTHS - 1
        begin = np.maximum(known, oldest)
        count = np.maximum(runs.known - begin, 0)
        ahead = np.arange(int(count.max(initial=0)))
        there = (ahead < count[:, :, None])[..., None]
        token = np.minimum((begin - oldest)[:, :, None] + ahead, window - DEPTHS)
        # The drafts begun at the token, one before it, two before it ...
        column = token[..., None] + (DEPTHS - 1 - np.arange(DEPTHS))
        at = (np.arange(rows)[:, None, None, None], np.arange(drafters)[:, None, None], column)
        length, proposes = runs.length[at], runs.proposes[at]
        began = begin[:, :, None, None] + ahead[:, None] - np.arange(DEPTHS) >= 0
        tested = there & proposes & began & (length >= np.arange(DEPTHS))
        accepted = tested & (length > np.arange(DEPTHS))
        passed = accepted.astype(np.float64)
        ends = np.maximum(known, runs.known)
        agreed, judged = accepted[..., 0], tested[..., 0]
        return cls(count, ends, agreed, passed[..., 0], judged, tested, passed)

    @classmethod
    def of_draft(cls, outcome: Outcome, known: IntArray, *, whole_is_refused: bool) -> "Tokens":
        """What the draft alone shows: its accepted tokens and the first that was refused.

        Where acceptance was left to chance and that is known (rejection sampling), the chance is
        learned from in place of how the die fell: it has the same mean, given the tokens before,
        and none of the die's noise (Rao and Blackwell). It is learned from where the die was cast
        and no further: behind a refused token it would be that of text which acceptance selects
        against.

        ``whole_is_refused`` takes a draft that was accepted whole for one whose next token was
        refused; chances are left out of account then.
        """
        bits = outcome.agreement()
        if whole_is_refused:
            row = np.flatnonzero(outcome.num_draft_tokens > 0)
            bits[row, outcome.num_accepted_tokens[row]] = 0
        bits = bits[:, None, :]
        mine = (np.arange(known.shape[1]) == outcome.drafter[:, None])[:, :, None]
        judged = mine & (bits != UNKNOWN_AGREEMENT)
        agreed = judged & (bits == 1)
        chance = agreed.astype(np.float64)
        if outcome.acceptance_probability is not None and not whole_is_refused:
            told = outcome.acceptance_probability[:, None, :]
            chance[..., :-1] = np.where(judged[..., :-1] & ~np.isnan(told), told, chance[..., :-1])
        own_depth = np.minimum(np.arange(bits.shape[2]), DEPTHS - 1)[:, None] == np.arange(DEPTHS)
        count = outcome.num_emitted_tokens[:, None] + np.zeros_like(mine[..., 0], np.int64)
        tested = judged[..., None] & own_depth
        passed = chance[..., None] * own_depth
        return cls(count, known + count, agreed, chance, judged, tested, passed)


def after_runs(past: Past, learned: Learned, runs: Runs, memory: float) -> tuple[Past, Learned]:
    """What is known after what the text has shown since, of the first ``D <= M`` drafters."""
    drafters = runs.known.shape[1]
    fast = kernels()
    if fast is None:
        return after(past, learned, Tokens.of_runs(runs, past.known[:, :drafters]), memory)
    past, weights, fleet = past.copy(), learned.weights.copy(), learned.fleet.copy()
    fast.absorb(
        *(*runs, *past, fleet, *weights, *PRIOR, _OF_STREAK, _of_depth(DEPTHS), _DECAY),
        *(_FLEET_DECAY, _LEANING_TOKENS, _LEAST_LEVEL, memory),
    )
    return past, Learned(weights, fleet)


def after(past: Past, learned: Learned, tokens: Tokens, memory: float) -> tuple[Past, Learned]:
    """What is known after more tokens, of the first ``D <= M`` drafters."""
    drafters = tokens.agreed.shape[1]
    own = Past(*(part[:, :drafters] for part in past))  # type: ignore[arg-type]
    streaks = _streaks(own.streak, tokens.agreed)
    right = _discounted(own.agreed, tokens.chance)
    judged = _discounted(own.judged, tokens.judged)
    levels = _levels(right[..., :-1, :], judged[..., :-1, :], learned.fleet[:drafters, None])
    weights = _taught(learned.weights, streaks[..., :-1], levels, tokens, memory)
    row, drafter = np.ogrid[: tokens.fresh.shape[0], :drafters]
    at = row, drafter, tokens.fresh
    whole = past.copy()
    ended = Past(tokens.known, streaks[at], right[at], judged[at])
    for part, new in zip(whole, ended, strict=True):
        part[:, :drafters] = new
    seen = np.stack([tokens.chance.sum(axis=(0, 2)), tokens.judged.sum(axis=(0, 2))], axis=1)
    return whole, Learned(weights, _fleet_after(learned.fleet, seen))


def _fleet_after(fleet: FloatArray, seen: IntArray | FloatArray) -> FloatArray:
    """Discounted counts after tokens that agreed and were judged, ``[D, 2]``."""
    counts = fleet.copy()
    counts[: seen.shape[0]] *= _FLEET_DECAY ** seen[:, 1:]
    counts[: seen.shape[0]] += seen
    return counts


class Outlook(NamedTuple):
    """Chances of the next draft of one drafter, as odds against acceptance, in two factors.

    Attributes:
      level: ``[B]`` of the sequence.
      table: ``[S, n]`` of a token, by the streak before its draft and its depth in it.
      streak: ``[B]`` the sequence's own streak, at most ``S - 1``.
    """

    level: FloatArray
    table: FloatArray
    streak: IntArray

    @classmethod
    def of(cls, past: Past, learned: Learned, drafter: int, depths: int) -> "Outlook":
        """That of a draft of up to ``depths`` tokens."""
        mean = learned.weights.mean[drafter]
        level = _levels(past.agreed[:, drafter], past.judged[:, drafter], learned.fleet[drafter])
        ahead = np.arange(_LONGEST_STREAK + 1)[:, None] + np.arange(depths)
        of_streak = (_OF_STREAK @ mean[6:9])[np.minimum(ahead, _LONGEST_STREAK)]
        table = of_streak + _of_depth(depths) @ mean[1:6]
        streak = np.minimum(past.streak[:, drafter], _LONGEST_STREAK)
        return cls(_against(mean[0] + level @ mean[9:]), _against(table), streak)

    def accepted(self) -> FloatArray:
        """Chance of each token of the draft, if those before it are accepted, ``[B, n]``."""
        return 1.0 / (1.0 + self.level[:, None] * self.table[self.streak])

    def accepted_after(self, streaks: int) -> FloatArray:
        """The same after a streak of 0, 1, ... tokens, ``[B, streaks, n]``."""
        return 1.0 / (1.0 + self.level[:, None, None] * self.table[:streaks])


def chances(past: Past, learned: Learned, drafter: int, depths: int) -> FloatArray:
    """Chance of each token of the next draft, if those before it are accepted, ``[B, depths]``."""
    fast = kernels()
    if fast is None:
        return Outlook.of(past, learned, drafter, depths).accepted()
    accepted: FloatArray = fast.accepted(*for_kernels(past, learned, drafter, depths))
    return accepted


def for_kernels(past: Past, learned: Learned, drafter: int, depths: int) -> tuple[Any, ...]:
    """What the compiled loops need to know of a drafter, of drafts up to ``depths`` tokens."""
    return (
        *(past.agreed[:, drafter], past.judged[:, drafter], past.streak[:, drafter]),
        *(learned.fleet[drafter], learned.weights.mean[drafter]),
        *(_OF_STREAK, _of_depth(depths), _LEANING_TOKENS, _LEAST_LEVEL),
    )


def history_constants(depths: int) -> dict[str, Any]:
    """Constants for compiled loops of drafts up to ``depths`` tokens, as these name them."""
    return {
        "prior": PRIOR.mean,
        "first": PRIOR.precision,
        "of_streak": _OF_STREAK,
        "of_depth": _of_depth(depths),
        "of_tested": _of_depth(DEPTHS),
        "decay": _DECAY,
        "fleet_decay": _FLEET_DECAY,
        "leaning": _LEANING_TOKENS,
        "least": _LEAST_LEVEL,
    }


def _against(log_odds_for: FloatArray) -> FloatArray:
    return np.exp(-np.minimum(np.maximum(log_odds_for, -15.0), 15.0))


def _streaks(before: IntArray, agreed: BoolArray) -> IntArray:
    """Tokens in a row that agreed, before each token and after the last, ``[B, D, n + 1]``."""
    number = np.arange(1, agreed.shape[2] + 1)
    failed = np.maximum.accumulate(np.where(agreed, 0, number), axis=2)
    streak = np.where(failed > 0, number - failed, before[:, :, None] + number)
    return np.concatenate([before[:, :, None], streak], axis=2)


def _discounted(before: FloatArray, happened: BoolArray | FloatArray) -> FloatArray:
    """Discounted counts before each token and after the last, ``[B, D, n + 1, 2]``."""
    old, recent = _kernels(happened.shape[2])
    aged = before[:, :, None, :] * old
    counts: FloatArray = aged + (happened.astype(np.float64) @ recent).reshape(aged.shape)
    return counts


@functools.cache
def _kernels(tokens: int) -> tuple[FloatArray, FloatArray]:
    """What is left before each token and after the last: of earlier counts, and of each token."""
    after = np.arange(tokens + 1)
    age = (after - 1 - np.arange(tokens)[:, None])[..., None]
    recent = np.where(age >= 0, _DECAY ** np.maximum(age, 0), 0.0)
    return _DECAY ** after[:, None], recent.reshape(tokens, (tokens + 1) * _DECAY.size)


def _levels(agreed: FloatArray, judged: FloatArray, fleet: FloatArray) -> FloatArray:
    """Log-odds of the share that agreed, leaning on that of all sequences, ``[..., 2]``."""
    common = (fleet[..., 0] / fleet[..., 1])[..., None]
    share = (agreed + _LEANING_TOKENS * common) / (judged + _LEANING_TOKENS)
    return log_odds(np.minimum(np.maximum(share, _LEAST_LEVEL), 1.0 - _LEAST_LEVEL))


def _taught(
    weights: Weights, streaks: IntArray, levels: FloatArray, tokens: Tokens, memory: float
) -> Weights:
    """Weights after the tokens, each at all depths that it was tested at: together one sample."""
    row, drafter, token, depth = np.nonzero(tokens.tested)
    features = np.empty((row.size, _PRIOR_MEAN.size))
    features[:, 0] = 1.0
    features[:, 1:6] = _of_depth(DEPTHS)[depth]
    features[:, 6:9] = _OF_STREAK[np.minimum(streaks[row, drafter, token], _LONGEST_STREAK)]
    features[:, 9:] = levels[row, drafter, token]
    passed = tokens.passed[row, drafter, token, depth]
    weight = 1.0 / tokens.tested.sum(axis=3)[row, drafter, token]
    return weights.learn(drafter, features, passed, weight, prior=PRIOR, memory=memory)
