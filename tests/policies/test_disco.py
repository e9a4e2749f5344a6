"""DISCO's stopping, and the file of coefficients that it is given."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_spec import PolicySpecError, make_policy
from adaptive_spec.policies._head import DEFAULT_HEAD, read_head
from adaptive_spec.policies.disco import Disco
from adaptive_spec.registry import policy_spec
from tests.policies.driving import Inside

FEATURES = ["log_odds", "entropy", "log_margin", "log_depth"]

# sigmoid(2 tanh(1 - H - log(depth))): 1/2 where H + log(depth) = 1.
BY_HAND: dict[str, Any] = {
    "format": "adaptive-spec.head",
    "version": 1,
    "features": FEATURES,
    "mean": [0, 0, 0, 0],
    "scale": [1, 1, 1, 1],
    "hidden_weights": [[0.0], [-1.0], [0.0], [-1.0]],
    "hidden_bias": [1.0],
    "output_weights": [2.0],
    "output_bias": 0.0,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "head.json"
    path.write_text(json.dumps(BY_HAND), encoding="utf-8")
    return path


def said(*entropy: float) -> dict[str, list[float]]:
    even = [0.5] * len(entropy)
    return {"top1_probability": even, "entropy": list(entropy), "margin": even}


def test_the_network_by_hand(file: Path) -> None:
    # H = 0: sigmoid(2 tanh 1) = sigmoid(1.523188) = 0.821007; H = 1: 1/2.
    chance = read_head(file).acceptance(np.array([[3.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 0.0]]))
    assert chance.tolist() == pytest.approx([0.821007, 0.5], abs=1e-6)
    scaled = json.loads(file.read_text(encoding="utf-8"))
    scaled |= {"mean": [0, 2, 0, 0], "scale": [1, 4, 1, 1]}
    file.write_text(json.dumps(scaled), encoding="utf-8")
    # H = 6: (6 - 2) / 4 = 1 and again 1/2.
    assert float(read_head(file).acceptance(np.array([0.0, 6.0, 0.0, 0.0]))) == 0.5


def test_decisions_worked_by_hand(file: Path) -> None:
    policy = make_policy(f"disco:head={file},threshold=0.5")
    # Depths 1, 2, 3 add log 1 = 0, log 2 = 0.693, log 3 = 1.099 > 1: it stops after the third.
    assert Inside(policy).cycle(**said(0.9, 0.3, 0.0, 0.0)) == 3
    assert Inside(policy).cycle(**said(0.9, 0.4, 0.0, 0.0)) == 2
    assert Inside(policy).cycle(**said(1.1, 0.0)) == 1


def test_without_signals_it_drafts_on(file: Path) -> None:
    policy = make_policy(f"disco:head={file},threshold=0.5,tau=6")
    assert Inside(policy).cycle(entropy=[9.0] * 10) == 6


def test_the_head_that_comes_with_it_by_hand() -> None:
    head = read_head(DEFAULT_HEAD)
    assert head.fitted_on["verifier"] == "builtin"
    # A first token with q = 0.982, H = 0.2 and a margin of 5.05 logits: (4, 0.2, 1.8, 0), which is
    # (3.171, -2.060, 2.532, -0.593) standardised. The hidden units are at -0.4516, 0.4501, 0.7481,
    # 0.4505, 0.4502, 0.4509, 0.9969 and 0.4511. Weighed, the first seven come to 2.3773, the last
    # to 0.1855, and the bias is -0.1622: sigmoid(2.4006) = 0.9169.
    # One with q = 0.119, H = 4 and a margin of 0.105: standardised (-0.982, 0.583, -1.260, -0.593),
    # hidden 0.4055, -0.4067, -0.9957, -0.4061, -0.4065, -0.4051, -0.4350 and -0.4056. Weighed, the
    # first seven come to -1.9276, the last to -0.1668, with the bias: sigmoid(-2.2567) = 0.0948.
    features = np.array([[4.0, 0.2, 1.8, 0.0], [-2.0, 4.0, 0.1, 0.0]])
    assert head.acceptance(features).tolist() == pytest.approx([0.9169, 0.0948], abs=1e-4)


def test_its_spec_names_the_file(file: Path) -> None:
    spec = f"disco:head={file}"
    assert policy_spec(make_policy(spec)) == spec
    assert policy_spec(Disco()) == "disco"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "adaptive-spec.costs"}, "not a file written by `adaptive-spec fit-head`"),
        ({"version": 2}, "version 2 with features"),
        ({"features": ["entropy"]}, r"this release reads version 1 with \['log_odds', 'entropy'"),
        ({"hidden_bias": []}, "hidden_bias must be a list of 1 to 256 numbers"),
        ({"hidden_bias": 1.0}, "hidden_bias must be a list of 1 to 256 numbers"),
        ({"hidden_weights": [[0.0], [1.0]]}, "hidden_weights must hold finite numbers, 4 x 1"),
        ({"hidden_weights": [[0.0], [1.0, 2.0]]}, "hidden_weights must hold finite numbers"),
        ({"mean": [0, 0, 0, "x"]}, "mean must hold finite numbers, 4 of them"),
        ({"mean": [0, 0, 0, float("nan")]}, "mean must hold finite numbers, 4 of them"),
        ({"mean": [10**400, 0, 0, 0]}, "mean must hold finite numbers, 4 of them"),
        ({"mean": None}, "mean must hold finite numbers"),
        ({"scale": [1, 1, 1, 0]}, "scale must hold positive numbers"),
        ({"output_bias": [1.0]}, "output_bias must hold finite numbers, one of them"),
    ],
)
def test_malformed_heads_are_refused(file: Path, change: dict[str, Any], words: str) -> None:
    file.write_text(json.dumps(BY_HAND | change), encoding="utf-8")
    with pytest.raises(PolicySpecError, match=rf"disco: head '.*head.json': .*{words}"):
        make_policy(f"disco:head={file}")


@pytest.mark.parametrize("text", ["", "{", "[1]", '"head"', "[" * 100_000, "\xff"])
def test_files_that_are_something_else_are_refused(file: Path, text: str) -> None:
    file.write_text(text, encoding="latin-1")
    with pytest.raises(PolicySpecError, match=r"disco: head '.*head.json': not "):
        make_policy(f"disco:head={file}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicySpecError, match=r"gone.json': cannot be read \(No such file"):
        Disco(head=str(tmp_path / "gone.json"))


@pytest.mark.parametrize("spec", ["threshold=2", "tau=-1"])
def test_values_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(PolicySpecError, match=r"disco: \w+ = .*must be in"):
        make_policy(f"disco:{spec}")
