import math
from typing import Any

import pytest

from adaptive_spec import ConfigError, LatencyTarget, PassBudget


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"average_passes": 0}, "average_passes = 0; per request it must be at least 1"),
        ({"average_passes": 0.99}, "at least 1, for every request takes a pass"),
        ({"average_passes": math.nan}, "average_passes = nan"),
        ({"average_passes": math.inf}, "average_passes = inf"),
        ({"average_passes": 1.5, "per": "token"}, r"per token it must be in \(0, 1\]"),
        ({"average_passes": 0, "per": "token"}, "average_passes = 0"),
        ({"average_passes": 2, "per": "day"}, "per = 'day'; allowed are 'request' and 'token'"),
        ({"max_passes": 0}, "max_passes = 0"),
        ({"average_passes": 5, "max_passes": 3}, "could then never be reached"),
        ({"hard": True}, "hard = True needs average_passes"),
        ({"hard": True, "average_passes": 0.5, "per": "token"}, "hard = True needs"),
        ({"burst_passes": -1}, "burst_passes = -1"),
        ({"when_spent": "panic"}, "allowed are 'end' and 'carry-on'"),
        ({"patience": 0.0}, "patience = 0"),
        ({"price": -1.0}, "price = -1.0; it must be in 0..64 plain passes"),
        ({"price": 65.0}, "price = 65.0"),
        ({"price": math.nan}, "price = nan"),
        ({"price": 1.0, "average_passes": 2.0}, "an average sets its own price: give the one or"),
        ({"price": 1.0, "hard": True}, "hard = True needs average_passes"),
    ],
)
def test_absurd_budgets_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PassBudget(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "give target_ms, deadline_ms, or both"),
        ({"target_ms": -250}, "target_ms = -250; it must be above 0"),
        ({"target_ms": math.nan}, "target_ms = nan"),
        ({"deadline_ms": 0}, "deadline_ms = 0"),
        ({"target_ms": 250, "quantile": 1.5}, "quantile = 1.5; it must be in"),
        ({"target_ms": 250, "quantile": 1}, "0.95 for a p95 target"),
        ({"target_ms": 250, "deadline_ms": 200}, "deadline_ms = 200 is below target_ms = 250"),
        ({"target_ms": 250, "patience": -1}, "patience = -1"),
    ],
)
def test_absurd_targets_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LatencyTarget(**fields)
