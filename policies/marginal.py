"""tau = argmax over k of ``1 + S_1 + ... + S_k - rate * priced_ms(k) + S_{k+1} * ahead(k)``.

``S_i`` is the chance that the first ``i`` draft tokens are all accepted, ``rate`` the tokens
emitted per priced millisecond: Dinkelbach's ratio (Management Science 13, 1967), at whose fixed
point the rule has the best ratio of expected tokens to expected time, where the ratio of one cycle
alone would be short-sighted. So it drafts on while the next token is worth its time, and not at all
(tau = 0) where not even the first one is.

``S`` comes from ``_history``: a logistic regression on the streak and the level of agreement,
learned from every position of the text (``Outcome.runs``) and shared by all sequences. Nothing is
drafted to explore: a drafter that has not read the text for a while is made to catch up, when that
is worth its time (``_looks``). Where there is no such fact (rejection sampling) it learns from what
was drafted, of which it judges each token tested and no others (the product-limit estimator's way
with censored runs, Kaplan and Meier, JASA 1958). There a token is drafted to know, every so often:
it takes several to tell anything, so that these do not become rarer.

``ahead(k)`` is what is left of a run where a draft stops short of its end: the next cycle would
begin inside the run, and do better there than after a refusal, by ``value(streak + k + 1) -
value(0)``, with ``value(s) = max over k of 1 + S_1 + ... + S_k - rate * priced_ms(k)`` after a
streak of ``s`` tokens (one step of value iteration, Howard 1960). Without it, drafts in a long run
are too long: the tokens that they gain there would have come cheaply anyway.

Where the drafter says something of its tokens (how sure it is, how much it matched: see
``_confidence``), ``S_i`` is known better as the draft goes on, and the same sum says whether to go
on: while some ``k > i`` has a larger one than ``i``, the chances beyond ``i`` by history. A draft
may then become as long as the cap allows.

Time is the cost model's, put right by what cycles are measured to take (``_timing``).

Signals: history, costs and, where there are any, top-1 probability or match length. SmartSpec's
goodput (2406.14066), TETRIS and SpecDec++ (2405.19715) are special cases. Weakness: what it learns
is shared by all sequences, so that the sequences of a trace are replayed one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.compiled_replay import CompiledReplay, CycleCounts, CyclePrices, Texts
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._compiled import kernels, marginal_kernels
from adaptive_spec.policies._confidence import Confidence
from adaptive_spec.policies._history import (
    Learned,
    Outlook,
    Past,
    Tokens,
    after,
    after_runs,
    chances,
    for_kernels,
    history_constants,
)
from adaptive_spec.policies._looks import Looks, Stakes, looks_constants, shortest_pause
from adaptive_spec.policies._merging import each, means, sums
from adaptive_spec.policies._timing import Timing
from adaptive_spec.policy import (
    MAX_DRAFTERS,
    Cycle,
    Decision,
    DraftSignals,
    Outcome,
    Policy,
    State,
)
from adaptive_spec.runs import window_of
from adaptive_spec.state import take_cycle, take_rows

_STREAKS = 9
"""Streaks told apart in what lies ahead."""
_FIRST_RATE = 1.5
"""Tokens per plain verifier pass that the rate begins with."""
_PACE = 1.0 - 1.0 / 16.0
"""Weight of older cycles in a sequence's rate, per cycle; those of all sequences fade slower."""
_FLEET_PACE = 1.0 - 1.0 / 128.0
_LEANING_PASSES = 32.0
"""A sequence's rate leans on that of all sequences as on so many plain passes."""
_DRAFTERS = np.arange(MAX_DRAFTERS)


class Rows(NamedTuple):
    """What is kept of one sequence.

    Attributes:
      past: where its text stands.
      drafted: ``[B, M]`` output position where each drafter last drafted.
      tokens, time_ms, passes: ``[B]`` emitted and spent, discounted.
    """

    past: Past
    drafted: IntArray
    tokens: FloatArray
    time_ms: FloatArray
    passes: FloatArray


class Memo(NamedTuple):
    """What history alone would draft, ``[B]`` tokens; the drafter's word may stop short of it."""

    tau: IntArray


