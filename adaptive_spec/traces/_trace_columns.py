"""Sequences of a trace as columns, and back; the columns are described in ``parquet``."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec._optional import require
from adaptive_spec.errors import TraceError
from adaptive_spec.hints import Certainty
from adaptive_spec.traces._columns import Columns, Ragged, list_column, ragged, refuse_nulls
from adaptive_spec.traces.records import Drafting, TraceInfo
from adaptive_spec.traces.sequences import SIGNALS, DrafterTrace, SequenceTrace, SignalTrace

_TEXTS = ("id", "category", "finish_reason")
_IDS = ("prompt_ids", "output_ids")

CERTAINTY = tuple(f"verifier_{name}" for name in Certainty._fields)
"""Columns of how sure the verifier was."""


def prefixes(num_components: int) -> tuple[str, ...]:
    """What the columns of each drafter begin with: the drafter's own, then a composition's."""
    return ("", *(f"drafter_{i}_" for i in range(num_components)))


def signal_columns(prefix: str, signals: Iterable[str]) -> tuple[str, ...]:
    """Names of a drafter's columns of these signals."""
    return tuple(f"{prefix}{name}_{part}" for name in signals for part in ("first", "later"))


def column_types(signals: Sequence[Iterable[str]]) -> Columns:
    """Arrow types of all columns.

    Args:
      signals: those of the drafter, followed by those of each drafter of a composition.
    """
    pa = require("pyarrow", "trace")
    tokens, bits, numbers = (pa.list_(t) for t in (pa.int32(), pa.bool_(), pa.float32()))
    types: Columns = {name: pa.string() for name in _TEXTS}
    types |= {name: pa.int64() for name in ("prompt_tokens", "limit_tokens")}
    types |= dict.fromkeys(_IDS, tokens)
    types |= dict.fromkeys(CERTAINTY, numbers)
    for prefix, names in zip(prefixes(len(signals) - 1), signals, strict=True):
        types |= {f"{prefix}draftable_tokens": pa.int64(), f"{prefix}proposes": bits}
        types |= {f"{prefix}agreement": bits, f"{prefix}run_lengths": tokens}
        for name in names:
            first, later = signal_columns(prefix, [name])
            types |= {first: numbers, later: pa.list_(numbers)}
    return types


def to_columns(
    sequences: Sequence[SequenceTrace], info: TraceInfo, signals: Sequence[Iterable[str]]
) -> Columns:
    """Arrow arrays of all columns, one row per sequence; ``signals`` as for ``column_types``."""
    pa = require("pyarrow", "trace")
    types = column_types(signals)
    columns: Columns = {
        name: pa.array([getattr(s, name) for s in sequences], types[name])
        for name in (*_TEXTS, "prompt_tokens", "limit_tokens")
    }
    for name in _IDS:
        columns[name] = list_column([getattr(s, name) for s in sequences], pa.int32())
    for i, name in enumerate(CERTAINTY):
        known = [None if s.certainty is None else s.certainty[i] for s in sequences]
        columns[name] = list_column(known, pa.float32())
    said: list[list[Any]] = [list(sequences)]
    said += [[s.components[i] for s in sequences] for i in range(len(info.components))]
    kinds = [info.drafting, *(component.drafting for component in info.components)]
    for prefix, drafter, kind, names in zip(
        prefixes(len(info.components)), said, kinds, signals, strict=True
    ):
        own = _drafter_columns(drafter, kind, names)
        columns |= {f"{prefix}{name}": column for name, column in own.items()}
    return columns


