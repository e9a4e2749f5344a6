"""JSON Lines and JSON, read strictly: objects, and errors that name file and line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adaptive_spec.errors import AdaptiveSpecError


def read_objects(
    path: str | Path, what: str, error: type[AdaptiveSpecError]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields ``(where, object)`` for every line that is not blank.

    ``where`` names file and line, to start messages with. A byte-order mark is skipped.

    Args:
      path: the file.
      what: what it holds, to start messages with ("prompts").
      error: what to raise.

    Raises:
      error: the file is missing or cannot be read, holds nothing but blank lines, or a line is not
        UTF-8, not JSON, or not an object.
    """
    name = f"{what} {str(path)!r}"
    empty = True
    try:
        # Split at "\n" alone: a JSON string may hold other characters that str calls line ends.
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, start=1):
                where = f"{name}, line {number}"
                text = _decode(line, number, where, error)
                if text.strip():
                    empty = False
                    yield where, _parse(text, where, error)
    except OSError as reason:
        raise error(f"{name}: cannot be read ({reason.strerror or reason})") from None
    if empty:
        raise error(f"{name}: is empty; it needs at least one line")


def read_json_or_lines(
    path: str | Path, what: str, error: type[AdaptiveSpecError]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields ``(where, object)`` from JSON Lines, or from JSON: one object, or a list of them.

    Args and raises are as of ``read_objects``; of a list, ``where`` names the item.
    """
    name = f"{what} {str(path)!r}"
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        value = json.loads(text)
    except OSError as reason:
        raise error(f"{name}: cannot be read ({reason.strerror or reason})") from None
    except (ValueError, RecursionError):  # then every line is an object, or says what is wrong
        yield from read_objects(path, what, error)
        return
    if isinstance(value, dict):
        yield (name if "\n" in text.strip() else f"{name}, line 1"), value
        return
    if not isinstance(value, list) or not value:
        raise error(f"{name}: expected a JSON object, a list of them, or JSON Lines")
    for number, item in enumerate(value, start=1):
        if not isinstance(item, dict):
            raise error(f"{name}, item {number}: expected a JSON object, got {_brief(item)}")
        yield f"{name}, item {number}", item


def text_field(
    record: dict[str, Any],
    key: str,
    where: str,
    error: type[AdaptiveSpecError],
    default: str | None = None,
) -> str:
    """A field that must be a string; required, and not blank, unless there is a default."""
    if key not in record and default is None:
        raise error(f"{where}: {key!r} is missing; it must be a string")
    value = record.get(key, default)
    if not isinstance(value, str):
        raise error(f"{where}: {key} = {_brief(value)}; it must be a string")
    if default is None and not value.strip():
        raise error(f"{where}: {key} is blank; it must hold some text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise error(f"{where}: {key} holds half of a surrogate pair (\\ud800-\\udfff)") from None
    return value


def count_field(
    record: dict[str, Any], key: str, where: str, error: type[AdaptiveSpecError], least: int
) -> int:
    """A field that must be an integer of at least ``least``, and fit into 62 bits."""
    if key not in record:
        raise error(f"{where}: {key!r} is missing; it must be an integer of at least {least}")
    value = record[key]
    if type(value) is not int or not least <= value < 1 << 62:
        raise error(f"{where}: {key} = {_brief(value)}; it must be an integer of at least {least}")
    return value


def counts_field(
    record: dict[str, Any], key: str, where: str, error: type[AdaptiveSpecError], most: int
) -> list[int]:
    """A field that must be a list of integers from 0 to ``most``."""
    values = record.get(key)
    if not isinstance(values, list):
        what = f"{key} = {_brief(values)}" if key in record else f"{key!r} is missing"
        raise error(f"{where}: {what}; it must be a list of integers from 0, like [2, 0]")
    for position, value in enumerate(values):
        if type(value) is not int or not 0 <= value <= most:
            raise error(
                f"{where}: {key}[{position}] = {_brief(value)}; it must be an integer from 0 to "
                f"{most}"
            )
    return values


def object_field(
    record: dict[str, Any], key: str, where: str, error: type[AdaptiveSpecError]
) -> dict[str, Any]:
    """A field that must be an object; an empty one where it is missing or null."""
    value = record.get(key)
    if value is not None and not isinstance(value, dict):
        raise error(f"{where}: {key} = {_brief(value)}; it must be an object")
    return value or {}


def number_field(
    record: dict[str, Any], key: str, where: str, error: type[AdaptiveSpecError]
) -> float:
    """A field that must be a finite number of at least 0."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e18:
        what = f"{key} = {_brief(value)}" if key in record else f"{key!r} is missing"
        raise error(f"{where}: {what}; it must be a number of at least 0")
    return float(value)


def _decode(line: bytes, number: int, where: str, error: type[AdaptiveSpecError]) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        raise error(f"{where}: not UTF-8 text; save the file as UTF-8 JSON Lines") from None


def _parse(text: str, where: str, error: type[AdaptiveSpecError]) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as reason:
        raise error(f"{where}: not JSON ({reason}); expected one JSON object a line") from None
    if not isinstance(value, dict):
        raise error(f"{where}: expected a JSON object, got {_brief(value)}")
    return value


def _brief(value: Any) -> str:
    """A value for a message: as JSON, cut short."""
    text = json.dumps(value) if not isinstance(value, int) or value.bit_length() < 99 else "huge"
    return text if len(text) <= 40 else f"{text[:37]}..."
