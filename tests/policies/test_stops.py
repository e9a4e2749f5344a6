"""Rules that stop inside the draft, among the experts of the portfolio."""

from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, make_policy
from adaptive_spec.policies._stops import Stops, cut, ended_by, gained, tells
from adaptive_spec.policies._timing import Timing
from adaptive_spec.policies.portfolio import Portfolio
from adaptive_spec.policy import DraftSignals, Outcome, State
from adaptive_spec.simulations import replay
from adaptive_spec.state import leaves
from adaptive_spec.traces import (
    SequenceTrace,
    SignalTrace,
    TraceInfo,
    TraceSet,
    run_lengths_of,
)

COSTS = ConstantCosts(draft=0.125)
DEPTH = 10
LOW, HIGH = 0.1, 2.0
"""Entropies on either side of where svip (0.6) stops."""


def said(**columns: Any) -> DraftSignals:
    """Signals of drafts, ``[B, K]`` each; those that are not given are NaN."""
    shape = np.shape(next(iter(columns.values())))
    every = (np.asarray(columns.get(name, np.full(shape, np.nan))) for name in DraftSignals._fields)
    return DraftSignals(*every)


def outcome_of(drafted: list[int], accepted: list[int], signals: DraftSignals, k: int) -> Outcome:
    """A cycle of a rule that drafts up to ``k`` tokens."""
    controller = Controller(make_policy("svip"), costs=COSTS, max_draft_tokens=k)
    many = np.full(len(drafted), 50)
    plan = controller.decide(controller.admit(many, many))
    d, a = np.array(drafted), np.array(accepted)
    times = 0.125 * d, np.ones(d.size)
    who = np.where(d > 0, 0, -1)
    return Outcome(plan.cycle, plan.decision, plan.tau, who, d, a, a + 1, *times, signals)


def test_where_a_rule_would_have_ended_drafts() -> None:
    # Stops at the second token; at none of three; beyond what was drafted; nothing was drafted.
    entropy = np.array([[LOW, HIGH, LOW], [LOW, LOW, LOW], [LOW, HIGH, HIGH], [HIGH, LOW, LOW]])
    drafted = [3, 3, 1, 0]
    entropy[np.arange(3) >= np.array(drafted)[:, None]] = np.nan
    svip = make_policy("svip:tau=5")
    outcome = outcome_of(drafted, [3, 2, 1, 0], said(entropy=entropy), 4)
    ended = ended_by(svip, svip.init(4, 0), outcome)
    assert ended.drafted.tolist() == [2, 3, 1, 0]
    assert ended.stopped.tolist() == [True, False, False, False]
    short = make_policy("svip:tau=1")
    assert ended_by(short, short.init(4, 0), outcome).drafted.tolist() == [1, 1, 1, 0]
    # A hard budget's least tau holds for it as for the driver.
    bound = outcome._replace(cycle=outcome.cycle._replace(min_tau=np.full(4, 3)))
    assert ended_by(svip, svip.init(4, 0), bound).drafted.tolist() == [3, 3, 1, 0]


def test_what_the_rule_is_told_and_what_it_gains() -> None:
    entropy = np.array([[LOW, HIGH, LOW], [LOW, HIGH, LOW], [LOW, LOW, LOW]])
    svip = make_policy("svip")
    # All three accepted; one accepted; all three accepted, and the sequence ended with them.
    outcome = outcome_of([3, 3, 3], [3, 1, 3], said(entropy=entropy), 4)
    outcome = outcome._replace(num_emitted_tokens=np.array([4, 2, 3]))
    ended = ended_by(svip, svip.init(3, 0), outcome)
    told = cut(outcome, ended)
    assert told.num_draft_tokens.tolist() == [2, 2, 3]
    assert told.num_accepted_tokens.tolist() == [2, 1, 3]
    assert told.num_emitted_tokens.tolist() == [3, 2, 3]
    assert told.tau.tolist() == [4, 4, 3], "where nothing of its own ended it: what was drafted"
    assert told.draft_ms.tolist() == [0.25, 0.25, 0.375]
    assert told.signals is not None
    assert np.isnan(told.signals.entropy).tolist() == [[False] * 2 + [True]] * 2 + [[False] * 3]
    # A draft step saved, an eighth of a pass: worth a quarter of a token; and a token lost.
    gain = gained(outcome, ended.drafted, Timing.fresh(), np.full(3, 2.0))
    np.testing.assert_allclose(gain, [-0.75, 0.25, 0.0])


def test_drafts_that_tell_nothing() -> None:
    sure = np.full((2, 3), 0.5)
    assert tells(outcome_of([1, 2], [0, 0], said(top1_probability=sure), 4))
    assert not tells(outcome_of([1, 1], [0, 0], said(top1_probability=sure), 4))
    assert not tells(outcome_of([3, 3], [0, 0], said(match_length=sure), 4))
    assert not tells(outcome_of([3, 3], [0, 0], said(entropy=sure), 4)._replace(signals=None))


