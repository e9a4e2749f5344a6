"""Costs of rooflines: on the grid and between its points, and as a file."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import CostsError
from adaptive_spec.cost_files import load_costs, save_costs
from adaptive_spec.roofline import Placement, Transformer, hardware_named, roofline_costs
from adaptive_spec.roofline.curves import BATCH_SIZES, CONTEXTS

VERIFIER, DRAFTER = Transformer.of_size(70e9), Transformer.of_size(1e9)
PLACED = Placement(hardware_named("h100"), devices=4)
COSTS = roofline_costs(VERIFIER, DRAFTER, PLACED)


@given(st.sampled_from(BATCH_SIZES), st.sampled_from(CONTEXTS), st.integers(0, 16))
def test_points_of_the_grid_are_met(batch: int, context: int, tau: int) -> None:
    at = batch, np.array([context])
    exact = PLACED.pass_times(VERIFIER, batch, context, tau + 1).total_ms
    assert COSTS.verify_ms(np.array([tau]), *at)[0] == pytest.approx(exact)
    step = PLACED.pass_times(DRAFTER, batch, context, 1).total_ms
    catching_up = PLACED.pass_times(DRAFTER, batch, context, 2).total_ms - step
    drafting = (tau > 0) * catching_up + tau * step
    assert COSTS.draft_ms(np.array([tau]), *at)[0] == pytest.approx(float(drafting))


@given(st.integers(1, 512), st.integers(1, 131072), st.integers(0, 1024))
def test_between_them_times_are_nearly_so(batch: int, context: int, tau: int) -> None:
    found = COSTS.verify_ms(np.array([tau]), batch, np.array([context]))[0]
    exact = PLACED.pass_times(VERIFIER, batch, context, tau + 1).total_ms
    assert found == pytest.approx(exact, rel=0.1)
    assert found >= exact * (1 - 1e-9)


def test_lookups_cost_nothing() -> None:
    at = np.array([5]), 4, np.array([100])
    assert COSTS.of_drafter("lookup:max_ngram=3").draft_ms(*at) == 0
    assert COSTS.of_drafter("a model").draft_ms(*at) > 0
    assert roofline_costs(VERIFIER, None, PLACED).draft_ms(*at) == 0


def test_the_drafter_may_run_elsewhere() -> None:
    alone = dataclasses.replace(PLACED, devices=1)
    costs = roofline_costs(VERIFIER, DRAFTER, PLACED, alone)
    np.testing.assert_array_equal(costs.verify_grid_ms, COSTS.verify_grid_ms)
    expected = alone.pass_times(DRAFTER, 1, 1, 1).total_ms
    assert costs.draft_step_ms[0, 0] == pytest.approx(float(expected))


def test_the_file_says_where_they_come_from(tmp_path: Path) -> None:
    save_costs(COSTS, tmp_path / "costs.json")
    again = load_costs(tmp_path / "costs.json")
    assert str(again) == str(COSTS) == "roofline of 4 x NVIDIA H100 SXM, bfloat16"
    np.testing.assert_array_equal(again.verify_grid_ms, COSTS.verify_grid_ms)


def test_grids_must_be_of_tokens_and_sequences() -> None:
    with pytest.raises(CostsError, match=r"contexts = \[0\]; all must be at least 1"):
        roofline_costs(VERIFIER, None, PLACED, contexts=[0])
    with pytest.raises(CostsError, match="must be increasing"):
        roofline_costs(VERIFIER, None, PLACED, contexts=[5, 4])
