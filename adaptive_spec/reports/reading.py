"""JSON results read strictly: errors name file, field, what it got, what is allowed."""

import math
from typing import Any

from adaptive_spec.errors import ConfigError


class Fields:
    """An object of a file of results, whose fields are asked for one by one."""

    def __init__(self, where: str, fields: object) -> None:
        """Takes an object as ``json`` gives it; ``where`` names the file and the object.

        Raises:
          ConfigError: it is no object.
        """
        if not isinstance(fields, dict):
            raise ConfigError(f"{where}: {_short(fields)}; expected an object")
        self.where = where
        self._fields: dict[str, Any] = fields

    def has(self, *names: str) -> bool:
        """Whether all of these fields are there, and not null."""
        return all(self._fields.get(name) is not None for name in names)

    def text(self, name: str) -> str:
        """A text."""
        value = self._fields.get(name)
        if not isinstance(value, str):
            raise self._refused(name, "a text")
        return value

    def number(self, name: str) -> float:
        """A number."""
        value = self._fields.get(name)
        if not _is_number(value):
            raise self._refused(name, "a number")
        return float(value)  # type: ignore[arg-type]

    def optional_number(self, name: str) -> float | None:
        """A number; None where it is missing or null."""
        return self.number(name) if self.has(name) else None

    def numbers(self, name: str) -> list[float | None]:
        """A list of numbers, some of which may be null."""
        value = self._fields.get(name)
        if not isinstance(value, list) or not all(v is None or _is_number(v) for v in value):
            raise self._refused(name, "a list of numbers")
        return value

    def interval(self, name: str) -> tuple[float, float | None, float | None]:
        """A figure with the ends of its interval, which may be open (None)."""
        one = self.object(name)
        return one.number("value"), one.optional_number("low"), one.optional_number("high")

    def object(self, name: str) -> "Fields":
        """An object within it."""
        return Fields(f"{self.where}: {name}", self._fields.get(name))

    def members(self, name: str) -> dict[str, "Fields"]:
        """The objects within an object, by name."""
        inner = self.object(name)
        return {key: inner.object(key) for key in inner._fields}

    def objects(self, name: str) -> list["Fields"]:
        """A list of objects."""
        value = self._fields.get(name)
        if not isinstance(value, list):
            raise self._refused(name, "a list of objects")
        return [Fields(f"{self.where}: {name}[{i}]", one) for i, one in enumerate(value)]

    def _refused(self, name: str, allowed: str) -> ConfigError:
        if name not in self._fields:
            return ConfigError(f"{self.where}: {name} is missing; it must be {allowed}")
        return ConfigError(
            f"{self.where}: {name} = {_short(self._fields[name])}; it must be {allowed}"
        )


def _is_number(value: object) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and math.isfinite(value)  # type: ignore[arg-type]


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
