import pytest

from adaptive_spec import PolicySpecError, make_policy
from adaptive_spec.policies.svip import Svip
from tests.policies.driving import Inside


def test_decisions_worked_by_hand() -> None:
    # sqrt(0.15 H) > 0.3 where H > 0.09 / 0.15 = 0.6 nats.
    sequence = Inside(Svip())
    assert sequence.cycle(entropy=[0.1, 0.59, 0.61, 0.0]) == 3
    assert sequence.cycle(entropy=[2.0, 0.0]) == 1
    assert sequence.cycle(entropy=[0.5] * 10) == 10
    # sqrt(0.5 H) > 0.5 where H > 0.25 / 0.5 = 0.5 nats.
    assert Inside(Svip(threshold=0.5, coefficient=0.5)).cycle(entropy=[0.49, 0.51, 0.0]) == 2


def test_its_cap() -> None:
    assert Inside(Svip(), max_draft_tokens=60).cycle(entropy=[0.0] * 60) == 40


def test_without_a_signal_it_drafts_on() -> None:
    assert Inside(Svip()).cycle(top1_probability=[0.01] * 10) == 10


@pytest.mark.parametrize("spec", ["threshold=-0.1", "coefficient=nan", "tau=-1"])
def test_values_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(PolicySpecError, match=r"svip: \w+ = .*must be in"):
        make_policy(f"svip:{spec}")
