"""Whatever fails beside the engine must not fail the engine."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

_log = logging.getLogger(__name__)

_SLOW, _AMONG = 3, 100

ResultT = TypeVar("ResultT")


class Guard:
    """Calls what may fail or be slow, and calls nothing more once it has given that up.

    It gives up at the first exception, and at the third slow call among a hundred. Both are logged
    once: the engine goes on with its own setting.

    Attributes:
      gave_up: why; None while it has not.
      spent_ms: time that calls took.
    """

    def __init__(self, limit_ms: float, clock: Callable[[], float] = time.perf_counter) -> None:
        """Sets up a guard to which a call of more than ``limit_ms`` is slow."""
        self.gave_up: str | None = None
        self.spent_ms = 0.0
        self._limit_ms = limit_ms
        self._clock = clock
        self._slow: deque[bool] = deque(maxlen=_AMONG)

    def call(self, function: Callable[..., ResultT], *arguments: Any) -> ResultT | None:
        """What the function returns; None where it failed, or is called no more."""
        if self.gave_up is not None:
            return None
        began = self._clock()
        try:
            result = function(*arguments)
        except Exception as error:  # noqa: BLE001  # whatever it is, requests go on
            self.gave_up = f"{type(error).__name__}: {error}"
            _log.exception("adaptive_spec failed; vLLM goes on with its own draft length")
            return None
        took_ms = (self._clock() - began) * 1e3
        self.spent_ms += took_ms
        self._judge(took_ms)
        return result

    def _judge(self, took_ms: float) -> None:
        slow = took_ms > self._limit_ms
        self._slow.append(slow)
        if not slow:
            return
        times = sum(self._slow)
        if times == 1:
            _log.warning(
                "adaptive_spec: a decision took %.0f ms (decision_limit_ms = %g)",
                took_ms,
                self._limit_ms,
            )
        if times == _SLOW:
            self.gave_up = f"{_SLOW} of {len(self._slow)} decisions were slow"
            _log.error("adaptive_spec: %s; vLLM goes on with its own draft length", self.gave_up)
