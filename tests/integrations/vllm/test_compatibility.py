"""What cannot be driven is refused when an engine starts, with the reason and the fix."""

import dataclasses
from typing import Any

import pytest

from adaptive_spec import ConfigError, ConstantCosts, make_policy
from adaptive_spec.constraints import Constraints, LatencyTarget, PassBudget
from adaptive_spec.integrations.configuration import Configuration
from adaptive_spec.integrations.vllm.compatibility import Engine, require_fitting, require_supported

ENGINE = Engine(version="0.32.0", method="draft_model", num_speculative_tokens=6)


def check(engine: Engine = ENGINE, configuration: Configuration = Configuration()) -> None:  # noqa: B008
    require_supported(engine)
    policy = make_policy(configuration.policy)
    costs = configuration.controller(policy, 6, engine.costs).costs
    require_fitting(engine, configuration, policy, costs)


@pytest.mark.parametrize("version", ["0.32.0", "0.32.1+cpu", "0.40.0rc1", "1.0"])
@pytest.mark.parametrize("method", ["ngram", "draft_model", "eagle3"])
def test_what_is_supported_passes(version: str, method: str) -> None:
    check(dataclasses.replace(ENGINE, version=version, method=method))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": "0.31.2"}, r"vLLM 0.31.2 is not supported; .*pip install"),
        ({"method": None}, "without speculation; give it a drafter"),
        ({"method": "dflash"}, "'dflash' is not supported; supported are draft_model, "),
        ({"parallel_drafting": True}, "parallel drafting is not supported; drop"),
        ({"adaptive_verification": True}, "one of the two must decide"),
        ({"pipeline_parallel_size": 2}, "pipeline_parallel_size = 2 is not supported"),
        ({"data_parallel_size": 2}, r"data_parallel_size = 2 .* one engine per replica"),
    ],
)
def test_engines_that_cannot_be_driven_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check(dataclasses.replace(ENGINE, **change))


def test_policies_that_look_inside_the_draft_are_refused() -> None:
    with pytest.raises(ConfigError, match="looks inside the draft"):
        check(configuration=Configuration(policy="svip"))


@pytest.mark.parametrize(
    "promised",
    [
        Constraints(PassBudget(max_passes=9)),
        Constraints(PassBudget(9.0, hard=True)),
        Constraints(latency=LatencyTarget(deadline_ms=100.0)),
    ],
)
def test_limits_are_refused_where_the_next_pass_has_begun(promised: Constraints) -> None:
    configuration = Configuration(constraints=promised, costs="draft=0.1,plain_ms=20")
    check(configuration=configuration)
    with pytest.raises(ConfigError, match="--no-async-scheduling"):
        check(dataclasses.replace(ENGINE, async_scheduling=True), configuration)
    soft = Configuration(constraints=Constraints(PassBudget(9.0)))
    check(dataclasses.replace(ENGINE, async_scheduling=True), soft)


def test_a_latency_target_needs_costs_in_milliseconds() -> None:
    promised = Constraints(latency=LatencyTarget(100.0))
    with pytest.raises(ConfigError, match="plain_ms=25"):
        check(configuration=Configuration(constraints=promised))


def test_drafts_at_hand_are_free() -> None:
    assert ENGINE.drafts_ahead
    assert ENGINE.costs == ConstantCosts(draft=0.125, verify=0.02)
    lookup = dataclasses.replace(ENGINE, method="ngram")
    assert not lookup.drafts_ahead
    assert lookup.costs == ConstantCosts(draft=0.0, verify=0.02)
