import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adaptive_spec.simulations.bootstrap import resampled_sums
from adaptive_spec.simulations.significance import LEVEL, holm, significance


def told(value: float, low: float, high: float) -> np.ndarray:
    """A ratio whose resamples are evenly spread."""
    return np.concatenate([[value], np.linspace(low, high, 2000)])


def test_what_is_said_of_a_ratio() -> None:
    ratios = [
        told(1.05, 1.02, 1.08),
        told(0.9, 0.85, 0.95),
        told(1.0, 0.995, 1.004),
        told(1.02, 0.98, 1.06),
        told(1.005, 1.002, 1.008),
        np.array([np.nan] * 5),
    ]
    found = significance(ratios)
    assert [str(one) for one in found] == ["faster", "slower", "same", "open", "faster <1%", "None"]


def test_what_was_drawn_without_anything_emitted_does_not_count() -> None:
    ratio = told(1.05, 1.02, 1.08)
    ratio[1::2] = np.nan
    (one,) = significance([ratio])
    assert one is not None
    assert one.p_value == pytest.approx(2 / 1001)


def test_a_constant_like_the_best_is_the_same() -> None:
    (one,) = significance([np.ones(101)])
    assert one is not None
    assert (one.p_value, str(one)) == (1.0, "same")


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_holm_equals_its_definition(p_values: list[float]) -> None:
    corrected = holm(p_values)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for rank, i in enumerate(order):
        steps = [(len(p_values) - j) * p_values[order[j]] for j in range(rank + 1)]
        assert corrected[i] == pytest.approx(min(max(steps), 1.0))


def test_false_alarms_are_as_rare_as_promised() -> None:
    """Of eight policies that are no different, one is called so in at most ``LEVEL`` of all looks.

    150 looks at 80 prompts; the test fails by chance once in a thousand times where that is so.
    """
    generator = np.random.default_rng(0)
    looks, alarms = 150, 0
    for _ in range(looks):
        static = generator.gamma(20.0, size=(80, 1))
        own = static * generator.lognormal(-0.005, 0.1, size=(80, 8))
        values = np.concatenate([static, own], axis=1)
        sums = np.concatenate([[values.sum(0)], resampled_sums(values, 1000, generator)])
        found = significance([sums[:, 0] / sums[:, 1 + i] for i in range(8)])
        alarms += any(one is not None and one.p_value < LEVEL for one in found)
    assert alarms <= stats.binom.ppf(0.999, looks, LEVEL)
