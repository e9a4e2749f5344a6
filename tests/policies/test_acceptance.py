"""The acceptance estimate is right under censoring, where the mean of accepted counts is not."""

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller
from adaptive_spec.policies._acceptance import Acceptance, expected_tokens
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.policy import Outcome


def outcome(drafted: list[int], accepted: list[int]) -> Outcome:
    controller = Controller(Fixed(max(drafted)), costs=ConstantCosts())
    count = np.full(len(drafted), 50)
    plan = controller.decide(controller.admit(count, count))
    a = np.array(accepted)
    time = np.ones(len(drafted))
    counts = np.array(drafted), a, a + 1
    return Outcome(plan.cycle, plan.decision, plan.tau, plan.drafter, *counts, time, time)


def test_by_hand() -> None:
    before = Acceptance.fresh(3, run_length=2.0)
    after = before.learn(outcome([4, 2, 0], [1, 2, 0]), smoothing=0.5)
    # Rejected after 1; accepted whole (censored: no rejection seen); nothing drafted.
    assert after.accepted.tolist() == [1.5, 2.0, 2.0]
    assert after.rejected.tolist() == [1.0, 0.5, 1.0]
    assert after.rate.tolist() == pytest.approx([0.6, 0.8, 2 / 3])


def test_estimate_does_not_depend_on_the_tau_it_was_learned_at() -> None:
    # 20,000 geometric run lengths: the standard error of the estimate is below 0.005.
    runs = np.random.default_rng(0).geometric(1 - 0.7, 20_000) - 1
    for tau in (1, 2, 8):
        accepted = np.minimum(runs, tau)
        rejections = (runs < tau).sum()
        assert accepted.sum() / (accepted.sum() + rejections) == pytest.approx(0.7, abs=0.02)
        if tau < 8:
            naive = accepted.mean()
            assert naive / (1 + naive) < 0.6, "the plain mean confirms its own small tau"


def test_pauses_double_while_probes_fail_and_halve_when_they_do_not() -> None:
    state = Acceptance.fresh(1)
    pauses = []
    for accepted in (0, 0, 0, 1, 1, 1, 1):
        state = state.learn(outcome([2], [accepted]))
        pauses.append(int(state.pause_tokens[0]))
    assert pauses == [16, 32, 64, 32, 16, 8, 8]
    for _ in range(20):
        state = state.learn(outcome([2], [0]))
    assert state.pause_tokens.tolist() == [128]


def test_probes_are_due_after_the_pause() -> None:
    state = Acceptance.fresh(1)
    quiet = []
    for _ in range(9):
        state = state.learn(outcome([0], [0]))
        quiet.append(int(state.probe()[0]))
    assert quiet == [0] * 7 + [2, 2]


def test_expected_tokens_is_the_geometric_sum() -> None:
    assert expected_tokens(np.array([0.5]), 3).tolist() == [1 + 0.5 + 0.25 + 0.125]
