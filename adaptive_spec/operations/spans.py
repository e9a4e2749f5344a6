"""A span of OpenTelemetry for every request (extra ``otel``).

``Requests(controller, Spans())`` makes spans named ``adaptive_spec.request``, which last from
admission to release. A span for every cycle would cost more than it tells; metrics have the sums.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from adaptive_spec._optional import require
from adaptive_spec._version import __version__
from adaptive_spec.operations.requests import RequestRecord

_NAME = "adaptive_spec.request"
_TIMES = ("began_s", "ended_s")


class Spans:
    """Makes a span of each record."""

    def __init__(
        self, tracer: Any = None, *, parent_of: Callable[[str], Any] | None = None
    ) -> None:
        """Sets up.

        Args:
          tracer: whose spans they are; None for the one of the global tracer provider.
          parent_of: gives, by a request's id, the ``opentelemetry.context.Context`` of the span
            that it is a part of, or None.

        Raises:
          MissingDependencyError: opentelemetry-api is not installed.
        """
        trace = require("opentelemetry.trace", "otel")
        self._tracer = tracer or trace.get_tracer("adaptive_spec", __version__)
        self._parent_of = parent_of

    def __call__(self, record: RequestRecord) -> None:
        """Begins and ends the span of a request, at the times when the request did."""
        parent = None if self._parent_of is None else self._parent_of(record.request_id)
        span = self._tracer.start_span(
            _NAME,
            context=parent,
            start_time=_nanoseconds(record.began_s),
            attributes={
                f"adaptive_spec.{name}": value
                for name, value in dataclasses.asdict(record).items()
                if name not in _TIMES
            },
        )
        span.end(end_time=_nanoseconds(record.ended_s))


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
