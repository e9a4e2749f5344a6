"""Every installed policy, and every variant of it, has the properties that any policy must have."""

import pytest

from adaptive_spec import policy_names
from adaptive_spec.testing import check_policy

VARIANTS = {
    "fixed": ["fixed", "fixed:tau=0", "fixed:tau=7", "fixed:tau=3,fallback=true"],
    "ewma": ["ewma", "ewma:smoothing=1.0,margin=0", "ewma:smoothing=0.3,margin=4,initial=0"],
    "bandit": [
        f"bandit:algorithm={algorithm},scope={scope}"
        for algorithm in ("ucb1", "ucb-tuned", "thompson", "exp3")
        for scope in ("shared", "sequence")
    ],
    "ucbspec": ["ucbspec", "ucbspec:arms=0/3/40,delta=1"],
    "exp3spec": ["exp3spec", "exp3spec:arms=5"],
    "tapout": ["tapout", "tapout:tau=4,alpha=1"],
    "metasd": ["metasd", "metasd:tau=7,beta=0.1"],
    "nightjar": ["nightjar", "nightjar:longest=2,switch=0"],
    "hazard": ["hazard", "hazard:scope=sequence,depths=2,discount=1,probe=1"],
}


def test_every_built_in_policy_is_tried() -> None:
    assert set(policy_names()) >= set(VARIANTS)
    built_in = {name for name in policy_names() if name in VARIANTS}
    assert built_in == set(VARIANTS)


@pytest.mark.parametrize("spec", [spec for specs in VARIANTS.values() for spec in specs])
def test_policy_passes_check_policy(spec: str) -> None:
    check_policy(spec)
