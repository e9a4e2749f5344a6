"""What was drafted, accepted and spent, written where an operator can read it."""

import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adaptive_spec._files import atomic_write
from adaptive_spec.errors import ConfigError
from adaptive_spec.integrations.safety import SafePolicy
from adaptive_spec.integrations.vllm.guard import Guard
from adaptive_spec.integrations.vllm.steering import Steering

_EVERY_S = 5.0


class Books:
    """Writes the books of a scheduler into a JSON file, now and then."""

    def __init__(
        self,
        path: str | None,
        steering: Steering,
        policy: SafePolicy,
        guard: Guard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Sets up, and writes the first ones; with a path of None nothing is written.

        Raises:
          ConfigError: they cannot be written there.
        """
        self._path = None if path is None else Path(path)
        self._steering = steering
        self._policy = policy
        self._guard = guard
        self._clock = clock
        self._written_s = -math.inf
        try:
            self.keep(at_once=True)
        except OSError as error:
            raise ConfigError(
                f"books = {path!r}: cannot be written ({error.strerror}); name a file in a folder "
                "that is there, or leave it out"
            ) from None

    def keep(self, *, at_once: bool) -> None:
        """Writes them if it is time to, or at once."""
        now = self._clock()
        if self._path is None or (now - self._written_s < _EVERY_S and not at_once):
            return
        self._written_s = now
        with atomic_write(self._path) as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")

    def as_dict(self) -> dict[str, Any]:
        """Totals, the ledger of every class, and why the policy decides no more."""
        failure = self._policy.failure
        return {
            **dataclasses.asdict(self._steering.totals),
            "ledgers": {
                name: ledger._asdict()
                for name, ledger in self._steering.driver.controller.ledgers.items()
            },
            "policy_ms": self._guard.spent_ms,
            "policy_failure": None if failure is None else f"{type(failure).__name__}: {failure}",
            "gave_up": self._guard.gave_up,
        }