def test_who_looks_when() -> None:
    stops, looked = Stops.fresh(3), []
    for _ in range(10):
        due, stops = stops.due(None), stops.later(1.0)
        looked.append(stops.next if due else None)
        if due:
            stops = stops.after(stops.next, np.array([-1.0]))
    assert looked == [None, 0, None, 1, None, 2, None, 0, None, 1], "while none leads"
    stops, looked = Stops.fresh(3).after(2, np.array([1.0])), []
    for _ in range(8):
        assert stops.due(None)
        looked.append(stops.next)
        stops = stops.later(1.0).after(stops.next, np.zeros(1))
    assert looked == [2, 1, 2, 2, 2, 0, 2, 1], "in turn, and who leads in between"
    waits = [stops.due(2)]
    for _ in range(8):
        stops = stops.later(1.0)
        waits.append(stops.due(2))
    assert waits == [False] * 7 + [True, True], "one in eight, and then until there is a draft"


def test_rows_are_as_many_cycles() -> None:
    gain = np.array([1.0, -0.5, 2.0])
    together, apart = Stops.fresh(1).after(0, gain), Stops.fresh(1)
    for one in gain:
        apart = apart.after(0, np.array([one]))
    assert together.lead.tolist() == apart.lead.tolist() == [2.5]
    assert together.spread.tolist() == apart.spread.tolist() == [5.25]


def test_a_rule_that_does_worse_alone_ends_the_drafts_of_others_until_that_has_faded() -> None:
    stops = Stops.fresh(2).after(1, np.zeros(1))
    assert stops.drives_alone(1, 3.0)
    for _ in range(20):
        stops = stops.after_alone(1, np.array([-2.0]))
    assert not stops.drives_alone(1, 3.0)
    assert stops.drives_alone(0, 3.0)
    assert stops.later(0.01).drives_alone(1, 3.0)


def telling(informative: bool, count: int = 3, tokens: int = 400) -> TraceSet:
    """Drafts whose tokens are right three times in four, and say so in one way or another.

    Where entropy is ``informative``, it is low for nine right tokens in ten and high for as many
    wrong ones, while the probability is lowest or highest of all for wrong ones, so that no slope
    tells them apart. Otherwise the probability tells, and the entropy is chance.
    """
    rng, found = np.random.default_rng(0), []
    for i in range(count):
        right = np.append(rng.random(tokens) < 0.75, False)
        seems_right = np.where(rng.random(right.size) < 0.9, right, ~right)
        at_either_end = np.where(rng.random(right.size) < 0.5, 0.99, 0.05)
        if informative:
            entropy, sure = np.where(seems_right, LOW, HIGH), np.where(right, 0.6, at_either_end)
        else:
            entropy = np.where(rng.random(right.size) < 0.75, LOW, HIGH)
            sure = np.where(seems_right, 0.9, 0.3)
        drawn = {"top1_probability": sure, "entropy": entropy, "margin": np.ones(right.size)}
        after = {"top1_probability": 0.5, "entropy": HIGH, "margin": 1.0}
        signals = {
            name: SignalTrace(first, np.where(right, np.nan, after[name])[:, None].repeat(DEPTH, 1))
            for name, first in drawn.items()
        }
        none = np.full(right.size, np.nan)
        signals["match_length"] = SignalTrace(none, none[:, None].repeat(DEPTH, 1))
        runs = run_lengths_of(right[:-1])
        found.append(
            SequenceTrace(str(i), "", 10, runs, np.ones(tokens, np.bool_), signals=signals)
        )
    return TraceSet(TraceInfo("verifier", "drafter", "token"), tuple(found))


class Watched(Portfolio):
    """Keeps who was followed, and its last state."""

    def update(self, state: State[Any, Any], outcome: Outcome) -> State[Any, Any]:
        after = super().update(state, outcome)
        said = self.explain(after)
        self.__dict__.setdefault("ends", []).append(said.ends)
        self.__dict__.setdefault("follows", set()).add(said.follows)
        self.__dict__["last"] = after
        return after


def test_it_follows_a_rule_that_does_much_better() -> None:
    trace, policy = telling(informative=True), Watched()
    ours = replay(policy, trace, costs=COSTS).time_ms
    marginal, svip = (replay(spec, trace, costs=COSTS).time_ms for spec in ("marginal", "svip"))
    ends = policy.__dict__["ends"]
    assert ends[0] is None
    assert ends[-1] == "svip"
    assert ends.index("svip") < 150
    assert policy.__dict__["follows"] == {"marginal"}
    # Of what there is to be gained it has most in the end: all but one draft in eight, or so.
    assert svip[-1] < 0.9 * marginal[-1]
    assert ours[-1] < marginal[-1] - 0.6 * (marginal[-1] - svip[-1])
    assert ours.sum() < 0.95 * marginal.sum()


