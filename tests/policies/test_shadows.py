"""Replay in the shadow, as the text grows, against replay of the whole text."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, make_policy
from adaptive_spec.policies._shadows import fared, replay_one, replay_static
from adaptive_spec.policy import Cycle
from adaptive_spec.runs import Runs
from adaptive_spec.simulations import replay
from adaptive_spec.simulations.looking_back import runs_of
from adaptive_spec.simulations.simulator import CycleLog
from adaptive_spec.traces import Hazards, SequenceTrace, TraceInfo, TraceSet
from adaptive_spec.traces.synthetic import synthetic_trace
from tests.policies.driving import use_numba

COSTS = ConstantCosts(draft=0.1, verify=0.05)
MOST = 6
RATE = 1.3
TOKENS = 300


def sparse() -> TraceSet:
    """A trace of a drafter that proposes something at every third position only."""
    random = np.random.default_rng(0)
    proposes = np.arange(TOKENS) % 3 == 0
    left = TOKENS - np.arange(TOKENS)
    runs = np.where(proposes, np.minimum(random.integers(0, 9, TOKENS), left), 0)
    info = TraceInfo("verifier", "drafter", "block", source="synthetic")
    return TraceSet(info, (SequenceTrace("a", "", 10, runs, proposes, limit_tokens=TOKENS),))


TRACES = {
    "tokens": synthetic_trace(Hazards(0.2, burst=0.9), num_sequences=1, num_tokens=TOKENS),
    "blocks": synthetic_trace(Hazards(hazards=(0.2, 0.5)), num_sequences=1, num_tokens=TOKENS),
    "sparse": sparse(),
}


@pytest.fixture(params=TRACES)
def trace(request: Any) -> TraceSet:
    return TRACES[request.param]


def growing(trace: TraceSet) -> Iterator[tuple[Runs, Cycle]]:
    """What is known, and the cycle of a driver, as the text grows by 1 to 7 tokens at a time."""
    controller = Controller(make_policy("fixed"), costs=COSTS, max_draft_tokens=MOST)
    limit = np.array([TOKENS])
    cycle = controller.decide(controller.admit(trace.flat().prompt_tokens, limit)).cycle
    end, step, sequence = 0, 0, np.zeros(1, np.int64)
    while end < TOKENS:
        emitted, step = np.array([end]), step + 1
        end = min(end + 1 + step % 7, TOKENS)
        known = np.array([end])
        yield (
            runs_of(trace.flat(), sequence, known, known[:, None], MOST),
            cycle._replace(emitted_tokens=emitted, remaining_tokens=limit - emitted),
        )


def replayed(policy: str, trace: TraceSet, upto: int) -> tuple[int, float]:
    """Tokens and time of the cycles that ended before a position."""
    log = replay(policy, trace, costs=COSTS, max_draft_tokens=MOST, log_cycles=True).log
    assert isinstance(log, CycleLog)
    whole = log.position + log.num_accepted_tokens < upto
    return int(log.num_emitted_tokens[whole].sum()), float(log.cycle_ms[whole].sum())


@pytest.fixture(params=["numpy", "numba"])
def either(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test both ways."""
    use_numba(monkeypatch, request.param == "numba")


@pytest.mark.usefixtures("either")
def test_static_tau_in_the_shadow(trace: TraceSet) -> None:
    position, gained = np.zeros((1, MOST + 1), np.int64), np.zeros((1, MOST + 1))
    for runs, cycle in growing(trace):
        before = position.copy()
        position, gain = replay_static(
            runs, position, MOST + 1, cycle.priced_ms(), np.array([RATE])
        )
        gained += gain
        assert (position >= before).all()
        assert (position <= runs.end).all()
    for tau in range(MOST + 1):
        tokens, time = replayed(f"fixed:tau={tau}", trace, TOKENS - MOST)
        # The end of the text settles a few more cycles than the replay that was cut off.
        assert 0 <= position[0, tau] - tokens <= 2 * MOST
        if position[0, tau] == tokens:
            assert gained[0, tau] == pytest.approx(tokens - RATE * time)
    tokens, time = replayed("fixed:tau=0", trace, TOKENS)
    assert position[0, 0] == tokens
    assert gained[0, 0] == pytest.approx(tokens - RATE * time)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("spec", ["fixed:tau=3", "ewma", "gammatune", "heuristic"])
