from pathlib import Path

import pytest

from adaptive_spec import policy_names
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.simulations.evidence.eligible import eligible
from adaptive_spec.simulations.evidence.subjects import Subject, subjects_of
from tests.cli.third_party import install
from tests.simulations.evidence.examples import lookup_and_model, varied
from tests.traces.examples import example_trace


def subject() -> Subject:
    return subjects_of([lookup_and_model(8)], ["models/small"])[0]


def test_all_that_are_installed_unless_named() -> None:
    fit, unfit = eligible(subject(), None, 3)
    assert sorted([*fit, *(one.policy for one in unfit)]) == policy_names()
    assert {"ewma", "svip", "tapout"} <= set(fit)
    assert eligible(subject(), ["ewma", "fixed:tau=2", "ewma"], 3) == (["ewma", "fixed:tau=2"], [])


def test_signals_that_the_drafter_lacks() -> None:
    lookup = subjects_of([lookup_and_model(8)], ["lookup"])[0]
    fit, unfit = eligible(lookup, ["ewma", "svip", "tapout"], 3)
    assert fit == ["ewma"]
    reasons = {one.policy: one.reason for one in unfit}
    assert reasons["svip"] == "needs the drafter's entropy, which the trace does not hold"
    assert "top1 probability and entropy and margin" in reasons["tapout"]
    [silent] = subjects_of([varied()])
    assert eligible(silent, ["svip"], 3)[0] == []
    together = subjects_of([lookup_and_model(8)])[0]
    assert eligible(together, ["svip"], 3)[0] == ["svip"]  # one of its drafters has it


def test_signals_of_drafts_too_short() -> None:
    assert eligible(subject(), ["svip"], 4)[0] == ["svip"]
    [one] = eligible(subject(), ["svip"], 5)[1]
    assert "signals of drafts up to 4 tokens" in one.reason


def test_a_head_of_another_drafter() -> None:
    [one] = eligible(subject(), None, 3)[1]
    assert one.policy == "disco"
    assert "`--policy disco:head=FILE`" in one.reason
    assert eligible(subject(), ["disco"], 3)[0] == ["disco"]  # asked for by name
    trace = example_trace("token", 8)
    object.__setattr__(trace.info, "drafter", "builtin")
    [builtin] = subjects_of([trace])
    assert "disco" in eligible(builtin, None, 3)[0]


def test_a_broken_package_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, {"broken-rule": "rule_e:Missing"}, "rule_e")
    fit, unfit = eligible(subject(), None, 3)
    assert "ewma" in fit
    [reason] = [one.reason for one in unfit if one.policy == "broken-rule"]
    assert reason.startswith("cannot be built with its defaults")
    with pytest.raises(PolicySpecError, match="broken-rule"):
        eligible(subject(), ["broken-rule"], 3)
