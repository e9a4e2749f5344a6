"""A policy is tried before it drives an engine: what fails at once is refused, not survived."""

import numpy as np

from adaptive_spec.controller import Controller
from adaptive_spec.errors import AdaptiveSpecError, ConfigError

_CYCLES = 4


def require_working(controller: Controller) -> None:
    """Drives a few cycles of two requests, which also compiles what is compiled at first use.

    Args:
      controller: one of its own, thrown away afterwards.

    Raises:
      ConfigError: the policy failed, with the reason.
    """
    name = type(controller.policy).__name__
    try:
        _try_out(controller)
    except Exception as error:
        if isinstance(error, AdaptiveSpecError):
            raise
        raise ConfigError(
            f"policy {name}: fails as soon as it is asked ({type(error).__name__}: {error}); take "
            "another, or have it pass adaptive_spec.testing.check_policy"
        ) from error


def _try_out(controller: Controller) -> None:
    rows = controller.admit(np.array([8, 16]), np.array([64, 64]))
    for cycle in range(_CYCLES):
        running = rows[controller.may_run(rows)]
        if not running.size:
            break
        plan = controller.decide(running)
        accepted = np.minimum(plan.tau, cycle)
        controller.observe(plan, plan.tau, accepted, accepted + 1, draft_ms=0.1, verify_ms=1.0)
    controller.release(rows)
