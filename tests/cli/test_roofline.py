import json
from pathlib import Path

import pytest

from adaptive_spec.cost_files import load_costs
from tests.cli.running import refuse, succeed
from tests.roofline.examples import LLAMA_8B

SIZES = ("--verifier-params", "70e9", "--drafter-params", "1e9")


def test_costs_of_hardware_that_is_not_there(lookup_trace: Path, tmp_path: Path) -> None:
    target = tmp_path / "costs.json"
    command = ("roofline", "--hardware", "h100", *SIZES, "--dtype", "bf16")
    shown = succeed(*command, "-o", target)
    assert "roofline of NVIDIA H100 SXM, bfloat16" in shown.out
    assert f"costs written to {target}" in shown.err
    # 140e9 bytes at 3350e9 a second.
    assert load_costs(target).plain_ms == pytest.approx(41.8, rel=0.01)
    report = succeed(
        "simulate", lookup_trace, "--costs", target, "-p", "fixed:tau=1", "--json", "-"
    ).json()
    assert report["costs"] == "roofline of NVIDIA H100 SXM, bfloat16"
    assert report["time_unit"] == "ms"


def test_what_is_shown_as_json() -> None:
    report = succeed("roofline", "--hardware", "h100", *SIZES, "--json", "-").json()
    first, *_, last = report["points"]
    assert first["batch_size"] == 1
    assert first["bound_by"] == "weights"
    assert first["draft"] == pytest.approx(first["draft_ms"] / first["plain_ms"])
    # The ridge of the device: operations for each byte, two operations for each weight's two bytes.
    assert first["ridge_tokens"] == pytest.approx(989e12 / 3.35e12, rel=0.05)
    assert first["verify_4"] < 0.01 < 1 < last["verify_4"]
    slow = succeed(*("roofline", "--bandwidth", 1, "--peak", 1e6, *SIZES, "--json", "-")).json()
    assert slow["points"][0]["ridge_tokens"] is None


def test_numbers_of_one_s_own_take_the_place_of_the_sheet_s() -> None:
    def plain_ms(*arguments: object) -> float:
        command = ("roofline", *arguments, "--verifier-params", "8e9", "--json", "-")
        return float(succeed(*command).json()["points"][0]["plain_ms"])

    sheet = plain_ms("--hardware", "h100")
    assert plain_ms("--hardware", "h100", "--bandwidth", 1675) == pytest.approx(2 * sheet, rel=0.01)
    own = ("--bandwidth", 3350, "--peak", 989, "--link", 450)
    assert plain_ms(*own) == sheet
    assert plain_ms(*own, "--kernel-us", 1000) > 100
    assert plain_ms(*own, "--weight-bits", 4) == pytest.approx(sheet / 4, rel=0.05)
    assert plain_ms(*own, "--tensor-parallel", 2) == pytest.approx(sheet / 2, rel=0.05)


def test_a_config_says_the_shape_and_a_number_the_size(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(LLAMA_8B), encoding="utf-8")
    for size, weights in (((), 7.5e9), (("--verifier-params", "8e9"), 8e9)):
        target = tmp_path / "costs.json"
        succeed(
            *("roofline", "--hardware", "h100", "--verifier-config", tmp_path, *size),
            *("--drafter-config", config, "-o", target),
        )
        costs = load_costs(target)
        assert costs.plain_ms == pytest.approx(2 * weights / 3.35e9, rel=0.01)
        assert costs.draft_step_ms[0, 0] == pytest.approx(2 * 7.5e9 / 3.35e9, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (SIZES, "--hardware: name one of a100, h100"),
        (("--hardware", "h100"), "give --verifier-params"),
        (("--hardware", "h10", *SIZES), "did you mean 'h100'"),
        (("--hardware", "a100", *SIZES, "--dtype", "fp8"), "no peak for float8"),
        (("--hardware", "a100", *SIZES, "--dtype", "int4"), "unknown dtype 'int4'"),
        (("--hardware", "a100", "--verifier-params", "70"), "weights = 70; allowed are"),
        (("--bandwidth", "1", *SIZES), "--bandwidth and --peak"),
        (("--bandwidth", "0", "--peak", "1", *SIZES), "bandwidth_gb_s = 0.0"),
        (("--bandwidth", "1", "--peak", "1", *SIZES, "--tensor-parallel", "2"), "give --link"),
        (("--hardware", "h100", *SIZES, "-o", "costs.txt"), "ends in .json"),
    ],
)
def test_what_is_missing_or_impossible_is_said(arguments: tuple[str, ...], words: str) -> None:
    assert words in refuse("roofline", *arguments)
