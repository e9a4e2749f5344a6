"""``adaptive-spec import``: what other engines say of their drafts, as a trace and as figures."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from adaptive_spec.cli import options
from adaptive_spec.cli.output import note, results_table, show, write_json
from adaptive_spec.errors import ConfigError
from adaptive_spec.traces import write_trace
from adaptive_spec.traces.acceptance import Acceptance
from adaptive_spec.traces.exactness import MEANING
from adaptive_spec.traces.imports import FORMATS, Imported, Settings, Totals
from adaptive_spec.traces.imports import import_file as read_file

FORMATS_HELP = "; ".join(f"'{name}': {form.what}" for name, form in FORMATS.items())


def import_file(
    form: Annotated[
        str, typer.Argument(help=f"{FORMATS_HELP}.", show_default=False, metavar="FORMAT")
    ],
    file: Annotated[Path, typer.Argument(help="What is read.", show_default=False, metavar="FILE")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The trace: a .parquet file; default: only say what is in the file.",
            callback=options.file_to_write,
        ),
    ] = None,
    drafter: Annotated[str, typer.Option(help="What drafted, for the record.")] = "imported",
    verifier: Annotated[str, typer.Option(help="What verified, for the record.")] = "unknown",
    drafting: Annotated[
        str,
        typer.Option(
            help="'token' where the drafter proposes token by token from the text before it, as a "
            "draft model does; 'block' for all others, EAGLE and lookups among them."
        ),
    ] = "block",
    unknown: Annotated[
        str,
        typer.Option(
            help="With --drafting token: take tokens that nobody drafted for 'rejected' (a lower "
            "bound on speed) or 'accepted' (an upper bound)."
        ),
    ] = "rejected",
    longest_draft: Annotated[
        int | None,
        typer.Option(
            min=1, max=1024, help="Of run lengths measured with drafts of one length: that length."
        ),
    ] = None,
    json_file: options.JsonOption = None,
) -> None:
    """Import what another engine recorded, and say what replaying it can tell."""
    settings = Settings(
        verifier,
        drafter,
        _one_of("--drafting", drafting, ("block", "token")),
        _one_of("--unknown", unknown, ("rejected", "accepted")),
        longest_draft or 0,
    )
    found = read_file(form, file, settings)
    if output is not None and found.traces is None:
        raise ConfigError(
            f"--output {output}: {MEANING[found.exactness]}; leave it out to see what {file} says"
        )
    show(_table(found, f"{form}: {file}"), json_file)
    if output is not None and found.traces is not None:
        write_trace(found.traces, output)
        traces = found.traces
        note(f"{len(traces)} sequences, {traces.num_tokens} tokens: trace written to {output}")
    write_json(found.as_dict(), json_file)


def _one_of(option: str, given: str, allowed: tuple[str, ...]) -> Any:
    if given not in allowed:
        raise ConfigError(f"{option} {given!r}: allowed are {' and '.join(allowed)}")
    return given


def _table(found: Imported, title: str) -> Table:
    lines = [
        f"replay: {found.exactness} ({MEANING[found.exactness]})",
        *(f"known: {text}" for text in found.concluded),
        *(f"missing: {text}" for text in found.missing),
    ]
    acceptance = found.acceptance
    if acceptance is None or acceptance.longest_draft == 0:
        table = results_table(title, "\n".join(lines), ["total", ""])
        for name, value in _totals(found.totals):
            table.add_row(name, value)
        return table
    lines = [*(f"{name}: {value}" for name, value in _totals(found.totals)), *lines]
    names = ["token of the draft", "judged", "accepted", "accepted\nif judged", "all up to\nhere"]
    table = results_table(title, "\n".join(lines), names)
    for row in _depths(acceptance):
        table.add_row(*row)
    return table


def _depths(acceptance: Acceptance) -> list[list[str]]:
    least, most = acceptance.survival(), acceptance.survival(most=True)
    rows = []
    for i in range(acceptance.longest_draft):
        accepted = int(acceptance.accepted[i])
        judged = int(acceptance.judged_least[i]), int(acceptance.judged_most[i])
        shares = [accepted / judged[1], accepted / judged[0] if judged[0] else 1.0]
        rows.append(
            [
                str(i + 1),
                _range([f"{count:,}" for count in judged]),
                f"{accepted:,}",
                _range([f"{share:.3f}" for share in shares]),
                _range([f"{float(chance[i + 1]):.3f}" for chance in (least, most)]),
            ]
        )
    return rows


def _range(ends: list[str]) -> str:
    return ends[0] if ends[0] == ends[1] else "..".join(ends)


def _totals(totals: Totals) -> list[tuple[str, str]]:
    """What is known of the totals, in words and figures."""
    counts = [
        ("requests", totals.requests),
        ("tokens", totals.tokens),
        ("passes", totals.passes),
        ("drafts", totals.drafts),
        ("drafted tokens", totals.num_draft_tokens),
        ("accepted tokens", totals.num_accepted_tokens),
    ]
    rows = [(name, f"{value:,}") for name, value in counts if value is not None]
    if totals.decode_ms is not None:
        rows.append(("time of decoding, ms", f"{totals.decode_ms:,.0f}"))
    return rows
