"""Structured logs: one JSON object a line, through ``logging``, and never more than so many.

To log every request that ends, and what is notable, as JSON on standard error::

    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.getLogger("adaptive_spec").addHandler(handler)
    log = Log()
    Requests(controller, log.request)
    Notices(controller, log)
"""

import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from adaptive_spec.operations.requests import RequestRecord


class JsonFormatter(logging.Formatter):
    """One line of JSON a record: time, level, logger, event, and the record's ``fields``.

    What JSON has no word for (NaN, infinity) is null. Lines of other loggers have no fields.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        for name, value in getattr(record, "fields", {}).items():
            finite = not isinstance(value, float) or math.isfinite(value)
            line[name] = value if finite else None
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, allow_nan=False, default=str)


class Log:
    """Writes events, each kind of them at a limited rate.

    A token bucket per kind of event: ``burst`` at once, ``per_second`` in the long run. What is
    left out is counted, and the next line of its kind says how many were (``suppressed``).
    """

    def __init__(
        self,
        logger: logging.Logger | None = None,
        *,
        per_second: float = 10.0,
        burst: int = 100,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Sets up; the logger is ``adaptive_spec.operations`` where none is given."""
        self._logger = logger or logging.getLogger("adaptive_spec.operations")
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._buckets: dict[str, _Bucket] = {}

    def write(self, event: str, level: int = logging.INFO, **fields: Any) -> None:
        """Writes an event; of its kinds there must be few, all else belongs into the fields."""
        now = self._clock()
        bucket = self._buckets.setdefault(event, _Bucket(float(self._burst), now))
        if not bucket.take(now, self._per_second, self._burst):
            return
        if bucket.suppressed:
            fields["suppressed"] = bucket.suppressed
            bucket.suppressed = 0
        self._logger.log(level, event, extra={"fields": fields})

    def request(self, record: RequestRecord) -> None:
        """Writes what became of a request, as "request"."""
        fields = dataclasses.asdict(record)
        del fields["request_key"]  # follows from the id, and is too large for many readers of JSON
        self.write("request", **fields)


@dataclasses.dataclass
class _Bucket:
    """Lines that may be written at once, when that was so, and how many were not written since."""

    tokens: float
    at_s: float
    suppressed: int = 0

    def take(self, now_s: float, per_second: float, burst: int) -> bool:
        self.tokens = min(self.tokens + (now_s - self.at_s) * per_second, float(burst))
        self.at_s = now_s
        if self.tokens < 1.0:
            self.suppressed += 1
            return False
        self.tokens -= 1.0
        return True
