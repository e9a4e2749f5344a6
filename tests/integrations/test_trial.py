from typing import Any

import numpy as np
import pytest

from adaptive_spec import (
    ConfigError,
    ConstantCosts,
    Controller,
    PolicyContractError,
    make_policy,
    policy_names,
)
from adaptive_spec.constraints import Constraints, PassBudget
from adaptive_spec.integrations.trial import require_working
from tests.controller.driven import Stubborn


def controller(policy: Any, **options: Any) -> Controller:
    return Controller(policy, costs=ConstantCosts(), **options)


@pytest.mark.parametrize("name", policy_names())
def test_all_policies_that_there_are_pass(name: str) -> None:
    if name != "metasd":  # takes its arms from drafters
        require_working(controller(make_policy(name)))


def test_requests_that_may_take_one_pass_only_pass() -> None:
    constraints = Constraints(PassBudget(max_passes=1))
    require_working(controller(make_policy("fixed"), constraints=constraints))


def test_what_fails_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Stubborn: fails as soon .* \(ZeroDivisionError"):
        require_working(controller(Stubborn(lambda cycle: 1 // 0)))
    with pytest.raises(PolicyContractError, match="tau must be integers"):
        require_working(controller(Stubborn(lambda cycle: np.full(cycle.max_tau.shape, np.nan))))
