"""Traces as Parquet: one row per sequence, list columns along its output.

Columns of format ``adaptive-spec.trace``, version 1 (``n`` = output tokens of the sequence):

- ``id``, ``category``, ``finish_reason``: text; ``prompt_tokens``: integer;
  ``limit_tokens``, ``draftable_tokens``: integer or null.
- ``prompt_ids``, ``output_ids``: token ids, or null where not recorded.
- ``agreement``: ``n`` bits, for a "token" drafter; ``run_lengths``: ``n`` integers, for a "block"
  drafter. The other one is null.
- ``proposes``: ``n`` bits; null where the drafter always proposes.
- ``<signal>_first``: ``n + 1`` numbers, and ``<signal>_later``: lists of equal length, for each
  signal the trace has. For a "token" drafter later signals are stored where they are recorded
  only: at every disagreement, in order, and after the end; for a "block" drafter at all ``n + 1``
  positions. Not-a-number is null.

What all sequences share (``TraceInfo``) lies in the file's metadata, see ``_columns``.
"""

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adaptive_spec.errors import TraceError
from adaptive_spec.traces._columns import Columns, FileFormat, read_columns, write_columns
from adaptive_spec.traces._trace_columns import column_types, from_columns, to_columns
from adaptive_spec.traces.records import SIGNALS, SequenceTrace, TraceInfo, TraceSet

_FORMAT = FileFormat(
    "adaptive-spec.trace",
    1,
    "trace",
    "a trace from `adaptive-spec record` or `adaptive-spec import-run-lengths`",
)

# Sequences and numbers in one group of rows: bounds the memory of writing, and keeps offsets small.
_GROUP_SEQUENCES = 1 << 14
_GROUP_CELLS = 1 << 25


def write_trace(traces: TraceSet, path: str | Path) -> None:
    """Writes a trace as one Parquet file, whole or not at all.

    Signals are kept as float32. Of a "token" drafter's later signals, those at positions where
    its first token agrees are dropped: they are the signals of the positions passed.

    Raises:
      TraceError: the file cannot be written, or an id or number does not fit its column.
      MissingDependencyError: pyarrow is not installed.
    """
    if Path(path).is_dir():
        raise TraceError(f"trace {str(path)!r}: is a folder; give the name of a file in it")
    signals = [name for name in SIGNALS if any(name in s.signals for s in traces)]
    drafting = traces.info.drafting
    groups = (to_columns(part, drafting, signals) for part in _groups(traces))
    header = {"info": dataclasses.asdict(traces.info)}
    write_columns(path, _FORMAT, column_types(signals), header, groups)


def read_trace(path: str | Path, *, signals: bool = True) -> TraceSet:
    """Reads a trace: one file, or a folder of parts (its ``*.parquet`` files, by name).

    Args:
      path: the file or folder.
      signals: whether to load the drafter's signals, by far the largest part of a trace.

    Raises:
      TraceError: nothing there, foreign, damaged, of another version, contradicting itself; or the
        parts of a folder differ in ``TraceInfo`` or repeat an id.
      MissingDependencyError: pyarrow is not installed.
    """
    source = Path(path)
    if not source.is_dir():
        return _traced(source, *_read_file(source, signals))
    parts = sorted(source.glob("*.parquet"))
    if not parts:
        raise TraceError(f"trace {str(path)!r}: is a folder without parts (*.parquet files)")
    info, sequences = _read_file(parts[0], signals)
    for part in parts[1:]:
        other, more = _read_file(part, signals)
        if other != info:
            raise TraceError(
                f"trace {str(part)!r}: does not belong to {parts[0].name}: "
                f"{differences(other, info)}; keep one trace in a folder"
            )
        sequences += more
    return _traced(source, info, sequences)


def differences(got: TraceInfo, expected: TraceInfo) -> str:
    """How two traces' ``TraceInfo`` differ, for messages."""
    names = [field.name for field in dataclasses.fields(TraceInfo)]
    return ", ".join(
        f"{name} is {getattr(got, name)!r}, not {getattr(expected, name)!r}"
        for name in names
        if getattr(got, name) != getattr(expected, name)
    )


def _traced(path: Path, info: TraceInfo, sequences: list[SequenceTrace]) -> TraceSet:
    try:
        return TraceSet(info, tuple(sequences))
    except TraceError as error:
        raise TraceError(f"trace {str(path)!r}: {error}") from None


def _groups(traces: TraceSet) -> Iterator[list[SequenceTrace]]:
    """The sequences in groups of rows."""
    group: list[SequenceTrace] = []
    cells = 0
    for sequence in traces:
        depth = max((s.later.shape[1] for s in sequence.signals.values()), default=0)
        size = (sequence.run_lengths.size + 1) * (depth + 1) + sequence.prompt_tokens
        if group and (len(group) == _GROUP_SEQUENCES or cells + size > _GROUP_CELLS):
            yield group
            group, cells = [], 0
        group.append(sequence)
        cells += size
    yield group


def _read_file(path: Path, signals: bool) -> tuple[TraceInfo, list[SequenceTrace]]:
    def convert(header: dict[str, Any], columns: Columns) -> list[SequenceTrace]:
        return from_columns(columns, _info(header).drafting)

    wanted = SIGNALS if signals else ()
    optional = [f"{name}_{part}" for name in wanted for part in ("first", "later")]
    header, sequences = read_columns(path, _FORMAT, column_types(wanted), convert, optional)
    try:
        return _info(header), sequences
    except TraceError as error:
        raise TraceError(f"trace {str(path)!r}: {error}") from None


def _info(header: dict[str, Any]) -> TraceInfo:
    data = header.get("info")
    if not isinstance(data, dict):
        raise TraceError("info: is missing from the metadata")
    hints = typing.get_type_hints(TraceInfo)
    for field in dataclasses.fields(TraceInfo):
        if field.name not in data:
            raise TraceError(f"info: {field.name!r} is missing from the metadata")
        allowed: Any = typing.get_args(hints[field.name])
        value = data[field.name]
        if not (value in allowed if allowed else isinstance(value, hints[field.name])):
            what = " or ".join(map(repr, allowed)) or f"a {hints[field.name].__name__}"
            raise TraceError(f"info: {field.name} = {value!r}; it must be {what}")
    return TraceInfo(**{field.name: data[field.name] for field in dataclasses.fields(TraceInfo)})
