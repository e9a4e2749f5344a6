"""Typical acceptance is what it says: longer drafts, another distribution."""

import math

import pytest
import torch

from adaptive_spec import ConfigError
from adaptive_spec.decoding.verification import TypicalAcceptance
from adaptive_spec.decoding.verification.typical import typical_threshold
from tests.decoding.verification.naive import Tables, p_value, sampled_blocks


def test_it_is_lossy_and_says_so() -> None:
    p = Tables.random(5, 1)
    rule = TypicalAcceptance()
    blocks, accepted = sampled_blocks(rule, p, p, 2000)
    assert accepted.mean() > 1
    assert p_value(blocks, p) < 1e-9
    assert not rule.lossless
    assert not rule.tau_invariant
    assert rule.label == "typical:epsilon=0.09,delta=0.3 (lossy)"


def test_threshold_is_the_smaller_of_two() -> None:
    sure, unsure = torch.tensor([1.0, 0.0]), torch.full((64,), 1 / 64)
    assert float(typical_threshold(sure, 0.09, 0.3)) == pytest.approx(0.09)
    assert float(typical_threshold(unsure, 0.09, 0.3)) == pytest.approx(0.3 / 64)
    assert math.isclose(float(typical_threshold(unsure, 0.001, 0.3)), 0.001, rel_tol=1e-6)


@pytest.mark.parametrize("name", ["epsilon", "delta"])
def test_thresholds_out_of_range_are_refused(name: str) -> None:
    for value in (0.0, 1.0):
        with pytest.raises(ConfigError, match=name):
            TypicalAcceptance(**{name: value})  # type: ignore[arg-type]
