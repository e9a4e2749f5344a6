"""What a further token is worth: decisions worked by hand, from weights that are put in by hand."""

from typing import Any

import numpy as np
import pytest

from adaptive_spec import (
    ConstantCosts,
    Controller,
    CostModel,
    MeasuredCosts,
    PolicySpecError,
    make_policy,
)
from adaptive_spec.controller import UNLIMITED_TOKENS
from adaptive_spec.policies._logistic import Weights
from adaptive_spec.policies.marginal import Marginal
from adaptive_spec.policy import MAX_DRAFTERS, Cycle, Decision, DraftSignals, State
from adaptive_spec.runs import Runs, window_of
from adaptive_spec.simulations import replay
from adaptive_spec.traces import Hazards
from adaptive_spec.traces.synthetic import synthetic_trace
from tests.policies.driving import CHEAP, Inside, drive, use_numba


@pytest.fixture(autouse=True, params=["numpy", "numba"])
def both(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs every test both ways."""
    use_numba(monkeypatch, request.param == "numba")


def odds(chance: float) -> float:
    return float(np.log(chance / (1.0 - chance)))


def knowing(
    first: float,
    in_streaks: float | None = None,
    *,
    streak: int = 0,
    policy: Marginal = Marginal(),  # noqa: B008 - frozen
) -> State[Any, Any]:
    """A state that gives a token this chance after a refusal, and that one in a streak."""
    rows, fleet = policy.init(1, 0)
    mean = np.zeros_like(fleet.learned.weights.mean)
    mean[:, 0] = odds(first)
    mean[:, 6] = 0.0 if in_streaks is None else odds(in_streaks) - odds(first)
    learned = fleet.learned._replace(weights=fleet.learned.weights._replace(mean=mean))
    past = rows.past._replace(streak=np.full((1, MAX_DRAFTERS), streak))
    return State(rows._replace(past=past), fleet._replace(learned=learned))


def a_cycle(costs: CostModel = CHEAP, **changes: Any) -> Cycle:
    controller = Controller(Marginal(), costs=costs, max_draft_tokens=10)
    rows = controller.admit(np.array([10]), np.array([UNLIMITED_TOKENS]))
    return controller.decide(rows).cycle._replace(**changes)


def decide(state: State[Any, Any], cycle: Cycle | None = None, **fields: Any) -> Decision:
    return Marginal(**fields).decide(state, a_cycle() if cycle is None else cycle)


@pytest.mark.parametrize(
    ("chance", "tau"),
    [
        # The rate begins at 1.5 tokens a pass, a token costs 0.1 pass, so 0.15 tokens.
        (0.7, 5),  # 0.7^5 = 0.168 > 0.15 > 0.118 = 0.7^6
        (0.5, 2),  # 0.25 > 0.15 > 0.125
        (0.16, 1),  # 0.16 > 0.15 > 0.026
        (0.14, 0),  # not even the first
    ],
)
def test_it_drafts_while_the_next_token_is_worth_its_time(chance: float, tau: int) -> None:
    assert decide(knowing(chance)).tau.tolist() == [tau]


def test_the_rate_is_tokens_by_time() -> None:
    # (28.5 + 1.5) tokens in (14 + 1) passes are 2 a pass: 0.7^4 = 0.240 > 0.2 > 0.168 = 0.7^5.
    rows, fleet = knowing(0.7)
    fleet = fleet._replace(tokens=np.array([28.5]), time_ms=np.array([14.0]))
    assert decide(State(rows, fleet)).tau.tolist() == [4]
    # This sequence has 32 in 32, and leans on those as on 32 passes: (32 + 2 * 32) / 64 = 1.5.
    rows = rows._replace(tokens=np.array([32.0]), time_ms=np.array([32.0]))
    assert decide(State(rows, fleet)).tau.tolist() == [5]


def test_a_price_on_passes_makes_drafts_longer() -> None:
    # 1.5 tokens in (1 + 2) of priced time: a token costs 0.1 * 0.5 = 0.05; 0.7^8 = 0.058, ^9 0.040.
    assert decide(knowing(0.7), a_cycle(pass_price_ms=np.array([2.0]))).tau.tolist() == [8]


def test_what_is_left_of_a_run_comes_cheaply_in_the_next_cycle() -> None:
    # 0.2 after a refusal, 0.8 in a streak. Worth of the next cycle, with 1.5 tokens a pass:
    #   in a streak       0.8 + ... + 0.8^8 - 1.5 * 1.8 = 3.329 - 2.7 = 0.629 (0.8^8 = 0.168)
    #   after a refusal   0.2 + 0.16 - 1.5 * 1.2 = -1.44
    # so being in a streak is worth 2.069, which a draft that ends inside a run with S_{k+1} leaves
    # in place: token k + 1 adds S_{k+1} (1 - 0.2 * 2.069) - 0.15 in a streak; 0.586 * 0.8^6 =
    # 0.154, 0.586 * 0.8^7 = 0.123. After a refusal, even the first: 0.586 * 0.2 < 0.15.
    assert decide(knowing(0.2, 0.8, streak=1)).tau.tolist() == [6]
    assert decide(knowing(0.2, 0.8, streak=0)).tau.tolist() == [0]


def test_limits_are_kept() -> None:
    cycle = a_cycle(max_tau=np.array([2]))
    assert decide(knowing(0.9), cycle).tau.tolist() == [2]
    at_least = a_cycle(min_tau=np.array([3]))
    assert decide(knowing(0.1), at_least).tau.tolist() == [3]


def test_where_drafting_never_pays_it_stops() -> None:
    taus = drive(Marginal(), [0] * 300, ConstantCosts(draft=0.3))
    # Told nothing of the text, it tries one token each 0.3 / 0.01 = 30.
    assert taus[100:].count(0) >= 190
    assert set(taus[100:]) == {0, 1}


def test_a_drafter_that_has_not_read_for_a_while_catches_up() -> None:
    # A step costs 0.125 pass, a hundredth of the time may go into it: every 12.5 tokens.
    costs = ConstantCosts(draft=0.125)
    for behind, wanted in ((12, False), (13, True)):
        decision = decide(knowing(0.1), a_cycle(costs, behind_tokens=np.array([[behind]])))
        assert decision.tau.tolist() == [0]
        assert decision.catch_up is not None
        assert decision.catch_up.tolist() == [wanted]
    often = decide(knowing(0.1), a_cycle(costs, behind_tokens=np.array([[7]])), upkeep=0.02)
    assert often.catch_up is not None
    assert often.catch_up.tolist() == [True]


def test_without_the_text_it_drafts_at_times_to_know() -> None:
    for emitted, tau in ((12, 0), (13, 1)):
        cycle = a_cycle(ConstantCosts(draft=0.125), emitted_tokens=np.array([emitted]))
        decision = decide(knowing(0.1), cycle, evidence="drafts")
        assert decision.tau.tolist() == [tau]
        assert decision.catch_up is None


def test_drafts_alone_teach_it_too() -> None:
    taus = drive(Marginal(), [9, 9, 9, 0] * 50 + [0] * 200)
    assert np.mean(taus[100:200]) > 4
    assert np.mean(taus[-50:]) < 0.5


def test_drafts_are_longer_in_streaks() -> None:
    # Nine in ten are right in calm stretches, one in ten in bursts.
    traces = synthetic_trace(Hazards(0.1, burst=0.9), num_sequences=4, num_tokens=400)
    log = replay("marginal", traces, costs=CHEAP, order=range(4), log_cycles=True).log
    assert log is not None
    late = log.sequence >= 2
    streaks = np.zeros(late.sum(), np.int64)
    for i, (s, position) in enumerate(zip(log.sequence[late], log.position[late], strict=True)):
        bits = traces.sequences[s].run_lengths[:position] > 0
        streaks[i] = bits[::-1].argmin() if not bits.all() else position
    tau = np.minimum(log.tau[late], 10)
    assert tau[streaks >= 4].mean() > tau[streaks == 0].mean() + 3


class Told:
    """One sequence and two drafters, of whom one is right and one is wrong at every position."""

    def __init__(self, policy: Marginal, costs: ConstantCosts) -> None:
        self.controller = Controller(
            policy, costs=costs, max_draft_tokens=4, drafters=("right", "wrong")
        )
        self.rows = self.controller.admit(np.array([10]), np.array([UNLIMITED_TOKENS]))
        self.end = 0

    def cycle(self, right: int) -> tuple[int, int]:
        """Who drafted, and how much; ``right`` is whose drafts are accepted."""
        plan = self.controller.decide(self.rows)
        accepted = plan.tau * (plan.drafter == right)
        self.end += int(accepted[0]) + 1
        window = window_of(4)
        at = self.end + np.arange(-window, 0)
        length = np.zeros((1, 2, window), np.int64)
        length[0, right] = np.where(at >= 0, self.end - at, 0)
        there = np.tile(at >= 0, (1, 2, 1))
        end = np.array([self.end])
        runs = Runs(end, np.tile(end, (1, 2)), length, there)
        self.controller.observe(plan, plan.tau, accepted, accepted + 1, runs=runs)
        return int(plan.drafter[0]), int(plan.tau[0])


@pytest.mark.parametrize("right", [0, 1])
def test_it_takes_the_drafter_that_does_better(right: int) -> None:
    told = Told(Marginal(), CHEAP)
    taken = [told.cycle(right) for _ in range(30)]
    assert set(taken[10:]) == {(right, 4)}


def with_a_cheaper_one() -> Cycle:
    """A cycle with a drafter that costs 0.4 a token, and one that costs 0.1."""
    costs = ConstantCosts(draft=0.5, drafts=(("a", 0.4), ("b", 0.1)))
    there, behind = np.ones((1, 2), np.bool_), np.zeros((1, 2), np.int64)
    return a_cycle(costs, drafters=("a", "b"), available=there, behind_tokens=behind)


def test_it_takes_the_cheaper_of_two_that_do_equally_well() -> None:
    cycle = with_a_cheaper_one()
    # 1.5 * 0.1 = 0.15 a token; the other one costs 0.6.
    decision = decide(knowing(0.5), cycle)
    assert decision.drafter is not None
    assert (decision.drafter.tolist(), decision.tau.tolist()) == ([1], [2])
    gone = cycle._replace(available=np.array([[True, False]]))
    decision = decide(knowing(0.7), gone)
    assert decision.drafter is not None
    assert (decision.drafter.tolist(), decision.tau.tolist()) == ([0], [1])  # 0.7 > 0.6 > 0.49


def said(*top1_probability: float) -> DraftSignals:
    missing = np.full((1, len(top1_probability)), np.nan)
    return DraftSignals(np.array([top1_probability]), missing, missing, missing)


def keeps_drafting(
    state: State[Any, Any], signals: DraftSignals, cycle: Cycle | None = None, **decided: Any
) -> bool:
    """Whether one sequence drafts on, after as many tokens as there are signals."""
    cycle = a_cycle() if cycle is None else cycle
    decision = decide(state, cycle)._replace(**decided)
    depth = signals.entropy.shape[1]
    return bool(Marginal().keep_drafting(state, cycle, decision, depth, signals)[0])


def trusting(history: float, **fields: Any) -> State[Any, Any]:
    """A state that takes the drafter at its word, and its word for the chance of a token."""
    rows, fleet = knowing(history, policy=Marginal(**fields))
    precision = fleet.confidence.weights.precision
    mean = np.tile(np.eye(precision.shape[1])[2], (MAX_DRAFTERS, 1))
    confidence = fleet.confidence._replace(
        weights=Weights(mean, precision), speaks=np.ones(MAX_DRAFTERS, np.bool_)
    )
    return State(rows, fleet._replace(confidence=confidence))


@pytest.mark.parametrize(
    ("words", "on"),
    [
        # Drafts on if what it says of the tokens so far, times 0.5 by history, is above 0.15.
        ((0.31,), True),
        ((0.29,), False),
        ((0.6, 0.52), True),  # 0.312
        ((0.6, 0.48), False),  # 0.288
    ],
)
def test_it_stops_inside_the_draft(words: tuple[float, ...], on: bool) -> None:
    assert keeps_drafting(trusting(0.5), said(*words)) == on


@pytest.mark.parametrize(("word", "on"), [(0.33, True), (0.31, False)])
def test_inside_a_run_it_stops_sooner(word: float, on: bool) -> None:
    # As above, being in a streak is worth 2.069, so the second token brings 0.8 (1 - 0.2 * 2.069) =
    # 0.469 if the first is accepted: worth 0.15 if the chance of that is above 0.32.
    rows, fleet = knowing(0.2, 0.8, streak=1)
    state = State(rows, fleet._replace(confidence=trusting(0.5).shared.confidence))
    assert keeps_drafting(state, said(word)) == on


def test_inside_the_draft_too_costs_may_come_in_steps() -> None:
    # Two tokens in a pass cost what one does, three to eleven half a pass more. A third is worth
    # 0.9 * 0.5 = 0.45 by itself, less than the 0.75 tokens of the step; all that may follow, 0.9.
    nothing, steps = np.zeros((1, 1)), np.array([[[1.0, 1.0, 1.5, 1.5]]])
    costs = MeasuredCosts((1,), (1,), (1, 2, 3, 11), steps, nothing, nothing)
    state = trusting(0.5)
    assert keeps_drafting(state, said(0.9), a_cycle(costs))
    few = a_cycle(costs, max_tau=np.array([2]))
    assert not keeps_drafting(state, said(0.9), few)
    assert not keeps_drafting(state, said(0.7), a_cycle(costs))


def test_it_goes_on_at_the_price_of_whoever_was_to_draft() -> None:
    cycle = with_a_cheaper_one()
    # The second token is worth 0.9 * 0.5 = 0.45: more than 0.15 at 0.1 a token, less than 0.6.
    assert keeps_drafting(trusting(0.5), said(0.9), cycle, drafter=np.array([1]))
    assert not keeps_drafting(trusting(0.5), said(0.9), cycle, drafter=np.array([0]))


def test_where_the_drafter_says_nothing_it_drafts_on() -> None:
    state = trusting(0.5)
    assert keeps_drafting(state, said(np.nan))
    # Where it only said something of the first, history stands for the second: 0.9 * 0.5 * 0.5.
    assert keeps_drafting(state, said(0.9, np.nan))
    assert not keeps_drafting(state, said(0.5, np.nan))


def test_who_can_stop_inside_may_go_on_to_the_cap() -> None:
    assert decide(trusting(0.5)).tau.tolist() == [10]
    assert decide(trusting(0.1)).tau.tolist() == [0], "what is not begun is not stopped"
    assert decide(trusting(0.5), inside=False).tau.tolist() == [2]
    assert not Marginal(inside=False).looks_inside_draft


def test_what_lies_ahead_of_one_drafter_does_not_keep_another_from_drafting() -> None:
    # The first has nothing to propose now, and would do well after a streak; the second is right
    # every other time, whatever came before. Alone it drafts 2 (0.5^2 = 0.25 > 0.15 > 0.5^3).
    state = knowing(0.3, 0.98, streak=1)
    mean = state.shared.learned.weights.mean.copy()
    mean[1] = knowing(0.5).shared.learned.weights.mean[1]
    weights = state.shared.learned.weights._replace(mean=mean)
    learned = state.shared.learned._replace(weights=weights)
    several = State(state.rows, state.shared._replace(learned=learned))
    cycle = a_cycle(
        drafters=("a", "b"),
        available=np.array([[False, True]]),
        behind_tokens=np.zeros((1, 2), np.int64),
    )
    decision = decide(several, cycle)
    assert decision.drafter is not None
    assert (decision.tau.tolist(), decision.drafter.tolist()) == ([2], [1])


def test_it_learns_what_the_drafters_word_is_worth() -> None:
    # Sure of its first two tokens it is always; where of the others, too, they are right.
    inside, unsure, sure = Inside(Marginal()), [0.9, 0.9] + 8 * [0.3], 10 * [0.9]
    for _ in range(100):
        inside.cycle(2, top1_probability=unsure)
        inside.cycle(9, top1_probability=sure)
    drafted = [
        (inside.cycle(2, top1_probability=unsure), inside.cycle(9, top1_probability=sure))
        for _ in range(10)
    ]
    assert np.mean([short for short, _ in drafted]) <= 3
    assert np.mean([long for _, long in drafted]) >= 6


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("marginal:memory=0.5", "memory = 0.5; it must be in 1"),
        ("marginal:memory=nan", "memory = nan"),
        ("marginal:upkeep=0", "upkeep = 0.0; it must be in"),
        ("marginal:upkeep=1", "upkeep = 1.0; it must be in"),
        ("marginal:evidence=all", "expected one of text, drafts"),
    ],
)
def test_parameters_out_of_range_are_refused(spec: str, message: str) -> None:
    with pytest.raises(PolicySpecError, match=message):
        make_policy(spec)
