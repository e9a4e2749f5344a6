"""When the portfolio leaves marginal and when it doesn't, and what it says of it."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, PolicySpecError, make_policy
from adaptive_spec._arrays import IntArray
from adaptive_spec.policies.auto import Auto
from adaptive_spec.policies.marginal import Marginal
from adaptive_spec.policies.portfolio import Portfolio, Shared
from adaptive_spec.policy import DraftSignals, Outcome, State
from adaptive_spec.registry import policy_spec
from adaptive_spec.simulations import replay
from adaptive_spec.traces import Hazards, SequenceTrace, TraceInfo, TraceSet
from adaptive_spec.traces.synthetic import synthetic_trace

COSTS = ConstantCosts(draft=0.125)


class Watched(Portfolio):
    """Keeps its last state, and who it followed when."""

    states: list[State[Any, Any]]

    def update(self, state: State[Any, Any], outcome: Outcome) -> State[Any, Any]:
        after = super().update(state, outcome)
        self.__dict__.setdefault("states", []).append(after)
        return after

    @property
    def followed(self) -> list[str]:
        """Specs of who was followed after each cycle."""
        return [self.explain(state).follows for state in self.states]


def blocks(run_lengths: IntArray, count: int = 2) -> TraceSet:
    """A trace of sequences that all have these run lengths."""
    left = run_lengths.size - np.arange(run_lengths.size)
    runs, there = np.minimum(run_lengths, left), np.ones(left.size, np.bool_)
    sequences = (SequenceTrace(str(i), "", 10, runs, there) for i in range(count))
    return TraceSet(TraceInfo("verifier", "drafter", "block"), tuple(sequences))


LOCKED = blocks(np.where(np.arange(400) % 8 == 0, 7, 0))
"""Drafts are right from every eighth position on, and nowhere else.

