"""Specs such as ``"ewma:smoothing=0.3,margin=1"``: a name, and fields of a frozen dataclass."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from adaptive_spec.errors import AdaptiveSpecError

BuiltT = TypeVar("BuiltT")


def split_spec(text: str, error: type[AdaptiveSpecError]) -> tuple[str, dict[str, str]]:
    """A spec's name and its fields, still as text.

    Raises:
      error: the text is not of the form ``name:field=value,field=value``.
    """
    name, _, rest = text.strip().partition(":")
    fields: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or key.strip() in fields:
            raise error(
                f"spec {text!r}: {item!r} is not a field=value, or is given twice; "
                "write name:field=value,field=value"
            )
        fields[key.strip()] = value.strip()
    return name.strip(), fields


def build(
    cls: type[BuiltT], name: str, fields: dict[str, str], error: type[AdaptiveSpecError]
) -> BuiltT:
    """An instance of a dataclass from fields given as text.

    Values are read by the field's annotation: int, float, bool (true/false), str, a literal, a
    tuple of numbers or specs (``0/1/2``), or ``none`` where None is allowed. A spec in a tuple may
    have one field at most (``ewma/fixed:tau=12``), since a comma ends the tuple.

    Raises:
      error: an unknown field, a value of the wrong kind, or one that the class refuses.
    """
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls) if f.init]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, text in fields.items():
        if key not in known:
            allowed = ", ".join(known) or "none at all"
            raise error(f"{name}: unknown field {key!r}; allowed are {allowed}")
        try:
            values[key] = _read(text, hints[key])
        except ValueError:
            raise error(f"{name}: {key} = {text!r}; expected {_describe(hints[key])}") from None
    try:
        return cls(**values)
    except AdaptiveSpecError:
        raise
    except (TypeError, ValueError) as reason:
        raise error(f"{name}: {reason}") from None


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is not among the known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {name!r}; there are: {', '.join(names)}{hint}"


def short_names(specs: Sequence[str]) -> tuple[str, ...]:
    """What to call drafters: the part of the spec before ``:``, the whole where two share it."""
    kinds = [spec.partition(":")[0] for spec in specs]
    return tuple(
        kind if kinds.count(kind) == 1 else spec for kind, spec in zip(kinds, specs, strict=True)
    )


def spec_text(name: str, instance: Any) -> str:
    """The spec that builds this dataclass instance again; fields at their default are left out."""
    parts = []
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if field.init and value != field.default:
            parts.append(f"{field.name}={spec_value(value)}")
    return f"{name}:{','.join(parts)}" if parts else name


def spec_value(value: Any) -> str:
    """A field's value as it is written in a spec."""
    if isinstance(value, tuple):
        return "/".join(str(item) for item in value)
    if isinstance(value, float):
        return repr(value)
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _read(text: str, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if text not in arguments:
            raise ValueError
        return text
    if origin in (typing.Union, types.UnionType):
        if text.lower() == "none" and type(None) in arguments:
            return None
        return _read(text, next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        if arguments[0] is str and not text:
            return ()
        return tuple(arguments[0](item) for item in text.split("/"))
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError
        return text.lower() == "true"
    return hint(text)


def _describe(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(str(a) for a in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("none" if a is type(None) else _describe(a) for a in arguments)
    if origin is tuple:
        kind = "integers" if arguments[0] is int else "numbers"
        return f"{kind} separated by /, as in 0/1/2"
    return {bool: "true or false", int: "an integer", float: "a number"}.get(hint, "text")
