"""What the text says of acceptance: hand-made texts, and the compiled loops against numpy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from adaptive_spec import Controller
from adaptive_spec._arrays import BoolArray, FloatArray
from adaptive_spec.policies import _history
from adaptive_spec.policies._history import Learned, Past, Tokens, after, after_runs, chances
from adaptive_spec.policies.marginal import Marginal, _best
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Outcome, State
from adaptive_spec.runs import Runs, window_of
from adaptive_spec.state import leaves
from adaptive_spec.testing import History, play, strategies
from adaptive_spec.traces.sequences import run_lengths_of
from tests.policies.driving import CHEAP, use_numba

WINDOW = window_of(4)


def told(length: list[int], proposes: list[int] | None = None, *, known: int | None = None) -> Runs:
    """A text of one sequence and drafter, known to its end unless ``known`` is given."""
    end = len(length)
    upto = end if known is None else known
    runs, there = np.zeros((2, 1, 1, WINDOW), np.int64)
    runs[0, 0, WINDOW - end :] = np.minimum(length, np.maximum(upto - np.arange(end), 0))
    there[0, 0, WINDOW - end :] = np.ones(end) if proposes is None else proposes
    there[0, 0, WINDOW - end + upto :] = 0
    return Runs(np.array([end]), np.array([[upto]]), runs, there.astype(np.bool_))


def right(*bits: int) -> list[int]:
    """Run lengths of a drafter that goes token by token, by whether each token was right."""
    return [int(run) for run in run_lengths_of(np.array(bits, np.bool_))]


def by_depth(marks: BoolArray | FloatArray) -> list[list[int]]:
    """The depths marked of each token, ``[n]`` lists."""
    return [(np.flatnonzero(token) + 1).tolist() for token in marks[0, 0]]


def test_a_token_is_tested_in_every_draft_that_had_got_so_far() -> None:
    tokens = Tokens.of_runs(told(right(1, 1, 0, 1)), np.zeros((1, 1), np.int64))
    # The second is tested by the draft begun at it and by the one begun at the first. The third
    # ends them both, and its own. No draft got beyond it.
    assert by_depth(tokens.tested) == [[1], [1, 2], [1, 2, 3], [1]]
    assert by_depth(tokens.passed) == [[1], [1, 2], [], [1]]
    assert tokens.agreed[0, 0].tolist() == [True, True, False, True]
    assert tokens.fresh.tolist() == [[4]]
    assert tokens.known.tolist() == [[4]]


def test_where_nothing_is_proposed_no_draft_begins() -> None:
    # Two tokens copied from position 1, nothing proposed elsewhere.
    tokens = Tokens.of_runs(told([0, 2, 0, 0], [0, 1, 0, 0]), np.zeros((1, 1), np.int64))
    assert by_depth(tokens.tested) == [[], [1], [2], [3]]
    assert by_depth(tokens.passed) == [[], [1], [2], []]
    assert tokens.judged[0, 0].tolist() == [False, True, False, False]


def test_what_was_taken_account_of_is_not_taken_twice() -> None:
    text = told(right(1, 1, 0, 1))
    tokens = Tokens.of_runs(text, np.array([[3]]))
    assert tokens.fresh.tolist() == [[1]]
    assert by_depth(tokens.tested) == [[1]]
    assert Tokens.of_runs(text, np.array([[4]])).fresh.tolist() == [[0]]


def test_what_is_not_known_yet_waits() -> None:
    tokens = Tokens.of_runs(told(right(1, 1, 1, 0), known=2), np.zeros((1, 1), np.int64))
    assert tokens.fresh.tolist() == [[2]]
    assert by_depth(tokens.passed) == [[1], [1, 2]]


def test_a_long_run_is_looked_at_in_so_many_drafts_and_no_more() -> None:
    tokens = Tokens.of_runs(told(right(*[1] * 15)), np.zeros((1, 1), np.int64))
    assert by_depth(tokens.tested)[-1] == list(range(1, _history.DEPTHS + 1))


@pytest.fixture(params=["numpy", "numba"])
def either(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test both ways."""
    use_numba(monkeypatch, request.param == "numba")


def past_after(*texts: Runs) -> tuple[Past, Learned]:
    past, learned = Past.fresh(1), Learned.fresh()
    for text in texts:
        past, learned = after_runs(past, learned, text, memory=1e9)
    return past, learned


