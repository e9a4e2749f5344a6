"""The table of devices, and numbers of one's own."""

import dataclasses
import math
from typing import Any

import pytest

from adaptive_spec import CostsError
from adaptive_spec.roofline import HARDWARE, hardware_named
from tests.roofline.examples import ROUND


@pytest.mark.parametrize("name", HARDWARE)
def test_peaks_fall_with_the_size_of_numbers(name: str) -> None:
    device = hardware_named(name)
    assert device.peak("float32") < device.peak("float16") == device.peak("bfloat16")
    if "float8" in device.peak_tflops:
        assert device.peak("float8") == pytest.approx(2 * device.peak("float16"), rel=0.02)
    # Decoding one sequence is bound by memory on all of them: that is why drafts pay.
    assert device.peak("bfloat16") / (device.bandwidth_gb_s * 1e9) > 50


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(CostsError, match="did you mean 'h100'"):
        hardware_named("h1000")
    with pytest.raises(CostsError, match="A100 SXM 80GB has no peak for float8; it has float32, "):
        hardware_named("a100").peak("float8")
    with pytest.raises(CostsError, match="unknown dtype 'float7'"):
        hardware_named("a100").peak("float7")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bandwidth_gb_s": 0.0}, "bandwidth_gb_s = 0"),
        ({"bandwidth_gb_s": math.nan}, "bandwidth_gb_s = nan"),
        ({"link_gb_s": -1.0}, "link_gb_s = -1"),
        ({"kernel_us": -1.0}, "kernel_us = -1"),
        ({"kernel_us": math.inf}, "kernel_us = inf"),
        ({"peak_tflops": {"float16": 0.0}}, "peak_tflops of float16 = 0"),
        ({"peak_tflops": {"int3": 1.0}}, "unknown dtype 'int3'"),
    ],
)
def test_impossible_devices_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CostsError, match=words):
        dataclasses.replace(ROUND, **changes)
