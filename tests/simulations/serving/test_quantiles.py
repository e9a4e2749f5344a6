"""Intervals of quantiles cover the truth as often as they say, and admit what they can't know."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import ConfigError
from adaptive_spec.simulations.serving import quantile_interval


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_the_value_is_the_order_statistic(samples: list[float], quantile: float) -> None:
    values = np.array(samples)
    interval = quantile_interval(values, quantile)
    assert interval.value == np.quantile(values, quantile, method="inverted_cdf")
    assert interval.low <= interval.value <= interval.high


@pytest.mark.parametrize(("quantile", "count"), [(0.5, 100), (0.95, 400), (0.99, 1000)])
def test_independent_samples_are_covered(quantile: float, count: int) -> None:
    generator = np.random.default_rng(1)
    truth = -math.log(1 - quantile)
    drawn = (quantile_interval(generator.exponential(size=count), quantile) for _ in range(400))
    covered = np.mean([low <= truth <= high for _, low, high in drawn])
    # 400 draws at 95 %: four standard errors are 4.4 %.
    assert covered >= 0.906


def test_dependent_samples_are_covered_too() -> None:
    """Each sample stands there ten times in a row: there is a tenth of the information."""
    generator = np.random.default_rng(1)
    truth = -math.log(0.1)
    drawn = (np.repeat(generator.exponential(size=100), 10) for _ in range(300))
    covered = np.mean(
        [low <= truth <= high for _, low, high in (quantile_interval(x, 0.9) for x in drawn)]
    )
    assert covered >= 0.88


def test_too_few_samples_bound_nothing_above() -> None:
    interval = quantile_interval(np.arange(50.0), 0.99)
    assert interval.value == 49
    assert interval.high == math.inf
    assert quantile_interval(np.ones(3), 0.05).low == -math.inf


def test_what_is_not_a_number_does_not_count() -> None:
    assert quantile_interval(np.array([math.nan, 1.0, 2.0]), 0.5).value == 1
    assert math.isnan(quantile_interval(np.array([math.nan]), 0.5).value)


@pytest.mark.parametrize("quantile", [0.0, 1.0, 1.5, math.nan])
def test_a_quantile_lies_between_0_and_1(quantile: float) -> None:
    with pytest.raises(ConfigError, match=r"quantile = .*between 0 and 1"):
        quantile_interval(np.ones(3), quantile)
