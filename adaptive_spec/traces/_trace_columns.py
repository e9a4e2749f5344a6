"""Sequences of a trace as columns, and back; the columns are described in ``parquet``."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec._optional import require
from adaptive_spec.errors import TraceError
from adaptive_spec.traces._columns import Columns, Ragged, list_column, ragged, refuse_nulls
from adaptive_spec.traces.records import SIGNALS, Drafting, SequenceTrace, SignalTrace

_TEXTS = ("id", "category", "finish_reason")
_LIMITS = ("limit_tokens", "draftable_tokens")
_IDS = ("prompt_ids", "output_ids")


def column_types(signals: Iterable[str]) -> Columns:
    """Arrow types of all columns, for a trace with these signals."""
    pa = require("pyarrow", "trace")
    tokens, bits, numbers = (pa.list_(t) for t in (pa.int32(), pa.bool_(), pa.float32()))
    types: Columns = {name: pa.string() for name in _TEXTS}
    types |= {name: pa.int64() for name in ("prompt_tokens", *_LIMITS)}
    types |= dict.fromkeys(_IDS, tokens)
    types |= {"proposes": bits, "agreement": bits, "run_lengths": tokens}
    for name in signals:
        types |= {f"{name}_first": numbers, f"{name}_later": pa.list_(numbers)}
    return types


def to_columns(
    sequences: Sequence[SequenceTrace], drafting: Drafting, signals: Iterable[str]
) -> Columns:
    """Arrow arrays of all columns, one row per sequence."""
    pa = require("pyarrow", "trace")
    signals = tuple(signals)
    types = column_types(signals)
    token = drafting == "token"
    columns: Columns = {
        name: pa.array([getattr(s, name) for s in sequences], types[name])
        for name in (*_TEXTS, "prompt_tokens", *_LIMITS)
    }
    lists: dict[str, list[Any]] = {
        "prompt_ids": [s.prompt_ids for s in sequences],
        "output_ids": [s.output_ids for s in sequences],
        "proposes": [None if s.proposes.all() else s.proposes for s in sequences],
        "agreement": [s.agreement if token else None for s in sequences],
        "run_lengths": [None if token else s.run_lengths for s in sequences],
    }
    for name, rows in lists.items():
        columns[name] = list_column(rows, types[name].value_type)
    for name in signals:
        found = [s.signals.get(name) for s in sequences]
        later = [
            None if f is None else f.later[_recorded(s)] if token else f.later
            for s, f in zip(sequences, found, strict=True)
        ]
        depths = [np.full(rows.shape[0], rows.shape[1]) for rows in later if rows is not None]
        inner = np.concatenate([np.zeros(0, np.int64), *depths])
        first = [None if f is None else f.first for f in found]
        columns[f"{name}_first"] = list_column(first, pa.float32())
        columns[f"{name}_later"] = list_column(later, pa.float32(), inner)
    return columns


def from_columns(columns: Columns, drafting: Drafting) -> list[SequenceTrace]:
    """The sequences of some rows.

    Raises:
      TraceError: values are missing, or columns contradict each other.
    """
    token = drafting == "token"
    along, other = ("agreement", "run_lengths") if token else ("run_lengths", "agreement")
    refuse_nulls(columns, (*_TEXTS, "prompt_tokens", along, "proposes", *_IDS))
    main = ragged(columns[along])
    if not main.valid.all() or columns[other].null_count < len(columns[other]):
        raise TraceError(
            f"columns {along!r} and {other!r}: with drafting {drafting!r} every row must have the "
            "first and none the second"
        )
    flat = _run_lengths(main) if token else main.values.astype(np.int64)
    runs = main._replace(values=flat).rows()
    cells = {name: columns[name].to_pylist() for name in (*_TEXTS, "prompt_tokens", *_LIMITS)}
    proposes = ragged(columns["proposes"]).rows()
    token_ids = {name: _int64(ragged(columns[name])).rows() for name in _IDS}
    signals = {name: _signal(name, columns, runs, token) for name in SIGNALS if _has(name, columns)}
    return [
        SequenceTrace(
            run_lengths=run,
            proposes=np.ones(run.size, np.bool_) if proposes[i] is None else proposes[i],
            signals={name: s for name, rows in signals.items() if (s := rows[i]) is not None},
            **{name: values[i] for name, values in (cells | token_ids).items()},
        )
        for i, run in enumerate(runs)
    ]


def _recorded(sequence: SequenceTrace) -> BoolArray:
    """Where a "token" drafter's later signals are recorded, ``[n + 1]``."""
    return np.append(~sequence.agreement, True)


def _int64(column: Ragged) -> Ragged:
    return column._replace(values=column.values.astype(np.int64))


def _run_lengths(agreement: Ragged) -> IntArray:
    """``run_lengths_of`` for all rows at once, ``[T]``."""
    bits: BoolArray = agreement.values
    position = np.arange(bits.size)
    misses = np.where(bits, bits.size, position)
    next_miss = np.minimum.accumulate(misses[::-1])[::-1]
    end = np.repeat(agreement.start[1:], np.diff(agreement.start))
    runs: IntArray = np.minimum(next_miss, end) - position
    return runs


def _has(name: str, columns: Columns) -> bool:
    both = [f"{name}_first" in columns, f"{name}_later" in columns]
    if any(both) and not all(both):
        raise TraceError(f"columns '{name}_first' and '{name}_later': one is missing")
    return all(both)


def _signal(
    name: str, columns: Columns, runs: list[IntArray], token: bool
) -> list[SignalTrace | None]:
    """One signal of each sequence; None where it has none."""
    first, later = ragged(columns[f"{name}_first"]), ragged(columns[f"{name}_later"])
    if (first.valid != later.valid).any():
        raise TraceError(f"columns '{name}_first' and '{name}_later': only one is null in a row")
    if later.values.null_count:
        raise TraceError(f"column '{name}_later': has missing lists; every one is needed")
    inner = ragged(later.values)
    depths = np.diff(inner.start)
    numbers: FloatArray = inner.values.astype(np.float64)
    firsts = first._replace(values=first.values.astype(np.float64)).rows()
    rows: list[SignalTrace | None] = []
    for run, values, a, b in zip(
        runs, firsts, later.start[:-1].tolist(), later.start[1:].tolist(), strict=True
    ):
        if values is None:
            rows.append(None)
            continue
        where = np.append(run == 0, True) if token else np.ones(run.size + 1, np.bool_)
        if b - a != np.count_nonzero(where) or (depths[a:b] != depths[a]).any():
            raise TraceError(
                f"column '{name}_later': row {len(rows)} needs {np.count_nonzero(where)} lists of "
                f"one length, got {b - a}"
            )
        depth = int(depths[a])
        dense = np.full((run.size + 1, depth), np.nan)
        dense[where] = numbers[inner.start[a] : inner.start[b]].reshape(b - a, depth)
        rows.append(SignalTrace(values, dense))
    return rows