@pytest.mark.usefixtures("either")
def test_streaks_go_on_from_cycle_to_cycle() -> None:
    bits = 0, 1, 1, 1, 0, 1, 1
    streaks = []
    past, learned = Past.fresh(1), Learned.fresh()
    for end in (2, 4, 5, 7):
        past, learned = after_runs(past, learned, told(right(*bits[:end])), memory=1e9)
        streaks.append(int(past.streak[0, 0]))
    assert streaks == [1, 3, 0, 2]
    assert past.known[0, 0] == 7


@pytest.mark.usefixtures("either")
def test_levels_are_discounted_by_the_token() -> None:
    past, learned = past_after(told(right(1, 0, 1)))
    for i, d in enumerate((15 / 16, 47 / 48)):
        assert past.agreed[0, 0, i] == pytest.approx(d**2 + 1)
        assert past.judged[0, 0, i] == pytest.approx(d**2 + d + 1)
    # Those of all sequences began at 2.4 of 4.
    assert learned.fleet[0] == pytest.approx([2.4 * 0.998**3 + 2, 4.0 * 0.998**3 + 3])


@pytest.mark.usefixtures("either")
def test_where_nothing_was_proposed_the_level_stays_and_the_streak_ends() -> None:
    past, _ = past_after(told([2, 1, 0, 0], [1, 1, 0, 0]))
    assert past.streak[0, 0] == 0
    assert past.judged[0, 0, 0] == pytest.approx((15 / 16) ** 2 * (1 + 15 / 16))


@pytest.mark.usefixtures("either")
def test_nothing_new_changes_nothing() -> None:
    text = told(right(1, 1, 0))
    for old, new in zip(leaves(past_after(text)), leaves(past_after(text, text)), strict=True):
        np.testing.assert_array_equal(old[1], new[1])


def drafted(accepted: int, chance: FloatArray | None = None) -> Outcome:
    """A cycle that drafted four tokens."""
    controller = Controller(Marginal(), costs=CHEAP, max_draft_tokens=4)
    cycle = controller.decide(controller.admit(np.array([10]), np.array([100]))).cycle
    counts = np.array([4]), np.array([accepted]), np.array([accepted + 1])
    decision, time = Decision(np.array([4])), np.ones(1)
    return Outcome(
        cycle,
        decision,
        np.array([4]),
        np.array([0]),
        *counts,
        time,
        time,
        acceptance_probability=None if chance is None else chance[None],
    )


def test_a_draft_tells_of_its_own_tokens_only() -> None:
    for accepted, tested, passed in ((2, [[1], [2], [3]], [[1], [2], []]), (4, None, None)):
        tokens = Tokens.of_draft(
            drafted(accepted), np.zeros((1, 2), np.int64), whole_is_refused=False
        )
        assert tokens.known.tolist() == [[accepted + 1] * 2]
        assert not tokens.tested[0, 1].any(), "nobody else drafted"
        if tested is not None:
            assert by_depth(tokens.tested)[:3] == tested
            assert by_depth(tokens.passed)[:3] == passed
            assert not tokens.tested[0, 0, 3:].any()
        else:  # accepted whole: the run's end was not seen, nor was the token after the draft
            assert by_depth(tokens.passed) == [[1], [2], [3], [4], []]
            assert by_depth(tokens.tested) == [[1], [2], [3], [4], []]


def test_chances_are_learned_from_where_tokens_were_tested() -> None:
    chance, known = np.array([0.9, np.nan, 0.2, 0.7]), np.zeros((1, 1), np.int64)
    tokens = Tokens.of_draft(drafted(2, chance), known, whole_is_refused=False)
    # It is not known of the second, which was accepted; the fourth followed a refused one.
    assert tokens.chance[0, 0].tolist() == [0.9, 1.0, 0.2, 0.0, 0.0]
    assert [tokens.passed[0, 0, i, i] for i in range(4)] == [0.9, 1.0, 0.2, 0.0]
    assert tokens.agreed[0, 0].tolist() == [True, True, False, False, False]
    assert by_depth(tokens.tested)[:4] == [[1], [2], [3], []]
    bits = Tokens.of_draft(drafted(2), known, whole_is_refused=False)
    np.testing.assert_array_equal(tokens.tested, bits.tested)
    for learner in (drafted(2), drafted(2, chance)):
        lengths = Tokens.of_draft(learner, known, whole_is_refused=True)
        assert lengths.chance[0, 0].tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]


