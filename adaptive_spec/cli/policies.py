"""``adaptive-spec policies``: what there is to choose from."""

import dataclasses
import inspect
import math
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from adaptive_spec._specs import spec_value
from adaptive_spec.cli import options
from adaptive_spec.cli.output import show, write_json
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policy import Policy
from adaptive_spec.registry import policy_class, policy_names, summary


def policies(json_file: options.JsonOption = None) -> None:
    """List all policies installed, with their fields and defaults."""
    table = Table(
        caption="a spec is name:field=value,field=value", caption_justify="left", box=SIMPLE_HEAD
    )
    table.add_column("policy", style="bold")
    table.add_column("what it does, and its fields with their defaults")
    table.add_column("draft\nsignals")
    table.add_column("learns")
    entries: list[dict[str, object]] = []
    for name in policy_names():
        try:
            cls = policy_class(name)
        except PolicySpecError as error:  # one broken package must not hide the others
            table.add_row(Text(name), Text(str(error)))
            entries.append({"policy": name, "error": str(error)})
            continue
        fields = _defaults(cls)
        inside = cls.keep_drafting is not Policy.keep_drafting
        text = ", ".join(f"{key}={spec_value(value)}" for key, value in fields.items())
        described = Text(summary(cls)).append(f"\n{text}", style="dim")
        signals = "\n".join(name.replace("_", " ") for name in cls.signals)
        signals = signals or ("any" if inside else "none")
        table.add_row(Text(name), described, Text(signals), Text(cls.learns))
        entries.append(
            {
                "policy": name,
                "summary": summary(cls),
                "learns": cls.learns,
                "signals": list(cls.signals),
                "looks_inside_draft": inside,
                "fields": fields,
                "documentation": inspect.getdoc(cls),
            }
        )
    show(table, json_file)
    write_json(entries, json_file)


def _defaults(cls: type[Policy[Any, Any]]) -> dict[str, Any]:
    """A policy's fields with their defaults, as JSON knows them."""
    defaults: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        value = field.default
        if field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        if value is dataclasses.MISSING:
            value = "(required)"
        if field.init:
            defaults[field.name] = value if _is_plain(value) else spec_value(value)
    return defaults


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)
