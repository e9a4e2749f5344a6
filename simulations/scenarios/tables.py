"""Tables of a TOML file, read strictly: errors name file, field, what it got, what is allowed."""

import math
import tomllib
from pathlib import Path
from typing import Any

from adaptive_spec.errors import ConfigError


class Table:
    """A table whose fields are asked for one by one; ``finish`` refuses all others."""

    def __init__(self, where: str, fields: dict[str, Any]) -> None:
        """Takes a table as ``tomllib`` gives it; ``where`` names file and table."""
        self.where = where
        self._fields = fields
        self._asked: list[str] = []

    @staticmethod
    def of_file(path: Path) -> "Table":
        """The top table of a file.

        Raises:
          ConfigError: it cannot be read, or is not TOML.
        """
        where = f"scenario {str(path)!r}"
        try:
            return Table(where, tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigError(f"{where}: cannot be read ({error.strerror or error})") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{where}: not TOML ({error})") from None

    def has(self, name: str) -> bool:
        """Whether a field is given."""
        self._asked.append(name)
        return name in self._fields

    def text(self, name: str) -> str:
        """A text that is not blank."""
        value = self._value(name)
        if not isinstance(value, str) or not value.strip():
            raise self._refused(name, value, "a text that is not blank")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; empty where it is missing."""
        value = self._value(name, [])
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            raise self._refused(name, value, "a list of texts")
        return tuple(value)

    def number(
        self, name: str, default: float | None = None, *, low: float, high: float = 1e12
    ) -> float:
        """A number in ``low..high``; required where there is no default."""
        value = self._value(name, default)
        if not _is_number(value) or not low <= value <= high:
            raise self._refused(name, value, f"a number in {low:g}..{high:g}")
        return float(value)

    def optional_number(self, name: str, *, low: float, high: float = 1e12) -> float | None:
        """A number in ``low..high``, or None where it is missing."""
        return self.number(name, low=low, high=high) if self.has(name) else None

    def count(self, name: str, default: int | None = None, *, low: int = 1, high: int) -> int:
        """An integer in ``low..high``; required where there is no default."""
        value = self._value(name, default)
        if type(value) is not int or not low <= value <= high:
            raise self._refused(name, value, f"an integer in {low}..{high}")
        return value

    def optional_count(self, name: str, *, low: int = 1, high: int) -> int | None:
        """An integer in ``low..high``, or None where it is missing."""
        return self.count(name, low=low, high=high) if self.has(name) else None

    def numbers(self, name: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """A list of numbers of at least 0, not all 0."""
        value = self._value(name, list(default))
        good = isinstance(value, list) and all(_is_number(v) and 0 <= v <= 1e12 for v in value)
        if not good or not sum(value) > 0:
            raise self._refused(name, value, "a list of numbers of at least 0, not all of them 0")
        return tuple(float(v) for v in value)

    def span(self, name: str) -> tuple[int, int] | None:
        """Two integers, the least and the most, each at least 1; None where it is missing."""
        if not self.has(name):
            return None
        value = self._fields[name]
        good = isinstance(value, list) and len(value) == 2 and all(type(v) is int for v in value)
        if not good or not 1 <= value[0] <= value[1] <= 1 << 30:
            raise self._refused(name, value, "[least, most], integers with 1 <= least <= most")
        return value[0], value[1]

    def table(self, name: str) -> "Table | None":
        """A table within it; None where it is missing."""
        if not self.has(name):
            return None
        value = self._fields[name]
        if not isinstance(value, dict):
            raise self._refused(name, value, f"a table, [{name}]")
        return Table(f"{self.where}, [{name}]", value)

    def tables(self, name: str) -> dict[str, "Table"]:
        """The tables within a table, by name; at least one."""
        value = self._value(name)
        good = (
            isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values())
        )
        if not good:
            raise self._refused(name, value, f"one or more tables, [{name}.NAME]")
        return {key: Table(f"{self.where}, [{name}.{key}]", v) for key, v in value.items()}

    def finish(self) -> None:
        """Refuses fields that were not asked for."""
        for name in self._fields:
            if name not in self._asked:
                known = ", ".join(sorted(set(self._asked)))
                raise ConfigError(f"{self.where}: unknown field {name!r}; there are {known}")

    def error(self, message: str) -> ConfigError:
        """An error about this table."""
        return ConfigError(f"{self.where}: {message}")

    def _value(self, name: str, default: Any = None) -> Any:
        self._asked.append(name)
        return self._fields.get(name, default)

    def _refused(self, name: str, value: Any, allowed: str) -> ConfigError:
        if value is None:
            return ConfigError(f"{self.where}: {name} is missing; it must be {allowed}")
        shown = str(value)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        return ConfigError(f"{self.where}: {name} = {shown}; it must be {allowed}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not _is_nan(value)


def _is_nan(value: float) -> bool:
    return isinstance(value, float) and math.isnan(value)
