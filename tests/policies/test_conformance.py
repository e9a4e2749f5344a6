"""Every installed policy, and every variant of it, has the properties that any policy must have."""

import importlib.metadata

import pytest

from adaptive_spec.registry import GROUP
from adaptive_spec.testing import check_policy
from tests.policies.driving import use_numba

VARIANTS = {
    "fixed": ["fixed", "fixed:tau=0", "fixed:tau=7", "fixed:tau=3,fallback=true"],
    "ewma": ["ewma", "ewma:smoothing=1.0,margin=0", "ewma:smoothing=0.3,margin=4,initial=0"],
    "bandit": [
        f"bandit:algorithm={algorithm},scope={scope}"
        for algorithm in ("ucb1", "ucb-tuned", "thompson", "exp3")
        for scope in ("shared", "sequence")
    ],
    "cascade": ["cascade", "cascade:taus=3/1,test_cycles=1,set_cycles=2,longest_pause=3"],
    "gammatune": ["gammatune", "gammatune:least=2,most=4,step=0,smoothing=1"],
    "gammatune-plus": ["gammatune-plus"],
    "sglang-throughput": [
        "sglang-throughput",
        "sglang-throughput:tiers=1/2/9,window=2,interval=1,hysteresis=0.1",
    ],
    "sglang-tiers": ["sglang-tiers", "sglang-tiers:tiers=0/2/9,initial=0,warmup=0,interval=1"],
    "smartspec": ["smartspec", "smartspec:initial=1,smoothing=1"],
    "tensorrt-gate": ["tensorrt-gate", "tensorrt-gate:window=2,threshold=0.5"],
    "vllm-table": ["vllm-table", "vllm-table:batch_sizes=1/2/4,taus=9/0/1024"],
    "heuristic": ["heuristic", "heuristic:initial=1,scope=sequence"],
    "confidence": ["confidence", "confidence:threshold=0.9,tau=3", "confidence:adapt=false"],
    "svip": ["svip", "svip:tau=0"],
    "adaedl": ["adaedl", "adaedl:threshold=0.01,target=0.3,tau=30"],
    "draft-verify": ["draft-verify", "draft-verify:threshold=1.0"],
    "specdec-pp": ["specdec-pp", "specdec-pp:threshold=0.9,least_tau=1,discount=0.5,prior=0.01"],
    "disco": ["disco", "disco:threshold=0.05,tau=5"],
    "ucbspec": ["ucbspec", "ucbspec:arms=0/3/40,delta=1"],
    "exp3spec": ["exp3spec", "exp3spec:arms=5"],
    "tapout": ["tapout", "tapout:tau=4,alpha=1"],
    "metasd": ["metasd", "metasd:tau=7,beta=0.1"],
    "nightjar": ["nightjar", "nightjar:longest=2,switch=0"],
    "hazard": ["hazard", "hazard:scope=sequence,depths=2,discount=1,probe=1"],
    "marginal": ["marginal", "marginal:memory=1,upkeep=0.9,evidence=drafts,inside=false"],
    "portfolio": [
        "portfolio",
        "portfolio:experts=,confidence=0",
        "portfolio:experts=hazard/fixed:tau=12/nightjar/tapout/gammatune-plus,confidence=0,memory=20",
    ],
    "auto": ["auto"],
}

WITH_LOOPS = ("marginal", "portfolio")
"""Policies whose inner loops numba compiles where it is installed."""


def test_every_built_in_policy_is_tried() -> None:
    points = importlib.metadata.entry_points(group=GROUP)
    built_in = {point.name for point in points if point.module.startswith("adaptive_spec.")}
    assert built_in == set(VARIANTS)


@pytest.mark.parametrize("spec", [spec for specs in VARIANTS.values() for spec in specs])
def test_policy_passes_check_policy(spec: str) -> None:
    check_policy(spec)


@pytest.mark.parametrize("spec", WITH_LOOPS)
def test_policy_passes_check_policy_without_numba(
    spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_numba(monkeypatch, False)
    check_policy(spec)