def _drafter_columns(
    said: Sequence[SequenceTrace | DrafterTrace], drafting: Drafting, signals: Iterable[str]
) -> Columns:
    """Columns of one drafter, without a prefix."""
    pa = require("pyarrow", "trace")
    token = drafting == "token"
    columns: Columns = {
        "draftable_tokens": pa.array([s.draftable_tokens for s in said], pa.int64()),
        "proposes": list_column(
            [None if s.proposes.all() else s.proposes for s in said], pa.bool_()
        ),
        "agreement": list_column([s.agreement if token else None for s in said], pa.bool_()),
        "run_lengths": list_column([None if token else s.run_lengths for s in said], pa.int32()),
    }
    for name in signals:
        found = [s.signals.get(name) for s in said]
        later = [
            None if f is None else f.later[_recorded(s)] if token else f.later
            for s, f in zip(said, found, strict=True)
        ]
        depths = [np.full(rows.shape[0], rows.shape[1]) for rows in later if rows is not None]
        inner = np.concatenate([np.zeros(0, np.int64), *depths])
        first = [None if f is None else f.first for f in found]
        columns[f"{name}_first"] = list_column(first, pa.float32())
        columns[f"{name}_later"] = list_column(later, pa.float32(), inner)
    return columns


def from_columns(columns: Columns, info: TraceInfo) -> list[SequenceTrace]:
    """The sequences of some rows.

    Raises:
      TraceError: values are missing, or columns contradict each other.
    """
    refuse_nulls(columns, (*_TEXTS, "prompt_tokens", *_IDS))
    cells = {name: columns[name].to_pylist() for name in (*_TEXTS, "prompt_tokens", "limit_tokens")}
    cells |= {name: _int64(ragged(columns[name])).rows() for name in _IDS}
    certainty = _certainty(columns)
    whole = _drafter(columns, "", info.drafting)
    names = prefixes(len(info.components))[1:]
    parts = [
        _drafter(columns, prefix, component.drafting)
        for prefix, component in zip(names, info.components, strict=True)
    ]
    return [
        SequenceTrace(
            run_lengths=drafter.run_lengths,
            proposes=drafter.proposes,
            draftable_tokens=drafter.draftable_tokens,
            signals=drafter.signals,
            components=tuple(part[i] for part in parts),
            certainty=certainty[i],
            **{name: values[i] for name, values in cells.items()},
        )
        for i, drafter in enumerate(whole)
    ]


def _certainty(columns: Columns) -> list[Certainty | None]:
    """How sure the verifier was, of each sequence; None where that was not recorded."""
    found = [ragged(columns[name]) for name in CERTAINTY if name in columns]
    if not found:
        return [None] * len(columns["id"])
    if len(found) < len(CERTAINTY) or (found[0].valid != found[1].valid).any():
        raise TraceError(f"columns {' and '.join(map(repr, CERTAINTY))}: only one has a value")
    entropies, margins = (c._replace(values=c.values.astype(np.float64)).rows() for c in found)
    return [
        None if entropy is None else Certainty(entropy, margin)
        for entropy, margin in zip(entropies, margins, strict=True)
    ]


def _drafter(columns: Columns, prefix: str, drafting: Drafting) -> list[DrafterTrace]:
    """What one drafter would have done along each sequence."""
    token = drafting == "token"
    along, other = f"{prefix}agreement", f"{prefix}run_lengths"
    if not token:
        along, other = other, along
    refuse_nulls(columns, (along, f"{prefix}proposes"))
    main = ragged(columns[along])
    if not main.valid.all() or columns[other].null_count < len(columns[other]):
        raise TraceError(
            f"columns {along!r} and {other!r}: with drafting {drafting!r} every row must have the "
            "first and none the second"
        )
    flat = _run_lengths(main) if token else main.values.astype(np.int64)
    runs = main._replace(values=flat).rows()
    reach = columns[f"{prefix}draftable_tokens"].to_pylist()
    proposes = ragged(columns[f"{prefix}proposes"]).rows()
    signals = {
        name: _signal(f"{prefix}{name}", columns, runs, token)
        for name in SIGNALS
        if _has(f"{prefix}{name}", columns)
    }
    return [
        DrafterTrace(
            run,
            np.ones(run.size, np.bool_) if proposes[i] is None else proposes[i],
            reach[i],
            {name: s for name, rows in signals.items() if (s := rows[i]) is not None},
        )
        for i, run in enumerate(runs)
    ]


def _recorded(said: SequenceTrace | DrafterTrace) -> BoolArray:
    """Where a "token" drafter's later signals are recorded, ``[n + 1]``."""
    return np.append(~said.agreement, True)


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
