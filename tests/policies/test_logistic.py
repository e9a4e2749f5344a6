"""The online logistic regression against the posterior that it approximates."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from adaptive_spec._arrays import FloatArray
from adaptive_spec.policies._logistic import Weights, log_odds, probability

PRIOR = Weights.prior(np.array([0.5, 0.0, -0.5]), 0.5, 2)
FOREVER = 1e12


def samples(count: int, weights: list[float], seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Features ``[n, 3]``, and what happened ``[n]``."""
    random = np.random.default_rng(seed)
    x = np.column_stack([np.ones(count), random.normal(size=(count, 2))])
    return x, (random.random(count) < expit(x @ weights)).astype(np.float64)


def learned(
    weights: Weights, x: FloatArray, y: FloatArray, *, at_once: int, memory: float = FOREVER
) -> Weights:
    """After these samples of the first regression, so many at a time."""
    for i in range(0, y.size, at_once):
        part = slice(i, i + at_once)
        first = np.zeros(y[part].size, np.int64)
        weights = weights.learn(
            first, x[part], y[part], np.ones(first.size), prior=PRIOR, memory=memory
        )
    return weights


def test_a_batch_moves_the_mean_by_one_newton_step_on_the_log_posterior() -> None:
    x, y = samples(40, [1.0, -1.0, 0.0])
    weight = np.linspace(0.1, 1.0, 40)
    found = PRIOR.learn(np.zeros(40, np.int64), x, y, weight, prior=PRIOR, memory=FOREVER)
    p = expit(x @ PRIOR.mean[0])
    hessian = np.eye(3) / 0.5 + sum(
        w * q * (1 - q) * np.outer(f, f) for w, q, f in zip(weight, p, x, strict=True)
    )
    gradient = sum(w * (t - q) * f for w, t, q, f in zip(weight, y, p, x, strict=True))
    np.testing.assert_allclose(found.precision[0], hessian, rtol=1e-9)
    step = np.linalg.solve(hessian, gradient)
    np.testing.assert_allclose(found.mean[0], PRIOR.mean[0] + step, rtol=1e-9)


@pytest.mark.parametrize("at_once", [1, 10])
def test_it_ends_up_where_the_posterior_is_highest(at_once: int) -> None:
    x, y = samples(2000, [0.4, 1.2, -0.8])

    def loss(w: FloatArray) -> float:
        odds = x @ w
        drawn_back = ((w - PRIOR.mean[0]) ** 2).sum() / (2 * 0.5)
        return float(np.logaddexp(0.0, odds).sum() - y @ odds + drawn_back)

    best = minimize(loss, PRIOR.mean[0]).x
    found = learned(PRIOR, x, y, at_once=at_once)
    deviation = np.sqrt(np.diag(np.linalg.inv(found.precision[0])))
    assert (np.abs(found.mean[0] - best) < deviation).all()
    np.testing.assert_allclose(found.mean[0], best, atol=0.06)


def test_regressions_keep_apart() -> None:
    found = learned(PRIOR, *samples(100, [2.0, 0.0, 0.0]), at_once=10)
    np.testing.assert_array_equal(found.mean[1], PRIOR.mean[1])
    np.testing.assert_array_equal(found.precision[1], PRIOR.precision[1])
    assert found.mean[0, 0] > PRIOR.mean[0, 0]


def test_evidence_is_worth_one_eth_after_as_many_samples_as_are_remembered() -> None:
    full = learned(PRIOR, *samples(500, [0.0, 1.0, 0.0]), at_once=10)
    nothing = np.zeros((3, 3)), np.zeros(3)
    aged = full.step(0, *nothing, 200.0, prior=PRIOR, memory=200.0)
    first = PRIOR.precision[0]
    np.testing.assert_allclose(aged.precision[0] - first, (full.precision[0] - first) / np.e)


def test_the_weights_can_always_move_on() -> None:
    before = learned(PRIOR, *samples(20_000, [0.0, 2.0, 0.0]), at_once=50, memory=300.0)
    after = learned(before, *samples(1_500, [0.0, -2.0, 0.0], seed=1), at_once=50, memory=300.0)
    assert before.mean[0, 1] > 1.5
    assert after.mean[0, 1] < -1.5


def test_without_evidence_the_prior_is_what_is_left() -> None:
    weights = learned(PRIOR, *samples(2_000, [-1.0, 2.0, 1.0]), at_once=10)
    for _ in range(200):
        weights = weights.step(0, np.zeros((3, 3)), np.zeros(3), 50.0, prior=PRIOR, memory=100.0)
    np.testing.assert_allclose(weights.mean, PRIOR.mean, atol=1e-6)
    np.testing.assert_allclose(weights.precision, PRIOR.precision, atol=1e-6)


def test_samples_beyond_doubt_leave_figures_finite() -> None:
    x = np.array([[1.0, 1e6, 0.0]])
    weights = PRIOR
    for happened in (1.0, 0.0) * 20:
        sample = np.zeros(1, np.int64), x, np.array([happened]), np.ones(1)
        weights = weights.learn(*sample, prior=PRIOR, memory=100.0)
    assert np.isfinite(weights.mean).all()
    assert np.isfinite(weights.precision).all()


def test_log_odds_and_probability_undo_each_other() -> None:
    share = np.array([0.02, 0.5, 0.98])
    np.testing.assert_allclose(probability(log_odds(share)), share)
    assert 0.0 < probability(np.array([-1e9]))[0] < probability(np.array([1e9]))[0] < 1.0