def test_a_published_rule_in_the_shadow(trace: TraceSet, spec: str) -> None:
    policy = make_policy(spec)
    state = policy.init(1, 0)
    position, gained = np.zeros(1, np.int64), 0.0
    for runs, cycle in growing(trace):
        before = -1
        while before < position[0] < TOKENS:  # until it waits for more text
            before = int(position[0])
            state, position, gain = replay_one(
                policy, state, runs, position, cycle, np.array([RATE])
            )
            gained += float(gain[0])
    upto = int(position[0])
    tokens, time = replayed(spec, trace, upto)
    assert upto > TOKENS - 2 * MOST
    assert tokens == upto, "its cycles begin where those of the replay do"
    assert gained == pytest.approx(tokens - RATE * time)


@pytest.mark.usefixtures("either")
def test_what_is_not_settled_waits() -> None:
    # Three tokens are known to be right, and nothing of the fourth: tau = 3 has emitted no more
    # than it was told of, and tau = 5 could still go on.
    runs = Runs(
        np.array([3]),
        np.array([[3]]),
        np.concatenate([np.zeros(41, np.int64), [3, 2, 1]]).reshape(1, 1, -1),
        (np.arange(44) >= 41).reshape(1, 1, -1),
    )
    priced = COSTS.table(MOST, 1, np.array([10]))
    position, gain = replay_static(runs, np.zeros((1, 7), np.int64), 7, priced, np.array([RATE]))
    assert position[0].tolist() == [3, 2, 3, 0, 0, 0, 0]
    assert gain[0, 3:].tolist() == [0.0] * 4


@pytest.mark.usefixtures("either")
def test_a_shadow_that_fell_out_of_the_window_goes_on_where_that_begins() -> None:
    runs = Runs(
        np.array([100]), np.array([[100]]), np.zeros((1, 1, 8), np.int64), np.ones((1, 1, 8), bool)
    )
    begun = np.array([[3, 95, 3]])
    position, gain = replay_static(runs, begun, 1, COSTS.table(MOST, 1, begun[0]), np.array([RATE]))
    assert position.tolist() == [[100, 95, 92]], "the last two are others, and wait for their turn"
    assert gain[0] == pytest.approx([8 * (1.0 - RATE), 0.0, 0.0])
    assert begun.tolist() == [[3, 95, 3]]


def test_rows_that_are_not_settled_keep_what_they_have() -> None:
    # A refusal is seen in the first row; the second has only begun a run that may go on.
    length = np.array([[[0, 0]], [[2, 1]]])
    runs = Runs(np.array([2, 2]), np.array([[2], [2]]), length, np.ones((2, 1, 2), np.bool_))
    controller = Controller(make_policy("fixed"), costs=COSTS, max_draft_tokens=MOST)
    cycle = controller.decide(controller.admit(np.full(2, 10), np.full(2, TOKENS))).cycle
    cycle = cycle._replace(pass_price_ms=np.array([0.5, 0.25]))
    policy, rate = make_policy("gammatune"), np.full(2, RATE)
    before = policy.init(2, 0)
    state, position, gain = replay_one(policy, before, runs, np.zeros(2, np.int64), cycle, rate)
    assert position.tolist() == [1, 0]
    assert gain == pytest.approx([1.0 - RATE * (1.0 + 3 * 0.15 + 0.5), 0.0])
    assert state.rows.mean_accepted[0] < before.rows.mean_accepted[0]
    assert state.rows.mean_accepted[1] == before.rows.mean_accepted[1]


@pytest.mark.parametrize("seed", range(20))
def test_compiled_loops_say_what_numpy_says(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    random, rows, drafters, window = np.random.default_rng(seed), 4, 1 + seed % 3, 24
    end = random.integers(1, 60, rows)
    known = end[:, None] - random.integers(0, 6, (rows, drafters)).clip(max=end[:, None])
    left = known[:, :, None] - (end[:, None, None] + np.arange(-window, 0))
    length = random.integers(0, 12, (rows, drafters, window)).clip(0, np.maximum(left, 0))
    runs = Runs(end, known, length, (random.random(length.shape) < 0.7) & (left > 0))
    position = (end[:, None] - random.integers(0, 30, (rows, 9))).clip(0)
    tau, rate = random.integers(0, MOST, rows), random.random(rows)
    priced = random.random((rows if seed % 2 else 1, MOST + 1))
    figures: list[list[Any]] = []
    for numba in (True, False):
        with monkeypatch.context() as patch:
            use_numba(patch, numba)
            shadows = replay_static(runs, position, 8, priced, rate)
            figures.append([*fared(runs, position[:, 0], tau), *shadows])
    for ours, theirs in zip(*figures, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
