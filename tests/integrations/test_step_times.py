import numpy as np
import pytest

from adaptive_spec.integrations.step_times import StepTimes


def test_a_step_that_drafts_nothing_verifies() -> None:
    assert StepTimes().split(30.0, 1.0, 0.0) == (30.0, 0.0)


def test_the_first_steps_are_split_as_the_cost_model_has_it() -> None:
    assert StepTimes().split(30.0, 1.0, 0.5) == pytest.approx((20.0, 10.0))


def test_nothing_is_expected_before_anything_was_measured() -> None:
    times = StepTimes()
    assert times.expected_ms(1.0, 0.5) is None
    times.split(30.0, 1.0, 0.5)
    assert times.expected_ms(2.0, 1.0) == pytest.approx(60.0)


def test_steps_that_differ_tell_what_drafting_takes() -> None:
    """A draft token takes four times what the cost model has: 20 ms a pass, 8 ms a token."""
    rng, times = np.random.default_rng(0), StepTimes()
    for _ in range(200):
        tau = int(rng.integers(0, 7))
        measured = 20.0 + 8.0 * tau + rng.normal(0.0, 1.0)
        verifying, drafting = times.split(measured, 1.0, 0.1 * tau)
        assert verifying + drafting == pytest.approx(measured)
    verifying, drafting = times.split(44.0, 1.0, 0.3)
    assert verifying == pytest.approx(20.0, rel=0.1)
    assert drafting == pytest.approx(24.0, rel=0.1)


def test_no_part_is_below_zero() -> None:
    times = StepTimes()
    for tau in (0, 4, 0, 4):  # drafting seems to save time
        parts = times.split(30.0 - 5.0 * tau, 1.0, 0.1 * tau)
        assert min(parts) >= 0.0
