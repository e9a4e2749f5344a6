"""``adaptive-spec policies``: what there is to choose from."""

import dataclasses
import inspect

from rich.table import Table

from adaptive_spec.cli import options
from adaptive_spec.cli.output import show, write_json
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policy import Policy
from adaptive_spec.registry import policy_class, policy_names, summary


def policies(json_file: options.JsonOption = None) -> None:
    """List all policies installed, with their fields and defaults."""
    table = Table(caption="write a spec as name:field=value,field=value", caption_justify="left")
    for column in ("policy", "what it does", "learns", "looks inside the draft", "fields"):
        table.add_column(column, overflow="fold")
    entries = []
    for name in policy_names():
        try:
            cls = policy_class(name)
        except PolicySpecError as error:  # one broken package must not hide the others
            table.add_row(name, str(error), "", "", "")
            continue
        fields = {f.name: f.default for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        inside = cls.keep_drafting is not Policy.keep_drafting
        text = ", ".join(f"{key}={value}" for key, value in fields.items())
        table.add_row(name, summary(cls), cls.learns, "yes" if inside else "no", text)
        entries.append(
            {
                "policy": name,
                "summary": summary(cls),
                "learns": cls.learns,
                "looks_inside_draft": inside,
                "fields": {k: v if _is_plain(v) else str(v) for k, v in fields.items()},
                "documentation": inspect.getdoc(cls),
            }
        )
    show(table, json_file)
    write_json(entries, json_file)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