def test_where_no_rule_is_better_it_is_marginal() -> None:
    trace, policy = telling(informative=False, count=2), Watched()
    ours = replay(policy, trace, costs=COSTS, log_cycles=True).log
    marginal = replay("marginal", trace, costs=COSTS, log_cycles=True).log
    assert ours is not None
    assert marginal is not None
    for mine, other in zip(ours, marginal, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert set(policy.__dict__["ends"]) == {None}
    said = policy.explain(policy.__dict__["last"])
    assert said.leads["svip"][0] < -said.leads["svip"][1] < 0.0


def test_drafters_that_say_nothing_cost_nothing() -> None:
    trace = telling(informative=True, count=1, tokens=200)
    bare = TraceSet(
        trace.info, tuple(SequenceTrace(s.id, "", 10, s.run_lengths, s.proposes) for s in trace)
    )
    policy = Watched()
    replay(policy, bare, costs=COSTS)
    fresh = policy.init(1, 0).shared.stops
    for (name, now), (_, then) in zip(
        leaves(policy.__dict__["last"].shared.stops), leaves(fresh), strict=True
    ):
        np.testing.assert_array_equal(now, then, err_msg=name)


def leading(policy: Portfolio, spec: str, *, cycles: int, alone: float = 0.0) -> State[Any, Any]:
    """A state in which a rule leads clearly, so many cycles after it was looked at."""
    rows, shared = policy.init(1, 0)
    at = policy.names.index(spec) - policy.names.index("marginal:inside=false")
    stops = shared.stops
    lead, apart = np.zeros((2, stops.lead.size))
    lead[at], apart[at] = 30.0, alone
    turn = np.array([9, cycles])
    return State(rows, shared._replace(stops=stops._replace(lead=lead, alone=apart, turn=turn)))


@pytest.mark.parametrize("spec", ["svip", "tapout"])
def test_a_rule_that_is_followed_decides(spec: str) -> None:
    policy = Portfolio(experts=(spec,))
    controller = Controller(policy, costs=COSTS, max_draft_tokens=30)
    cycle = controller.decide(controller.admit(np.array([10]), np.array([100]))).cycle
    calm = said(top1_probability=[[0.9]], entropy=[[LOW]], margin=[[2.0]])
    uneasy = said(top1_probability=[[0.2]], entropy=[[HIGH]], margin=[[0.1]])

    def goes_on(state: State[Any, Any], signals: DraftSignals) -> bool:
        decision = policy.decide(state, cycle)
        return bool(policy.keep_drafting(state, cycle, decision, 1, signals)[0])

    alone = leading(policy, spec, cycles=0)
    assert policy.explain(alone).ends == spec
    assert policy.explain(alone).follows == "marginal"
    assert policy.decide(alone, cycle).tau.tolist() == [30]
    assert [goes_on(alone, calm), goes_on(alone, uneasy)] == [True, False]
    # One draft in eight is left to marginal, which knows nothing yet and drafts by history.
    left = leading(policy, spec, cycles=7)
    by_marginal = policy.decide(policy.init(1, 0), cycle).tau.tolist()
    assert policy.decide(left, cycle).tau.tolist() == by_marginal
    assert goes_on(left, uneasy) == goes_on(policy.init(1, 0), uneasy)
    # Where it does worse alone, either may end the draft.
    both = leading(policy, spec, cycles=0, alone=-9.0)
    assert policy.decide(both, cycle).tau.tolist() == by_marginal
    assert not goes_on(both, uneasy)


def test_history_may_end_what_the_drafters_word_would_not() -> None:
    policy = Portfolio()
    controller = Controller(policy, costs=COSTS, max_draft_tokens=30)
    cycle = controller.decide(controller.admit(np.array([10]), np.array([100]))).cycle
    state = leading(policy, "marginal:inside=false", cycles=0)
    assert policy.explain(state).ends == "marginal:inside=false"
    confident = state.shared.first.confidence
    first = state.shared.first._replace(
        confidence=confident._replace(speaks=np.ones_like(confident.speaks))
    )
    speaking = State(state.rows, state.shared._replace(first=first))
    nobody = State(
        state.rows, speaking.shared._replace(stops=Stops.fresh(state.shared.stops.lead.size))
    )
    assert policy.decide(nobody, cycle).tau.tolist() == [30]
    blind = make_policy("marginal:inside=false")
    by_history = blind.decide(blind.init(1, 0), cycle).tau.tolist()
    assert policy.decide(speaking, cycle).tau.tolist() == by_history
    assert by_history[0] < 30