class Fleet(NamedTuple):
    """What all sequences share.

    Attributes:
      learned: how likely tokens are accepted; ``confidence``: what drafters' own word is worth.
      tokens, time_ms, passes: ``[1]`` emitted and spent, discounted.
      timing: how long cycles take, against the cost model.
      looks: what it has brought to look how idle drafters would do.
      idle_ms: ``[M]`` time since each drafter last read any sequence's text.
      blind: ``[1]`` bool, whether the last outcome told nothing of the text.
    """

    learned: Learned
    confidence: Confidence
    tokens: FloatArray
    time_ms: FloatArray
    passes: FloatArray
    timing: Timing
    looks: Looks
    idle_ms: FloatArray
    blind: BoolArray


@dataclass(frozen=True)
class Marginal(Policy[Rows, Fleet]):
    """Drafts on while the next token is worth its time, by what every position has shown.

    Attributes:
      memory: tokens that are remembered of how acceptance depends on history, at least 1.
      upkeep: share of the time that may go into looking how a drafter would do that is not
        drafting, in (0, 1). How much of it does is learned, where looking shows the text.
      evidence: "text" learns from every position of the text where that is known; "drafts" from
        what was drafted and no more; "lengths" takes accepted lengths for run lengths, as if what
        was not drafted had been refused: what many rules do, here for comparison.
      inside: whether to look inside the draft, at what the drafter says of its tokens; each of them
        then costs a read from the device.
    """

    memory: float = 10_000.0
    upkeep: float = 0.01
    evidence: Literal["text", "drafts", "lengths"] = "text"
    inside: bool = True

    learns = "across sequences"
    heeds_prices = True
    looks_back = True
    needs_signals = False

    def __post_init__(self) -> None:
        if not 1 <= self.memory <= 1e9:
            raise PolicySpecError(f"marginal: memory = {self.memory}; it must be in 1..1e9")
        if not 0 < self.upkeep < 1:
            raise PolicySpecError(f"marginal: upkeep = {self.upkeep}; it must be in (0, 1)")

    def init(self, num_sequences: int, seed: int) -> State[Rows, Fleet]:
        kernels()  # compiled, if need be, before anything is timed
        nothing = np.zeros((3, num_sequences))
        return State(
            Rows(
                Past.fresh(num_sequences),
                np.zeros((num_sequences, MAX_DRAFTERS), np.int64),
                *nothing,
            ),
            Fleet(
                Learned.fresh(),
                Confidence.fresh(),
                np.zeros(1),
                np.zeros(1),
                np.zeros(1),
                Timing.fresh(),
                Looks.fresh(),
                np.zeros(MAX_DRAFTERS),
                np.zeros(1, np.bool_),
            ),
        )

    def decide(self, state: State[Rows, Fleet], cycle: Cycle) -> Decision:
        rows, fleet = state
        rate, certain = tokens_per_ms(state, cycle), np.ones(cycle.max_tau.size)
        drafter = cycle.drafter
        blind = self.evidence != "text" or bool(fleet.blind[0])
        drafted = rows.drafted[:, : len(cycle.drafters)]
        idle = cycle.emitted_tokens[:, None] - drafted if blind else cycle.behind_tokens
        several = len(cycle.drafters) > 1
        # Short sequences end before a look at them alone would be due; all together are longer.
        idle = np.maximum(idle, _idle_passes(fleet, cycle) * (idle > 0))
        due: BoolArray = np.zeros(cycle.behind_tokens.shape, np.bool_)
        for i in range(len(cycle.drafters)):
            priced = fleet.timing.priced_ms(cycle, i)
            longest = cycle.max_tau * cycle.available[:, i]
            own, worth, idly = _best(rows.past, fleet.learned, i, rate, priced, longest, certain)
            if several:
                # What lies ahead of one drafter comes whoever drafts: only what it gains counts.
                worth = worth - idly
            stops_inside = self.inside and fleet.confidence.speaks[i]
            reach = longest * (own > 0) if stops_inside else own
            if i == 0:
                best, tau, upto = worth, own, reach
            else:
                better = worth > best
                best = np.where(better, worth, best)
                tau = np.where(better, own, tau)
                upto = np.where(better, reach, upto)
                drafter = np.where(better & cycle.available[:, i], i, drafter)
            if priced.shape[1] > 1:
                step = priced[:, 1] - priced[:, 0]
                due[:, i] = idle[:, i] >= shortest_pause(step, priced[:, 0], self.upkeep)
        if blind:
            probe = (due & (drafter[:, None] == np.arange(due.shape[1]))).any(axis=1)
            return Decision(cycle.clip(np.maximum(upto, probe)), Memo(tau), drafter)
        look = self._worth_a_look(state, cycle, due) if due.any() else due[:, 0]
        return Decision(cycle.clip(upto), Memo(tau), drafter, look)

    @property
    def looks_inside_draft(self) -> bool:
        return self.inside

    def keep_drafting(
        self,
        state: State[Rows, Fleet],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        on = np.ones(cycle.max_tau.size, np.bool_)
        alone = len(cycle.drafters) == 1
        for i in range(len(cycle.drafters)):
            own: Any = slice(None) if alone else np.flatnonzero(decision.drafter == i)
            shown = take_rows(signals, own)
            if np.isnan(shown.top1_probability).all() and np.isnan(shown.match_length).all():
                continue
            of_rows, at = take_rows(state.rows, own), take_cycle(cycle, own)
            rate = tokens_per_ms(State(of_rows, state.shared), at)
            priced = state.shared.timing.priced_ms(at, i)
            chance = chances(of_rows.past, state.shared.learned, i, depth)
            sure = state.shared.confidence.accepted(i, shown, chance).prod(axis=1)
            best, *_ = _best(
                of_rows.past, state.shared.learned, i, rate, priced, at.max_tau, sure, depth
            )
            on[own] = best > depth
        return on

    def _worth_a_look(self, state: State[Rows, Fleet], cycle: Cycle, due: BoolArray) -> BoolArray:
        """Which rows look at drafters, ``[B]``, of those that are due, ``[B, D]``."""
        look = np.zeros(due.shape[0], np.bool_)
        for i in np.flatnonzero(due.any(axis=0)).tolist():
            some = np.flatnonzero(due[:, i])
            stakes = _stakes(state, cycle, i, some)
            unread, left = cycle.behind_tokens[some, i], cycle.remaining_tokens[some]
            of_all = _idle_passes(state.shared, cycle)[i]
            left = np.where(of_all >= unread, np.inf, left)  # what is seen serves all others
            unread = np.maximum(unread, of_all)
            look[some] |= state.shared.looks.pay(i, stakes, unread, left, self.upkeep)
        return look

    def _after_looks(
        self, before: State[Rows, Fleet], now: State[Rows, Fleet], outcome: Outcome
    ) -> Looks:
        """What looks have brought, after a cycle in which there may have been some."""
        cycle, looks = outcome.cycle, before.shared.looks
        for i in range(len(cycle.drafters)):
            some = np.flatnonzero(_looked(outcome, i))
            if some.size:
                stakes = _stakes(before, cycle, i, some)
                found = _stakes(now, cycle, i, some).gain
                read = cycle.behind_tokens[some, i]
                looks = looks.after(i, stakes, found, read, self.memory)
        return looks

    def update(self, state: State[Rows, Fleet], outcome: Outcome) -> State[Rows, Fleet]:
        rows, fleet = state
        drafters = len(outcome.cycle.drafters)
        if outcome.runs is None or self.evidence != "text":
            tokens = Tokens.of_draft(
                outcome,
                rows.past.known[:, :drafters],
                whole_is_refused=self.evidence == "lengths",
            )
            past, learned = after(rows.past, fleet.learned, tokens, self.memory)
        else:
            past, learned = after_runs(rows.past, fleet.learned, outcome.runs, self.memory)
        confidence = fleet.confidence
        if self.inside and outcome.signals is not None:
            depths = outcome.signals.top1_probability.shape[1]
            for i in range(drafters if depths else 0):
                chance = chances(rows.past, fleet.learned, i, depths)
                confidence = confidence.after(outcome, i, chance, self.memory)
        timing = fleet.timing.after(outcome)
        emitted, spent = outcome.num_emitted_tokens, timing.cycle_ms(outcome)
        drafts = outcome.drafter[:, None] == _DRAFTERS
        drafted = np.where(drafts, outcome.cycle.emitted_tokens[:, None], rows.drafted)
        fade = _FLEET_PACE**emitted.size
        now = State(
            Rows(
                past,
                drafted,
                _PACE * rows.tokens + emitted,
                _PACE * rows.time_ms + spent,
                _PACE * rows.passes + 1.0,
            ),
            Fleet(
                learned,
                confidence,
                fade * fleet.tokens + emitted.sum(),
                fade * fleet.time_ms + spent.sum(),
                fade * fleet.passes + emitted.size,
                timing,
                fleet.looks,
                _idle_after(fleet.idle_ms, outcome),
                np.array([outcome.runs is None]),
            ),
        )
        looks = self._after_looks(state, now, outcome)
        return State(now.rows, now.shared._replace(looks=looks))

    def compiled_replay(self, drafters: int) -> CompiledReplay | None:
        fast = marginal_kernels()
        if fast is None or drafters > 1 or self.evidence != "text":
            return None
        (past, *_), fleet = self.init(1, 0)
        own = fast.Own(*past.copy(), *np.zeros((2, 1)))
        shared = fast.Shared(
            *(*fleet.learned.weights.copy(), fleet.learned.fleet.copy()),
            *np.zeros((3, 1)),
            *(known[0].copy() for known in fleet.looks),
        )

        def run(order: IntArray, texts: Texts, prices: CyclePrices, counts: CycleCounts) -> None:
            depths = prices.shown_ms.shape[2]
            setting = fast.Setting(
                memory=float(self.memory),
                upkeep=float(self.upkeep),
                first_rate=_FIRST_RATE,
                pace=_PACE,
                fleet_pace=_FLEET_PACE,
                leaning_passes=_LEANING_PASSES,
                streaks=_STREAKS,
                **looks_constants(),
                **history_constants(depths),
            )
            window = window_of(depths - 1)
            fast.replay_marginal(order, texts, prices, counts, shared, own, setting, window)

        return run

    def merge(self, shared: Sequence[Fleet], weights: FloatArray) -> Fleet:
        return Fleet(
            Learned.merged(each(shared, "learned"), weights),
            Confidence.merged(each(shared, "confidence"), weights),
            tokens=sums(each(shared, "tokens"), weights),
            time_ms=sums(each(shared, "time_ms"), weights),
            passes=sums(each(shared, "passes"), weights),
            timing=means(each(shared, "timing"), weights),
            looks=sums(each(shared, "looks"), weights),
            idle_ms=np.minimum.reduce(each(shared, "idle_ms")),
            blind=np.logical_and.reduce(each(shared, "blind")),
        )


def tokens_per_ms(state: State[Rows, Fleet], cycle: Cycle) -> FloatArray:
    """Tokens per priced millisecond, ``[B]``: the sequence's own, leaning on everybody's.

    Passes that were taken at other prices, or by rows with prices of their own, count at this one.
    """
    rows, fleet = state
    price = cycle.pass_price_ms
    plain = cycle.costs.plain_ms + price
    spent = float(fleet.time_ms[0]) + float(fleet.passes[0]) * price
    common = (float(fleet.tokens[0]) + _FIRST_RATE) / (spent + plain)
    lean = _LEANING_PASSES * plain
    rate: FloatArray = (rows.tokens + common * lean) / (rows.time_ms + rows.passes * price + lean)
    return rate


def _idle_passes(fleet: Fleet, cycle: Cycle) -> FloatArray:
    """Time since each drafter last read anything, ``[D]``, in plain passes."""
    return fleet.idle_ms[: len(cycle.drafters)] / cycle.costs.plain_ms


def _idle_after(idle_ms: FloatArray, outcome: Outcome) -> FloatArray:
    """``Fleet.idle_ms`` after a cycle."""
    idle_ms = idle_ms + outcome.cycle_ms.max()
    for i in range(len(outcome.cycle.drafters)):
        if ((outcome.drafter == i) | _looked(outcome, i)).any():
            idle_ms[i] = 0.0
    return idle_ms


def _looked(outcome: Outcome, drafter: int) -> BoolArray:
    """Rows in which a drafter read the text and did not draft, ``[B]``."""
    asked = outcome.decision.catch_up
    if asked is None:
        return np.zeros(outcome.drafter.size, np.bool_)
    behind = outcome.cycle.behind_tokens[:, drafter] > 0
    looked: BoolArray = asked & behind & (outcome.drafter != drafter)
    return looked


def _best(
    past: Past,
    learned: Learned,
    drafter: int,
    rate: FloatArray,
    priced_ms: FloatArray,
    longest: IntArray,
    sure: FloatArray,
    depth: int = 0,
) -> tuple[IntArray, FloatArray, FloatArray]:
    """A drafter's best tau in ``depth..longest``, and what it brings in tokens, ``[B]`` each.

    The third is what stopping at ``depth`` brings. ``sure`` is the chance that the first ``depth``
    tokens, drafted already, are all accepted, ``[B]``; what they bring is left out.
    """
    depths, fast = priced_ms.shape[1], kernels()
    if fast is not None:
        of_drafter = for_kernels(past, learned, drafter, depths)
        tau, *worth = fast.choose(*of_drafter, rate, priced_ms, longest, sure, depth, _STREAKS)
        return tau, *worth
    outlook = Outlook.of(past, learned, drafter, depths)
    gain = _gain(outlook, rate[:, None] * priced_ms, sure, depth)
    gain[np.arange(depth, depths) > longest[:, None]] = -np.inf
    best = gain.argmax(axis=1)
    return depth + best, gain[np.arange(best.size), best], gain[:, 0]


def _stakes(state: State[Rows, Fleet], cycle: Cycle, drafter: int, some: IntArray) -> Stakes:
    """What is at stake with a drafter in some of the rows."""
    whole = some.size == cycle.max_tau.size
    rows = state.rows if whole else take_rows(state.rows, some)
    at = cycle if whole else take_cycle(cycle, some)
    learned, timing = state.shared.learned, state.shared.timing
    rate, certain = tokens_per_ms(State(rows, state.shared), at), np.ones(some.size)
    priced = timing.priced_ms(at, drafter)
    *_, without = _best(rows.past, learned, drafter, rate, priced, 0 * at.max_tau, certain)
    first = chances(rows.past, learned, drafter, 1)[:, 0]
    _, beyond, _ = _best(rows.past, learned, drafter, rate, priced, at.max_tau, first, 1)
    for i in range(len(at.drafters)):
        if i != drafter:
            longest = np.where(at.available[:, i], at.max_tau, 0)
            other = timing.priced_ms(at, i)
            _, worth, _ = _best(rows.past, learned, i, rate, other, longest, certain)
            without = np.maximum(without, worth)
    plain, step = rate * priced[:, 0], rate * (priced[:, 1] - priced[:, 0])
    return Stakes(first + beyond - without, step, plain)


def _gain(outlook: Outlook, price: FloatArray, sure: FloatArray, depth: int) -> FloatArray:
    """What every tau from ``depth`` on brings in tokens, its time's worth taken off.

    Args:
      outlook: of a draft of up to ``K + 1`` tokens.
      price: ``[B, K + 1]`` the time's worth of each tau, in tokens.
      sure: ``[B]`` chance that the first ``depth`` tokens are all accepted.
      depth: tokens drafted already; what they bring is left out.

    Returns:
      ``[B, K + 1 - depth]``.
    """
    survival = sure[:, None] * outlook.accepted()[:, depth:].cumprod(axis=1)
    gain = -price[:, depth:]
    gain[:, 1:] += survival[:, :-1].cumsum(axis=1)
    streak = outlook.streak[:, None] + np.arange(depth, price.shape[1]) + 1
    gain += survival * _after_streak(_values(outlook, price), streak)
    return gain


def _values(outlook: Outlook, price: FloatArray) -> FloatArray:
    """What the best tau brings after a streak of 0, 1, ... tokens, ``[B, _STREAKS]``."""
    run = outlook.accepted_after(_STREAKS)[:, :, : price.shape[1] - 1].cumprod(axis=2)
    drafting = (run.cumsum(axis=2) - price[:, None, 1:]).max(axis=2, initial=-np.inf)
    value: FloatArray = np.maximum(drafting, -price[:, :1])
    return value


def _after_streak(value: FloatArray, streak: IntArray) -> FloatArray:
    """How much more is brought after these streaks, ``[B, n]``, than after a refusal."""
    row = np.arange(value.shape[0])[:, None]
    more: FloatArray = value[row, np.minimum(streak, _STREAKS - 1)] - value[:, :1]
    return more
