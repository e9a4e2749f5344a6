"""Follows the first of its experts, until another has done significantly better on the same text.

Each expert is replayed in the shadow (``_shadows``) on the text as it grows. Over every stretch,
what an expert gains beyond the first is counted in tokens, the worth of its time taken off, and
summed with a discount::

    lead <- d lead + g,   spread <- d^2 spread + g^2
    follow argmax of (lead - confidence * sqrt(spread)) where that is above 0, else the first expert

Following the leader as such (Hedge: Freund and Schapire 1997, with full information) has small
regret against the best of many, but pays for chasing chance: with a first expert that learns as
fast as ``marginal`` does, it loses more to noise than it wins. Asked for significance, it is
insurance: it costs nothing while the first expert does well, and where that is wrong about a
drafter (a hazard that its regression cannot express), what it loses is bounded by what significance
takes.

Rules that stop inside the draft can't be replayed on text that was not drafted. They are judged by
the drafts that there are, of which it is known where they would have ended them (``_stops``). One
that has gained significantly by that drives, but for a draft in eight: alone, or, where that turns
out worse, by ending the drafts of whoever is followed. Among them is ``marginal`` with ``inside``
off, which ends drafts where history alone would: insurance against what it makes of the drafter's
word.

Experts: ``marginal``, static tau = 0 ... 10, and further policies by spec, by default some that
have their rule published. Signals: history, costs and, where there are any, what those rules look
at. Weakness: a rule that would do better only by drafting longer never gets to show it, for it is
tried where it ends drafts sooner; static tau stands in for it. Under rejection sampling nothing is
known of other drafts, and the first expert is followed.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._merging import each, sums
from adaptive_spec.policies._shadows import fared, replay_one, replay_static
from adaptive_spec.policies._stops import (
    NO_RULE,
    Stops,
    cut,
    ended_by,
    foremost,
    gained,
    tells,
)
from adaptive_spec.policies._timing import Timing
from adaptive_spec.policies.marginal import Marginal, tokens_per_ms
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Empty, Outcome, Policy, State
from adaptive_spec.registry import make_policy, policy_spec

_STATIC = 11
"""Static draft lengths among the experts: 0 to 10."""

_FIRST = -1

_EVERY = 8
"""One in so many cycles replays one of the further policies."""

_PUBLISHED = (
    *("heuristic", "gammatune", "sglang-tiers", "ewma"),
    *("svip", "draft-verify", "specdec-pp"),
)

_BY_HISTORY = "marginal:inside=false"
"""The first of the rules that end drafts: it needs no state, as the first expert tells it."""


class Rows(NamedTuple):
    """What is kept of one sequence.

    Attributes:
      first: rows of the first expert.
      others: of the further policies, by number.
      position: ``[B, E]`` output position where each of the ``E`` shadows has got to: static tau,
        then the further policies that are replayed.
    """

    first: Any
    others: Any
    position: IntArray


class Shared(NamedTuple):
    """What all sequences share.

    Attributes:
      first, others: as above.
      lead, spread: ``[E]`` discounted, in tokens and their squares.
      gained: ``[2]`` discounted gain of the first expert, and the tokens that it is of.
      turn: ``[1]`` which of the further policies is replayed next, times ``_EVERY``, and cycles
        since the last was.
      stops: what ending drafts by rules that look inside them has been worth.
    """

    first: Any
    others: Any
    lead: FloatArray
    spread: FloatArray
    gained: FloatArray
    turn: IntArray
    stops: Stops


class Own(NamedTuple):
    """What the rule decided that may end the draft: its tau ``[B]``, and its memo."""

    tau: IntArray
    memo: Any


class Memo(NamedTuple):
    """What a decision was.

    Attributes:
      leader: ``[B]`` whose it was: number of the expert beside the first, ``_FIRST`` for that one;
        the same in all rows.
      first: memo of the first expert's own.
      rule: ``[B]`` number of the rule that may end the draft, or ``NO_RULE``; the same in all rows.
      alone: ``[B]`` whether nobody else may.
      own: what that rule decided; empty for none.
    """

    leader: IntArray
    first: Any
    rule: IntArray
    alone: BoolArray
    own: Own | Empty


class Explanation(NamedTuple):
    """Why a portfolio decides as it does.

    Attributes:
      follows: spec of the expert that is followed.
      ends: spec of the rule that stops inside the draft in its place, or beside it; None for none.
      leads: by spec, tokens by which each of the others leads the first expert (discounted), and
        the standard deviation of that. Of a rule that ends drafts, tokens that it would have gained
        on the drafts it was judged by.
    """

    follows: str
    ends: str | None
    leads: dict[str, tuple[float, float]]


@functools.cache
def _each(experts: int) -> Any:
    """A NamedTuple with a field for each of the further policies."""
    return NamedTuple("Each", [(f"expert_{i}", Any) for i in range(experts)])


@dataclass(frozen=True)
class Portfolio(Policy[Rows, Shared]):
    """Replays many policies in the shadow; leaves the first only for one significantly better.

    Attributes:
      experts: specs of policies beside ``marginal`` and static tau = 0 ... 10, with one field each
        at most where they are given as text (``portfolio:experts=hazard/fixed:tau=12``).
      confidence: standard deviations by which another must lead, in [0, 100].
      memory: tokens over which leads are counted, in 1..1e9.
    """

    experts: tuple[str, ...] = _PUBLISHED
    confidence: float = 3.0
    memory: float = 5_000.0

    learns = "across sequences"
    heeds_prices = True
    looks_back = True
    needs_signals = False

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 100:
            raise PolicySpecError(
                f"portfolio: confidence = {self.confidence}; it must be in 0..100"
            )
        if not 1 <= self.memory <= 1e9:
            raise PolicySpecError(f"portfolio: memory = {self.memory}; it must be in 1..1e9")
        if len(set(self.names)) < len(self.names):
            raise PolicySpecError(
                f"portfolio: experts = {'/'.join(self.experts)}; each may be named once; "
                f"marginal and fixed:tau=0 to fixed:tau={_STATIC - 1} are among them anyway"
            )
        for policy in self._others:
            if policy.looks_back or policy.takes_hints:
                raise PolicySpecError(
                    f"portfolio: experts: {policy_spec(policy)} learns from more than its own "
                    "drafts, which a replay in the shadow can't give it; leave it out"
                )

    @functools.cached_property
    def _first(self) -> Marginal:
        return Marginal()

    @functools.cached_property
    def _others(self) -> tuple[Policy[Any, Any], ...]:
        """The further policies: those that are replayed, then those that look inside drafts."""
        return tuple(make_policy(spec) for spec in (*self._shadows, *self._rules[1:]))

    @functools.cached_property
    def _shadows(self) -> tuple[str, ...]:
        """Specs of the further policies that are replayed."""
        return tuple(spec for spec in self.experts if not make_policy(spec).looks_inside_draft)

    @functools.cached_property
    def _rules(self) -> tuple[str, ...]:
        """Specs of the rules that end drafts."""
        return (_BY_HISTORY, *(spec for spec in self.experts if spec not in self._shadows))

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Specs of all experts, the first one coming first."""
        static = (f"fixed:tau={tau}" for tau in range(_STATIC))
        return (policy_spec(self._first), *static, *self._shadows, *self._rules)

    def init(self, num_sequences: int, seed: int) -> State[Rows, Shared]:
        first = self._first.init(num_sequences, seed)
        others = [policy.init(num_sequences, seed) for policy in self._others]
        shadows, each = _STATIC + len(self._shadows), _each(len(others))
        return State(
            Rows(
                first.rows,
                each(*(state.rows for state in others)),
                np.zeros((num_sequences, shadows), np.int64),
            ),
            Shared(
                first.shared,
                each(*(state.shared for state in others)),
                np.zeros(shadows),
                np.zeros(shadows),
                np.zeros(2),
                np.zeros(1, np.int64),
                Stops.fresh(len(self._rules)),
            ),
        )

    def decide(self, state: State[Rows, Shared], cycle: Cycle) -> Decision:
        first = self._first.decide(State(state.rows.first, state.shared.first), cycle)
        leader = self._leader(state.shared)
        tau, drafter = first.tau, first.drafter
        if leader is not None:
            drafter = None
            if leader < _STATIC:
                tau = cycle.clip(np.full_like(tau, leader))
            else:
                tau = self._others[leader - _STATIC].decide(_of(state, leader - _STATIC), cycle).tau
        stops, rule = state.shared.stops, self._rule(state.shared)
        own: Own | Empty = Empty()
        alone = False
        if rule is not None and stops.due(rule):
            rule = None  # this draft is the driver's
        if rule is not None:
            own = self._own(state, cycle, rule, first.memo)
            # How another than the first would have ended a rule's drafts is not looked at.
            alone = leader is None and stops.drives_alone(rule, self.confidence)
            tau = own.tau if alone else np.minimum(tau, own.tau)
        memo = Memo(
            np.full(tau.size, _FIRST if leader is None else leader),
            first.memo,
            np.full(tau.size, NO_RULE if rule is None else rule),
            np.full(tau.size, alone),
            own,
        )
        return Decision(tau, memo, drafter, first.catch_up)

    def _own(self, state: State[Rows, Shared], cycle: Cycle, rule: int, first: Any) -> Own:
        """What a rule that ends drafts decides; ``first``: memo of the first expert's own."""
        if rule == 0:
            return Own(cycle.clip(first.tau), Empty())
        i = self._number_of(rule)
        tau, memo, *_ = self._others[i].decide(_of(state, i), cycle)
        return Own(tau, Empty() if memo is None else memo)

    @property
    def looks_inside_draft(self) -> bool:
        return self._first.looks_inside_draft

    def keep_drafting(
        self,
        state: State[Rows, Shared],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        memo = decision.memo
        on = np.ones(memo.leader.size, np.bool_)
        rule = int(memo.rule[0])
        if memo.leader[0] == _FIRST and not memo.alone[0]:
            first = State(state.rows.first, state.shared.first)
            own = decision._replace(memo=memo.first)
            on = self._first.keep_drafting(first, cycle, own, depth, signals)
        if rule > 0:
            i = self._number_of(rule)
            own = Decision(memo.own.tau, memo.own.memo or None)
            on &= self._others[i].keep_drafting(_of(state, i), cycle, own, depth, signals)
        return on

    def update(self, state: State[Rows, Shared], outcome: Outcome) -> State[Rows, Shared]:
        rows, shared = state
        first = self._first.update(State(rows.first, shared.first), outcome)
        if outcome.runs is None:
            return State(rows._replace(first=first.rows), shared._replace(first=first.shared))
        cycle, runs = outcome.cycle, outcome.runs
        rate, timing = tokens_per_ms(first, cycle), first.shared.timing
        priced = timing.priced_ms(cycle)
        position, gain = replay_static(runs, rows.position, _STATIC, priced, rate)
        of_first = _gain_of_first(outcome, timing, rate).sum()
        emitted = outcome.num_emitted_tokens.sum()
        faded = math.exp(-emitted / self.memory)
        gained = faded * shared.gained + np.array([of_first, emitted])
        # Static tau went over the same text as the driver; the others did at other times.
        ahead = gain.sum(axis=0) - of_first
        ahead[_STATIC:] = 0.0
        others = State(rows.others, shared.others)
        turn, late = divmod(int(shared.turn[0]), _EVERY)
        if self._shadows and not late:
            expert = _STATIC + turn
            begun = position[:, expert].copy()
            own, position[:, expert], gain[:, expert] = replay_one(
                self._others[turn], _of(state, turn), runs, begun, cycle, rate
            )
            others = _with(others, turn, own)
            moved = (position[:, expert] - begun).sum()
            ahead[expert] = gain[:, expert].sum() - moved * gained[0] / gained[1]
        stops, others = self._judged(state, others, outcome, timing, rate, faded)
        return State(
            Rows(first.rows, others.rows, position),
            Shared(
                first.shared,
                others.shared,
                lead=faded * shared.lead + ahead,
                spread=faded**2 * shared.spread + ahead**2,
                gained=gained,
                turn=self._next(shared, int(outcome.decision.memo.leader[0])),
                stops=stops,
            ),
        )

    def _judged(
        self,
        state: State[Rows, Shared],
        others: State[Any, Any],
        outcome: Outcome,
        timing: Timing,
        rate: FloatArray,
        faded: float,
    ) -> tuple[Stops, State[Any, Any]]:
        """After a cycle: what is known of rules that end drafts, and the further states."""
        before, memo = state.shared.stops, outcome.decision.memo
        if before.turn[0] == 0 and not tells(outcome):
            return before, others
        stops, rule = before.later(faded), self._rule(state.shared)
        if memo.alone[0]:
            if before.looks_alone and outcome.signals is not None:
                first = State(state.rows.first, state.shared.first)
                drafted = ended_by(self._first, first, outcome).drafted
                more = -gained(outcome, drafted, timing, rate)
                stops = stops.after_alone(int(memo.rule[0]), more)
            return stops, others
        if not (before.due(rule) and tells(outcome) and memo.rule[0] == NO_RULE):
            return stops, others
        rule = before.next if rule is None else rule
        if rule == 0:
            least = np.maximum(memo.first.tau, outcome.cycle.min_tau)
            drafted = np.minimum(outcome.num_draft_tokens, least)
        else:
            i = self._number_of(rule)
            policy, own = self._others[i], _of(state, i)
            ended = ended_by(policy, own, outcome)
            others = _with(others, i, policy.update(own, cut(outcome, ended)))
            drafted = ended.drafted
        return stops.after(rule, gained(outcome, drafted, timing, rate)), others

    def merge(self, shared: Sequence[Shared], weights: FloatArray) -> Shared:
        others = (
            policy.merge([replica.others[i] for replica in shared], weights)
            for i, policy in enumerate(self._others)
        )
        return Shared(
            self._first.merge(each(shared, "first"), weights),
            type(shared[0].others)(*others),
            lead=sums(each(shared, "lead"), weights),
            spread=sums(each(shared, "spread"), weights),
            gained=sums(each(shared, "gained"), weights),
            turn=shared[0].turn,
            stops=sums(each(shared, "stops"), weights)._replace(turn=shared[0].stops.turn),
        )

    def explain(self, state: State[Rows, Shared]) -> Explanation:
        """Who is followed, and how the others stand."""
        shared, stops = state.shared, state.shared.stops
        leader, rule = self._leader(shared), self._rule(shared)
        leads = np.concatenate([shared.lead, stops.lead])
        deviations = np.sqrt(np.concatenate([shared.spread, stops.spread]))
        figures = zip(leads.tolist(), deviations.tolist(), strict=True)
        return Explanation(
            self.names[0 if leader is None else 1 + leader],
            None if rule is None else self._rules[rule],
            dict(zip(self.names[1:], figures, strict=True)),
        )

    def _leader(self, shared: Shared) -> int | None:
        """The expert that leads the first one significantly; None for the first one itself."""
        return foremost(shared.lead, shared.spread, self.confidence)

    def _rule(self, shared: Shared) -> int | None:
        """The rule that has gained significantly by ending drafts; None for none."""
        stops = shared.stops
        if stops.turn[0] == 0:
            return None
        return foremost(stops.lead, stops.spread, self.confidence)

    def _number_of(self, rule: int) -> int:
        """Number among the further policies of a rule that looks inside the draft."""
        return len(self._shadows) + rule - 1

    def _next(self, shared: Shared, leader: int) -> IntArray:
        """Whose turn it is; who is followed, is replayed at every one."""
        if leader >= _STATIC:
            return np.array([(leader - _STATIC) * _EVERY])
        turns = max(len(self._shadows), 1) * _EVERY
        return np.array([(int(shared.turn[0]) + 1) % turns])


def _gain_of_first(outcome: Outcome, timing: Timing, rate: FloatArray) -> FloatArray:
    """What the first expert gained over the text of this cycle, ``[B]``.

    Where another was followed it is taken at its word by history, and by the token: it would have
    come further, or less far.
    """
    emitted = outcome.num_emitted_tokens
    memo = outcome.decision.memo
    if memo.leader[0] == _FIRST:
        gained: FloatArray = emitted - rate * timing.spent_ms(outcome)
        return gained
    assert outcome.runs is not None
    tau = memo.first.tau
    drafted, accepted, _, _ = fared(outcome.runs, outcome.cycle.emitted_tokens, tau)
    priced = timing.priced_ms(outcome.cycle)
    spent = priced[np.arange(tau.size) if priced.shape[0] > 1 else 0, drafted]
    elsewhere: FloatArray = (1.0 - rate * spent / (accepted + 1)) * emitted
    return elsewhere


def _of(state: State[Rows, Shared], expert: int) -> State[Any, Any]:
    """The state of one of the further policies."""
    return State(state.rows.others[expert], state.shared.others[expert])


def _with(others: State[Any, Any], expert: int, new: State[Any, Any]) -> State[Any, Any]:
    """The states of the further policies, that of one of them replaced."""
    field = f"expert_{expert}"
    return State(
        others.rows._replace(**{field: new.rows}), others.shared._replace(**{field: new.shared})
    )
