"""Traces as Parquet: one row per sequence, list columns along its output.

Columns of format ``adaptive-spec.trace``, version 2 (``n`` = output tokens of the sequence):

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
- ``verifier_entropy``, ``verifier_margin``: ``n`` numbers each, or null where not recorded; files
  written before there were hints have no such columns.
- for each drafter of a composition, ``drafter_0_`` and on before the name: ``draftable_tokens``,
  ``proposes``, ``agreement``, ``run_lengths`` and signals of its own. Those without a prefix are
  then of the default order. Version 1 had no compositions, and its texts were greedy.

What all sequences share (``TraceInfo``) lies in the file's metadata, see ``_columns``.
"""

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adaptive_spec.errors import TraceError
from adaptive_spec.traces._columns import (
    Columns,
    FileFormat,
    Layout,
    read_columns,
    write_columns,
)
from adaptive_spec.traces._trace_columns import (
    CERTAINTY,
    column_types,
    from_columns,
    prefixes,
    signal_columns,
    to_columns,
)
from adaptive_spec.traces.records import Component, TraceInfo, TraceSet
from adaptive_spec.traces.sequences import SIGNALS, SequenceTrace

_FORMAT = FileFormat(
    "adaptive-spec.trace",
    2,
    "trace",
    "a trace from `adaptive-spec record` or `adaptive-spec import`",
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
    said = [(s, *s.components) for s in traces]
    signals = [
        [name for name in SIGNALS if any(name in drafter.signals for drafter in column)]
        for column in zip(*said, strict=True)
    ]
    groups = (to_columns(part, traces.info, signals) for part in _groups(traces))
    header = {"info": dataclasses.asdict(traces.info)}
    write_columns(path, _FORMAT, column_types(signals), header, groups)


def read_trace(path: str | Path, *, signals: bool = True) -> TraceSet:
    """Reads a trace: one file, or a folder of parts (its ``*.parquet`` files, by name).

    Args:
      path: the file or folder.
      signals: whether to load the drafter's signals and the verifier's certainty, by far the
        largest part of a trace.

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
        depths = (
            [s.later.shape[1] for s in drafter.signals.values()] for drafter in sequence.drafters
        )
        depth = sum(1 + max(depth, default=0) for depth in depths)
        size = (sequence.run_lengths.size + 1) * depth + sequence.prompt_tokens
        if group and (len(group) == _GROUP_SEQUENCES or cells + size > _GROUP_CELLS):
            yield group
            group, cells = [], 0
        group.append(sequence)
        cells += size
    yield group


def _read_file(path: Path, signals: bool) -> tuple[TraceInfo, list[SequenceTrace]]:
    wanted = SIGNALS if signals else ()

    def layout(header: dict[str, Any]) -> Layout:
        drafters = prefixes(len(_info(header).components))
        optional = {name for prefix in drafters for name in signal_columns(prefix, wanted)}
        types = column_types([wanted] * len(drafters))
        if not signals:
            types = {name: kind for name, kind in types.items() if name not in CERTAINTY}
        return Layout(types, frozenset(optional.union(CERTAINTY)))

    def convert(header: dict[str, Any], columns: Columns) -> list[SequenceTrace]:
        return from_columns(columns, _info(header))

    header, sequences = read_columns(path, _FORMAT, layout, convert)
    try:
        return _info(header), sequences
    except TraceError as error:
        raise TraceError(f"trace {str(path)!r}: {error}") from None


def _info(header: dict[str, Any]) -> TraceInfo:
    data = header.get("info")
    if not isinstance(data, dict):
        raise TraceError("info: is missing from the metadata")
    if header["version"] == 1:  # knew one drafter, and one rule
        rule = "greedy" if data.get("source") == "recorded" else "unknown"
        data = {"rule": rule, "components": []} | data
    data = {"exactness": "exact", "known_draft_tokens": 0} | data  # files before there were imports
    components = data.get("components", [])
    if not isinstance(components, list) or not all(isinstance(c, dict) for c in components):
        raise TraceError(f"info: components = {components!r}; it must be a list of objects")
    parts = tuple(Component(**_fields(Component, c)) for c in components)
    return TraceInfo(**_fields(TraceInfo, data, leave_out="components"), components=parts)


def _fields(
    cls: type[TraceInfo | Component], data: dict[str, Any], leave_out: str = ""
) -> dict[str, Any]:
    """The fields of a class, each of its type."""
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls) if field.name != leave_out]
    for name in names:
        if name not in data:
            raise TraceError(f"info: {name!r} is missing from the metadata")
        allowed: Any = typing.get_args(hints[name])
        value = data[name]
        if not (value in allowed if allowed else isinstance(value, hints[name])):
            what = " or ".join(map(repr, allowed)) or f"a {hints[name].__name__}"
            raise TraceError(f"info: {name} = {value!r}; it must be {what}")
    return {name: data[name] for name in names}
