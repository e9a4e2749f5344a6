"""Frozen dataclasses from what TOML and JSON hold, with errors that name the field."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from adaptive_spec.errors import ConfigError

RecordT = TypeVar("RecordT")

_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text"}


def read_record(cls: type[RecordT], given: object, where: str) -> RecordT:
    """An instance of a dataclass; its fields may be dataclasses, or mappings to them.

    Args:
      cls: whose annotations say what is allowed.
      given: a mapping from field names.
      where: what to call it in errors.

    Raises:
      ConfigError: an unknown field, a value of another kind, or one that the class refuses.
    """
    hints = typing.get_type_hints(cls)
    known = [field.name for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"{where}: {given!r}; expected a table with {', '.join(known)} (any of them)"
        )
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(
                f"{where}: unknown field {name!r}; there are {', '.join(known)}{hint}"
            )
    values = {name: _read(hints[name], value, f"{where}: {name}") for name, value in given.items()}
    try:
        return cls(**values)
    except ConfigError as error:
        own_name = f"{where.rpartition(': ')[2]}: "
        raise ConfigError(f"{where}: {str(error).removeprefix(own_name)}") from None


def _read(hint: Any, value: object, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return read_record(typing.cast(type, hint), value, where)
    if origin in (typing.Union, types.UnionType):
        return _read(next(a for a in arguments if a is not type(None)), value, where)
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise ConfigError(f"{where} = {value!r}; allowed are {', '.join(map(repr, arguments))}")
    if origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(_read(arguments[0], item, where) for item in value)
        raise ConfigError(f"{where} = {value!r}; expected a list")
    if origin is not None and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            return {str(k): _read(arguments[1], item, f"{where}: {k}") for k, item in value.items()}
        raise ConfigError(f"{where} = {value!r}; expected a table")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(f"{where} = {value!r}; expected {_NAMES[hint]}")