Static tau = 7 falls into step with it. To a rule that goes by how often drafts were right along the
text, one in eight is hardly worth a try.
"""


def test_it_leaves_marginal_for_one_that_does_much_better() -> None:
    policy = Watched()
    mixed = replay(policy, LOCKED, costs=COSTS).time_ms.sum()
    assert policy.followed[0] == "marginal"
    assert policy.followed[-1] == "fixed:tau=7"
    assert policy.followed.index("fixed:tau=7") < 80
    assert mixed < 0.5 * replay("marginal", LOCKED, costs=COSTS).time_ms.sum()
    assert mixed < 1.4 * replay("fixed:tau=7", LOCKED, costs=COSTS).time_ms.sum()


def test_asked_for_more_significance_it_stays_longer() -> None:
    first = []
    for confidence in (1.0, 3.0, 9.0):
        policy = Watched(confidence=confidence)
        replay(policy, LOCKED, costs=COSTS)
        left = [i for i, spec in enumerate(policy.followed) if spec != "marginal"]
        first.append(left[0] if left else len(policy.followed))
    assert first == sorted(first)
    assert first[0] < first[1] < first[2]


def test_it_can_follow_an_expert_that_a_user_names() -> None:
    # Drafts are right for 12 tokens at every thirteenth position. Shorter ones fall out of step,
    # and pay for drafts that are refused: tau = 10 emits 13 tokens in three cycles of 4.75 passes.
    trace = blocks(np.where(np.arange(780) % 13 == 0, 12, 0))
    policy = Watched(experts=("fixed:tau=12",))
    replay(policy, trace, costs=ConstantCosts(draft=0.375), max_draft_tokens=12)
    assert policy.followed[-1] == "fixed:tau=12"


ORDINARY = {
    "steady": {"hazard": 0.3},
    "often wrong": {"hazard": 0.6},
    "bursty": {"hazard": 0.1, "burst": 0.8},
    "by depth": {"hazards": (0.2, 0.5)},
}


def ordinary(kind: str, seed: int) -> TraceSet:
    hazards: Any = ORDINARY[kind]
    return synthetic_trace(Hazards(**hazards, seed=seed), num_sequences=3, num_tokens=300)


@pytest.mark.parametrize("kind", ORDINARY)
def test_it_does_not_leave_marginal_by_chance(kind: str) -> None:
    policy = Watched()
    replay(policy, ordinary(kind, 0), costs=COSTS)
    assert set(policy.followed) == {"marginal"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "most"), [(kind, 0 if kind != "by depth" else 5) for kind in ORDINARY]
)
def test_false_alarms_are_rare_and_cheap(kind: str, most: int) -> None:
    # Of 20 traces each: none, but 4 where hazards differ by depth, as marginal has to learn.
    left = 0
    for seed in range(20):
        policy, trace = Watched(), ordinary(kind, seed)
        mixed = replay(policy, trace, costs=COSTS).time_ms.sum()
        if set(policy.followed) != {"marginal"}:
            left += 1
            assert mixed < 1.01 * replay("marginal", trace, costs=COSTS).time_ms.sum()
    assert left <= most


def test_while_it_follows_marginal_it_is_marginal() -> None:
    trace = synthetic_trace(Hazards(0.1, burst=0.8), num_sequences=3, num_tokens=300)
    mixed = replay("portfolio", trace, costs=COSTS)
    np.testing.assert_array_equal(mixed.time_ms, replay("marginal", trace, costs=COSTS).time_ms)


def shared_with(policy: Portfolio, **figures: list[float]) -> State[Any, Shared]:
    """A state in which these experts lead by so much, with that standard deviation."""
    rows, shared = policy.init(1, 0)
    lead, spread = shared.lead.copy(), shared.spread.copy()
    for name, (tokens, deviation) in figures.items():
        expert = policy.names.index(f"fixed:tau={name[3:]}") - 1
        lead[expert], spread[expert] = tokens, deviation**2
    return State(rows, shared._replace(lead=lead, spread=spread))


def test_who_is_followed_and_how_the_others_stand() -> None:
    policy = Portfolio(confidence=3.0)
    # 31 tokens are not three times 11; 13 are more than three times 4, by 1; 40 than 13 by 1.
    said = policy.explain(shared_with(policy, tau3=[31.0, 11.0], tau5=[13.0, 4.0]))
    assert said.follows == "fixed:tau=5"
    assert said.leads["fixed:tau=3"] == (31.0, 11.0)
    assert said.leads["ewma"] == (0.0, 0.0)
    assert set(said.leads) == set(policy.names[1:])
    both = policy.explain(shared_with(policy, tau3=[31.0, 10.0], tau5=[14.0, 4.0]))
    assert both.follows == "fixed:tau=5", "the one that leads by the wider margin"
    assert policy.explain(shared_with(policy, tau3=[30.0, 10.0])).follows == "marginal"
    assert policy.explain(policy.init(1, 0)).follows == "marginal"


def test_why_drafting_is_off_is_explained() -> None:
    policy = Watched()
    replay(policy, blocks(np.zeros(400, np.int64)), costs=ConstantCosts(draft=0.375))
    last = policy.explain(policy.states[-1])
    assert last.follows in ("marginal", "fixed:tau=0")
    assert all(last.leads[f"fixed:tau={tau}"][0] < -20 for tau in range(1, 11))
    lengths = [last.leads[f"fixed:tau={tau}"][0] for tau in range(11)]
    assert lengths == sorted(lengths, reverse=True), "the longer, the worse"


def test_who_is_followed_decides() -> None:
    policy = Portfolio(experts=("fixed:tau=12",))
    controller = Controller(policy, costs=COSTS, max_draft_tokens=16)
    cycle = controller.decide(controller.admit(np.array([10]), np.array([100]))).cycle
    leading = shared_with(policy, tau4=[9.0, 1.0])
    assert policy.decide(leading, cycle).tau.tolist() == [4]
    assert policy.decide(shared_with(policy, tau12=[9.0, 1.0]), cycle).tau.tolist() == [12]
    short = cycle._replace(max_tau=np.array([2]))
    assert policy.decide(leading, short).tau.tolist() == [2]
    # One that does not look inside the draft does not stop there.
    signals = DraftSignals(*np.full((4, 1, 1), 1e-3))
    decision = policy.decide(leading, cycle)
    assert policy.keep_drafting(leading, cycle, decision, 1, signals).tolist() == [True]
    # Nor does it if meanwhile, by an outcome that came late, another has taken the lead.
    assert policy.keep_drafting(policy.init(1, 0), cycle, decision, 1, signals).tolist() == [True]


def test_catch_ups_go_on_whoever_is_followed() -> None:
    policy = Portfolio()
    controller = Controller(policy, costs=COSTS)
    cycle = controller.decide(controller.admit(np.array([10]), np.array([100]))).cycle
    decision = policy.decide(
        shared_with(policy, tau0=[9.0, 1.0]), cycle._replace(behind_tokens=np.array([[40]]))
    )
    assert decision.tau.tolist() == [0]
    assert decision.catch_up is not None
    assert decision.catch_up.tolist() == [True]


def test_without_the_text_it_follows_marginal() -> None:
    controller = Controller(Portfolio(), costs=COSTS)
    rows = controller.admit(np.array([10]), np.array([1000]))
    alone = Controller(Marginal(), costs=COSTS)
    same = alone.admit(np.array([10]), np.array([1000]))
    for run in [0, 3, 9, 1] * 20:
        for driver, row in ((controller, rows), (alone, same)):
            plan = driver.decide(row)
            accepted = np.minimum(plan.tau, run)
            driver.observe(plan, plan.tau, accepted, accepted + 1)
    assert controller.decide(rows).tau.tolist() == alone.decide(same).tau.tolist()
    assert not controller.state.shared.lead.any()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("portfolio:confidence=-1", "confidence = -1.0; it must be in 0..100"),
        ("portfolio:memory=0", "memory = 0.0; it must be in 1..1e9"),
        ("portfolio:experts=nothing", "unknown policy 'nothing'"),
        (
            "portfolio:experts=ewma/hazard/marginal:upkeep=0.5",
            "marginal:upkeep=0.5 learns from more than its own",
        ),
        ("portfolio:experts=ewma/ewma", "ewma/ewma; each may be named once"),
        (
            "portfolio:experts=fixed:tau=10",
            "marginal and fixed:tau=0 to fixed:tau=10 are among them",
        ),
        ("auto:memory=7", "unknown field 'memory'; allowed are none at all"),
    ],
)
def test_what_is_refused(spec: str, message: str) -> None:
    with pytest.raises(PolicySpecError, match=message):
        make_policy(spec)


def test_experts_that_take_hints_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(make_policy("ewma")), "takes_hints", True)
    with pytest.raises(PolicySpecError, match="ewma learns from more than its own"):
        Portfolio()


def test_experts_are_written_as_text() -> None:
    policy = make_policy("portfolio:experts=hazard/fixed:tau=12")
    assert isinstance(policy, Portfolio)
    assert policy.experts == ("hazard", "fixed:tau=12")
    assert policy_spec(policy) == "portfolio:experts=hazard/fixed:tau=12"
    none = Portfolio(experts=())
    assert make_policy(policy_spec(none)) == none
    assert none.names[-1] == "marginal:inside=false"
    assert len(none.names) == 13


def test_auto_is_the_portfolio_with_nothing_to_set() -> None:
    auto = make_policy("auto")
    assert isinstance(auto, Auto)
    assert policy_spec(auto) == "auto"
    assert not [field.name for field in dataclasses.fields(Auto) if field.init]
    assert dataclasses.asdict(auto) == dataclasses.asdict(Portfolio())
    assert auto.explain(auto.init(1, 0)).follows == "marginal"
    trace = LOCKED
    ours = replay("auto", trace, costs=COSTS).time_ms
    np.testing.assert_array_equal(ours, replay("portfolio", trace, costs=COSTS).time_ms)
