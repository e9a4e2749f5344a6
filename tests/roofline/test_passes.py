"""Times of passes, against hand-made sums and what must hold of any roofline."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import CostsError
from adaptive_spec.roofline import Placement, Transformer, hardware_named
from tests.roofline.examples import LLAMA_8B, ROUND

MODEL = Transformer.of_config(LLAMA_8B)
PLACED = Placement(ROUND)

sizes = st.tuples(st.integers(1, 256), st.integers(1, 100_000), st.integers(1, 300))
placements = st.builds(
    lambda device, bits, devices: Placement(hardware_named(device), "float16", bits, devices),
    st.sampled_from(["a100", "h100", "l4", "rtx4090"]),
    st.sampled_from([None, 4, 8]),
    st.integers(1, 8),
)


def test_a_pass_by_hand() -> None:
    batch, context, width = 3, 1000, 5
    times = PLACED.pass_times(MODEL, batch, context, width)
    activations = 32 * (4 * 4096 + 2 * 4096 + 2 * 1024 + 3 * 14336) + 4096 + 128256
    assert times.weights_ms == pytest.approx(2 * (MODEL.weights + 15 * activations) / 1e9)
    assert times.arithmetic_ms == pytest.approx(2 * 15 * MODEL.weights / 1e11)
    assert times.kv_cache_ms == pytest.approx(3 * 1005 * (2 * 32 * 1024) * 2 / 1e9)
    seen = 3 * sum(context + i for i in range(1, width + 1))  # keys that the queries meet
    assert times.attention_ms == pytest.approx(4 * 32 * 4096 * seen / 1e11)
    assert times.links_ms == times.launches_ms == 0
    assert times.total_ms == pytest.approx(float(times.weights_ms + times.kv_cache_ms))
    assert times.bound_by() == "weights"


def test_a_plain_pass_reads_all_weights_and_a_short_block_costs_hardly_more() -> None:
    """Leviathan et al. (2023), section 3.4, take verifying to cost a plain pass."""
    placed = Placement(hardware_named("h100"))
    plain, block = placed.pass_times(MODEL, 1, 1024, np.array([1, 5])).total_ms
    assert plain == pytest.approx(2 * MODEL.weights / 3.35e9, rel=0.02)
    assert block == pytest.approx(plain, rel=0.01)


@pytest.mark.parametrize(
    ("batch", "context", "width", "bound"),
    [(1, 100, 1, "weights"), (64, 50_000, 1, "KV cache"), (64, 100, 32, "arithmetic")],
)
def test_what_binds(batch: int, context: int, width: int, bound: str) -> None:
    assert PLACED.pass_times(MODEL, batch, context, width).bound_by() == bound


def test_launches_are_a_floor() -> None:
    small = Transformer.of_size(1e6)
    slow = Placement(dataclasses.replace(ROUND, kernel_us=10.0))
    times = slow.pass_times(small, 1, 10, np.array([1, 8]))
    kernels = small.layers * 10 + 4
    np.testing.assert_allclose(times.total_ms, kernels * 0.01)
    assert slow.pass_times(small, 1, 10, 1).bound_by() == "launches"


def test_devices_share_all_but_the_links() -> None:
    four = Placement(ROUND, devices=4).pass_times(MODEL, 8, 4000, 3)
    one = PLACED.pass_times(MODEL, 8, 4000, 3)
    for name in ("weights_ms", "arithmetic_ms", "kv_cache_ms", "attention_ms"):
        assert getattr(four, name) == pytest.approx(getattr(one, name) / 4)
    # Twice a layer 24 vectors of 4096 numbers, each sent one and a half times, at 100 GB/s.
    assert four.links_ms == pytest.approx(2 * 32 * 24 * 4096 * 2 * 1.5 / 1e8)
    assert four.total_ms == pytest.approx(float(one.total_ms) / 4 + float(four.links_ms))


def test_smaller_weights_are_read_quicker_and_multiplied_alike() -> None:
    quarter = Placement(ROUND, weight_bits=4).pass_times(MODEL, 1, 100, 1)
    whole = PLACED.pass_times(MODEL, 1, 100, 1)
    assert quarter.weights_ms == pytest.approx(float(whole.weights_ms) / 4, rel=0.01)
    assert quarter.arithmetic_ms == whole.arithmetic_ms


@given(placements, sizes, sizes)
def test_more_work_never_takes_less(
    placed: Placement, some: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    less, more = np.minimum(some, other), np.maximum(some, other)
    least, most = (placed.pass_times(MODEL, *work).total_ms for work in (less, more))
    assert 0 < least <= most


@given(placements, sizes, st.floats(0.1, 10))
def test_a_device_so_many_times_as_fast_takes_so_much_less(
    placed: Placement, work: tuple[int, int, int], factor: float
) -> None:
    device = placed.hardware
    faster = dataclasses.replace(
        device,
        peak_tflops={name: factor * peak for name, peak in device.peak_tflops.items()},
        bandwidth_gb_s=factor * device.bandwidth_gb_s,
        link_gb_s=factor * device.link_gb_s,
        kernel_us=device.kernel_us / factor,
    )
    before = placed.pass_times(MODEL, *work).total_ms
    after = dataclasses.replace(placed, hardware=faster).pass_times(MODEL, *work).total_ms
    assert after * factor == pytest.approx(before)


def test_impossible_placements_are_refused() -> None:
    for changes, words in (
        ({"dtype": "float32"}, "round has no peak for float32"),
        ({"weight_bits": 0.5}, "weight_bits = 0.5"),
        ({"devices": 0}, "devices = 0"),
    ):
        with pytest.raises(CostsError, match=words):
            dataclasses.replace(PLACED, **changes)
