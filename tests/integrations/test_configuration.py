from pathlib import Path
from typing import Any

import pytest

from adaptive_spec import ConfigError, ConstantCosts, PolicySpecError, make_policy
from adaptive_spec.constraints import Constraints, LatencyTarget, PassBudget
from adaptive_spec.integrations.configuration import Configuration, read_configuration
from adaptive_spec.operations.split import Split

TOML = """
[other]
unrelated = 1

[adaptive_spec]
policy = "ewma:smoothing=0.3"
widths = [0, 2, 4]

[adaptive_spec.classes.paid]
latency = {target_ms = 900, quantile = 0.9}

[adaptive_spec.classes.free]
budget = {average_passes = 20, patience = 4.0}
"""


def test_a_file_and_a_table_say_the_same() -> None:
    assert read_configuration({}, {}) == Configuration()
    table = {"adaptive_spec": {"constraints": {"budget": {"average_passes": 20, "hard": True}}}}
    found = read_configuration({"gdn_prefill_backend": "x", **table}, {})
    assert found.by_class.constraints == (Constraints(PassBudget(20.0, hard=True)),)


def test_a_table_goes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(TOML, encoding="utf-8")
    environ = {"ADAPTIVE_SPEC_CONFIG": str(path)}
    found = read_configuration(None, environ)
    assert found.policy == "ewma:smoothing=0.3"
    assert found.widths == (0, 2, 4)
    assert found.by_class.names == ("paid", "free")
    assert found.classes["paid"].latency == LatencyTarget(900.0, quantile=0.9)
    changed = read_configuration({"adaptive_spec": {"policy": "auto"}}, environ)
    assert changed.policy == "auto"
    assert changed.classes == found.classes


def test_a_trial_and_all_else_around_a_policy_is_configured(tmp_path: Path) -> None:
    operation = {"logs": True, "trial": "fixed:tau=2", "trial_share": 0.5, "trial_salt": "x"}
    table = {"adaptive_spec": {"policy": "ewma", "operation": operation}}
    found = read_configuration(table, {})
    policy = found.make_policy(4)
    assert policy == Split(make_policy("ewma"), make_policy("fixed:tau=2"), 0.5, "x")
    assert found.controller(policy, 4, ConstantCosts()).policy is policy
    with pytest.raises(ConfigError, match="trial = 'fixed:tau=2' has tau = 2, and the engine dra"):
        found.make_policy(1)
    wrong = {"adaptive_spec": {"operation": {"trial_share": 3}}}
    with pytest.raises(ConfigError, match=r"operation: trial_share = 3\.0; it must be in \[0, 1\]"):
        read_configuration(wrong, {})


def test_a_file_may_be_all_its_own(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text("policy = 'fixed:tau=2'\nseed = 3\n", encoding="utf-8")
    found = read_configuration(None, {"ADAPTIVE_SPEC_CONFIG": str(path)})
    assert found == Configuration(policy="fixed:tau=2", seed=3)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"polcy": "auto"}, "unknown field 'polcy'; .* did you mean 'policy'"),
        ({"policy": 3}, "policy = 3; expected text"),
        ({"seed": True}, "seed = True; expected an integer"),
        ({"seed": -1}, "seed = -1; it must be 0 or more"),
        ({"widths": 3}, "widths = 3; expected a list"),
        ({"widths": [0, "a"]}, "widths = 'a'; expected an integer"),
        ({"decision_limit_ms": 0}, "decision_limit_ms = 0.0; it must be above 0"),
        ({"constraints": 5}, "constraints: 5; expected a table"),
        ({"constraints": {"budget": {"per": "day"}}}, "per = 'day'; allowed are 'request'"),
        (
            {"constraints": {"budget": {"average_passes": 0}}},
            "adaptive_spec: constraints: budget: average_passes = 0.0; per request",
        ),
        ({"classes": {"a": {"latency": {}}}}, "classes: a: latency: give target_ms"),
        ({"classes": 1}, "classes = 1; expected a table"),
        (
            {"classes": {"a": {}}, "constraints": {"budget": {"average_passes": 2}}},
            "constraints and classes: both are given",
        ),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_configuration({"adaptive_spec": given}, {})


def test_a_section_that_is_no_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a table"):
        read_configuration({"adaptive_spec": "auto"}, {})


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_configuration(None, {"ADAPTIVE_SPEC_CONFIG": str(path)})
    path.write_text("policy = ", encoding="utf-8")
    with pytest.raises(ConfigError, match="not TOML"):
        read_configuration(None, {"ADAPTIVE_SPEC_CONFIG": str(path)})


@pytest.mark.parametrize(
    "fields", [{"policy": "fixed:tau=7"}, {"max_draft_tokens": 7}, {"widths": (0, 7)}]
)
def test_drafts_longer_than_the_engine_s_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="= 7, and the engine drafts 6 tokens at most"):
        Configuration(**fields).make_policy(6)
    Configuration(**fields).make_policy(7)


def test_a_policy_that_there_is_not_is_refused() -> None:
    with pytest.raises(PolicySpecError, match="did you mean 'auto'"):
        Configuration(policy="autop").make_policy(4)


def test_a_controller_is_made_as_configured() -> None:
    configuration = Configuration(
        policy="fixed:tau=2",
        costs="draft=0.3",
        max_draft_tokens=4,
        classes={"a": Constraints(), "b": Constraints()},
    )
    controller = configuration.controller(configuration.make_policy(6), 6, ConstantCosts())
    assert controller.max_draft_tokens == 4
    assert controller.costs == ConstantCosts(draft=0.3)
    assert controller.constraints.names == ("a", "b")
    without = Configuration(policy="fixed:tau=2")
    controller = without.controller(without.make_policy(6), 6, ConstantCosts(draft=0.7))
    assert controller.max_draft_tokens == 6
    assert controller.costs == ConstantCosts(draft=0.7)
