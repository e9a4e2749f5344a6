"""Specs, and policies found by name, third-party ones among them."""

from pathlib import Path

import pytest

from adaptive_spec import Policy, PolicySpecError, make_policy, policy_names
from adaptive_spec.policies.bandit import Bandit
from adaptive_spec.policies.ewma import Ewma
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.registry import policy_class, policy_spec, summary


def test_specs_build_policies() -> None:
    assert make_policy("ewma:smoothing=0.3,margin=1") == Ewma(smoothing=0.3, margin=1)
    assert make_policy(" fixed : tau = 0 ".replace(" ", "")) == Fixed(0)
    assert make_policy("fixed:tau=2,fallback=true") == Fixed(2, fallback=True)
    assert make_policy("bandit:algorithm=exp3,arms=0/4/8") == Bandit("exp3", (0, 4, 8))
    assert make_policy("fixed:") == Fixed()


def test_a_policy_is_passed_through() -> None:
    policy = Fixed(5)
    assert make_policy(policy) is policy


def test_a_class_is_not_a_policy() -> None:
    with pytest.raises(PolicySpecError, match="or an instance of a Policy"):
        make_policy(Fixed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "policy",
    [Fixed(), Fixed(7, True), Ewma(0.25, 0, 3.5), Bandit("thompson", (0, 3), scope="sequence")],
)
def test_specs_round_trip(policy: Policy[object, object]) -> None:
    assert make_policy(policy_spec(policy)) == policy


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing", "unknown policy 'nothing'; there are: adaedl, auto, bandit, "),
        ("", "unknown policy ''"),
        ("emwa", "did you mean 'ewma'"),
        ("fixed:t=3", "unknown field 't'; allowed are tau, fallback"),
        ("fixed:tau=three", "tau = 'three'; expected an integer"),
        ("fixed:tau=1.5", "expected an integer"),
        ("fixed:fallback=maybe", "expected true or false"),
        ("fixed:tau", "not a field=value"),
        ("fixed:tau=1,tau=2", "given twice"),
        ("ewma:smoothing=x", "expected a number"),
        ("fixed:tau=99999999999999999999", "tau = 9+; allowed"),
        ("bandit:arms=0/99999999999999999999", "at most 1024"),
        ("ewma:initial=1e17", "must be in 0..1024"),
        ("bandit:arms=0,1", "'1' is not a field=value"),
        ("bandit:arms=0/x", "integers separated by /"),
    ],
)
def test_wrong_specs_are_refused_with_what_there_is(spec: str, message: str) -> None:
    with pytest.raises(PolicySpecError, match=message):
        make_policy(spec)


THIRD_PARTY = '''
from dataclasses import dataclass
from adaptive_spec import Decision, Empty, Policy, State

@dataclass(frozen=True)
class Half(Policy[Empty, Empty]):
    """Drafts half of what is allowed."""

    share: float = 0.5

    def init(self, num_sequences, seed):
        return State(Empty(), Empty())

    def decide(self, state, cycle):
        return Decision(cycle.clip((cycle.max_tau * self.share).astype(int)))

    def update(self, state, outcome):
        return state

not_a_policy = 3
'''


def install(folder: Path, entry_points: str) -> None:
    """What pip leaves behind: a module, and metadata with its entry points."""
    (folder / "third_party_policies.py").write_text(THIRD_PARTY)
    metadata = folder / "third_party-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[adaptive_spec.policies]\n{entry_points}\n")


def test_a_third_party_policy_is_one_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adaptive_spec.testing import check_policy

    install(tmp_path, "half = third_party_policies:Half")
    monkeypatch.syspath_prepend(tmp_path)
    assert "half" in policy_names()
    policy = make_policy("half:share=0.25")
    assert summary(type(policy)) == "Drafts half of what is allowed."
    assert policy_spec(policy) == "half:share=0.25"
    check_policy(policy, max_examples=10)
    policy_class.cache_clear()


@pytest.mark.parametrize(
    ("entry_point", "message"),
    [
        ("broken = nowhere_to_be_found:X", "cannot be loaded"),
        ("broken = third_party_policies:not_a_policy", "not a dataclass derived from"),
    ],
)
def test_broken_third_party_policies_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry_point: str, message: str
) -> None:
    install(tmp_path, entry_point)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PolicySpecError, match=f"policy 'broken': .*{message}"):
        make_policy("broken")


def test_a_name_claimed_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "ewma = third_party_policies:Half")
    monkeypatch.syspath_prepend(tmp_path)
    policy_class.cache_clear()
    with pytest.raises(PolicySpecError, match="registered more than once"):
        make_policy("ewma")
    policy_class.cache_clear()
