"""Hold a policy to what every policy must do: ``check_policy`` and strategies for your own tests.

``strategies`` needs hypothesis and is imported on first use.
"""

from adaptive_spec.testing.checks import PolicyCheckError, check_history, check_policy
from adaptive_spec.testing.histories import Arrive, History, Leave, Play, Run, Step, play

__all__ = [
    "Arrive",
    "History",
    "Leave",
    "Play",
    "PolicyCheckError",
    "Run",
    "Step",
    "check_history",
    "check_policy",
    "play",
]