def squared_error(told: bool, cycles: int) -> float:
    """Of what is thought of a first token after drafts sampled, in the mean over 30 learners.

    Drafted tokens are accepted with chances from Beta(4, 2), in the mean 2/3.
    """
    errors = []
    for seed in range(30):
        random, past, learned = np.random.default_rng(seed), Past.fresh(1), Learned.fresh()
        for _ in range(cycles):
            chance = random.beta(4.0, 2.0, 4)
            accepted = int((random.random(4) < chance).cumprod().sum())
            outcome = drafted(accepted, chance if told else None)
            tokens = Tokens.of_draft(outcome, past.known[:, :1], whole_is_refused=False)
            past, learned = after(past, learned, tokens, 1e9)
        # After a refusal, so that it is not the streak that tells them apart.
        rested = past._replace(streak=np.zeros_like(past.streak))
        errors.append(float(chances(rested, learned, 0, 1)[0, 0]) - 2.0 / 3.0)
    return float(np.square(errors).mean())


def test_chances_teach_more_than_how_the_die_fell() -> None:
    assert squared_error(True, 40) < 0.6 * squared_error(False, 40)
    assert squared_error(True, 20) < squared_error(False, 40), "half the tokens do"


def test_one_token_is_one_sample_however_often_it_is_tested() -> None:
    past, learned = Past.fresh(1), Learned.fresh()
    tokens = Tokens.of_runs(told(right(1, 1, 1, 1)), np.zeros((1, 1), np.int64))
    once = after(past, learned, tokens, 1e9)[1].weights.precision[0]
    # The intercept's precision grows by p (1 - p) <= 1/4 a token, in ten drafts or in one.
    assert 0 < once[0, 0] - learned.weights.precision[0, 0, 0] <= 4 * 0.25


class BothWays(Marginal):
    """Goes both ways wherever there are two, and holds them against each other."""

    def decide(self, state: State[Any, Any], cycle: Cycle) -> Decision:
        rows, fleet = state
        for i in range(len(cycle.drafters)):
            tau = np.full_like(cycle.max_tau, i)
            priced = cycle.priced_ms(tau)
            rate = np.linspace(0.5, 3.0, tau.size)
            told = rows.past, fleet.learned, i, rate, priced, cycle.max_tau, np.ones(tau.size)
            fast, *worth = _best(*told)
            with pytest.MonkeyPatch.context() as patch:
                use_numba(patch, False)
                slow, *same = _best(*told)
            np.testing.assert_allclose(worth, same, rtol=1e-9, atol=1e-9)
            assert ((fast <= cycle.max_tau) & (slow <= cycle.max_tau)).all()
        return super().decide(state, cycle)

    def keep_drafting(
        self,
        state: State[Any, Any],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        rate, priced = np.linspace(0.5, 3.0, cycle.max_tau.size), cycle.priced_ms()
        history, sure = np.full(signals.entropy.shape, 0.6), np.linspace(0.31, 0.87, rate.size)
        figures = []
        for numba in (True, False):
            with pytest.MonkeyPatch.context() as patch:
                use_numba(patch, numba)
                past, learned = state.rows.past, state.shared.learned
                best, *_ = _best(past, learned, 0, rate, priced, cycle.max_tau, sure, depth)
                figures.append(
                    (best > depth, state.shared.confidence.accepted(0, signals, history))
                )
        for ours, theirs in zip(*figures, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
        return super().keep_drafting(state, cycle, decision, depth, signals)

    def update(self, state: State[Any, Any], outcome: Outcome) -> State[Any, Any]:
        fast = super().update(state, outcome)
        with pytest.MonkeyPatch.context() as patch:
            use_numba(patch, False)
            slow = super().update(state, outcome)
        for (name, ours), (_, theirs) in zip(leaves(fast), leaves(slow), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9, err_msg=name)
        return fast


@given(strategies.histories())
def test_compiled_loops_say_what_numpy_says(history: History) -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    play(BothWays(), history)
