"""Recorded arrivals: when real requests came, and of which class they were, as JSON Lines."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._jsonl import read_objects, text_field
from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.serving.arrivals import OpenLoop

KEYS = ("arrival_ms", "class")

LATEST_MS = 1e15
"""Beyond, times would no longer tell milliseconds apart."""


class ArrivalLog(NamedTuple):
    """Recorded arrivals, in order.

    Attributes:
      arrivals: their times.
      classes: ``[R]`` class of each request, "" where none was recorded.
    """

    arrivals: OpenLoop
    classes: tuple[str, ...]


def read_arrivals(path: str | Path) -> ArrivalLog:
    """Reads arrivals, one object a line: ``{"arrival_ms": 12.5, "class": "short"}``.

    ``arrival_ms`` is a number of at least 0 that never falls; ``class`` may be left out.

    Raises:
      ConfigError: no such file, or a line that is not of that form.
    """
    times: list[float] = []
    classes: list[str] = []
    for where, record in read_objects(path, "arrivals", ConfigError):
        unknown = sorted(set(record) - set(KEYS))
        if unknown:
            raise ConfigError(f"{where}: unknown key {unknown[0]!r}; there are {', '.join(KEYS)}")
        value: Any = record.get("arrival_ms")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= LATEST_MS:
            raise ConfigError(
                f"{where}: arrival_ms = {str(value)[:40]}; it must be a number in 0..{LATEST_MS:g}"
            )
        if times and value < times[-1]:
            raise ConfigError(
                f"{where}: arrival_ms = {value:g} after {times[-1]:g}; give requests in order"
            )
        times.append(float(value))
        classes.append(text_field(record, "class", where, ConfigError, default=""))
    return ArrivalLog(OpenLoop(np.array(times)), tuple(classes))
