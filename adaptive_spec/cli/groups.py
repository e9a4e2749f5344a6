"""Options that go together, declared once: a command takes them as one parameter.

A group is a frozen dataclass whose fields are annotated as options. ``with_options`` shows typer
each of them as an option of the command's own.
"""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer is to see it: the options of its groups in the groups' places.

    An option's default is its field's, or that of the parameter's default where this is a group
    with other values.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[Any, list[str]]] = {}
    shown: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if not dataclasses.is_dataclass(hints[name]):
            shown.append(_keyword(name, hints[name], parameter.default))
            continue
        kind: Any = hints[name]
        defaults = kind() if parameter.default is inspect.Parameter.empty else parameter.default
        options = typing.get_type_hints(kind, include_extras=True)
        groups[name] = kind, list(options)
        shown += [_keyword(own, hint, getattr(defaults, own)) for own, hint in options.items()]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, (kind, own) in groups.items():
            given[name] = kind(**{option: given.pop(option) for option in own})
        command(**given)

    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return run


def _keyword(name: str, hint: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, annotation=hint, default=default)
