"""The log of a live engine: what each cycle drafted, accepted and took, as Parquet.

Format ``adaptive-spec.cycles``, version 2: one row per cycle, columns as the fields of
``LoggedCycle``; version 1 had no ``drafter``. Unlike a trace, a log holds only what the policy's
own choices showed; it cannot be replayed under another policy.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import FloatArray
from adaptive_spec._optional import require
from adaptive_spec.errors import TraceError
from adaptive_spec.traces._columns import (
    Columns,
    FileFormat,
    Layout,
    file_format,
    list_column,
    ragged,
    read_columns,
    refuse_nulls,
    write_columns,
)
from adaptive_spec.traces.sequences import SIGNALS

_FORMAT = FileFormat("adaptive-spec.cycles", 2, "cycle log", "a log of the decoding engine")
_COUNTS = (
    "cycle",
    "position",
    "tau",
    "num_draft_tokens",
    "num_accepted_tokens",
    "num_emitted_tokens",
    "context_tokens",
    "batch_size",
)
_TIMES = ("draft_ms", "verify_ms")
_GROUP_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class LoggedCycle:
    """One cycle of one request, as read back from a log.

    Attributes:
      id: of the request; ``cycle``: its number within the request, from 0; ``position``: output
        position at which it began.
      tau: tokens asked of the drafter; ``num_draft_tokens``: drafted and verified;
        ``num_accepted_tokens``: of those, emitted; ``num_emitted_tokens``: emitted in all.
      drafter: name of who drafted; None where nobody did, or where a log does not say.
      agreement: agreement bits of the emitted tokens: 1, 0, or -1 where unknown.
      top1_probability, entropy, margin, match_length: signal of each drafted token, NaN where
        unknown; None where it is known for none of them.
      draft_ms: time of drafting; ``verify_ms``: of the verifier pass.
      context_tokens: tokens before the cycle; ``batch_size``: rows that shared the pass.
    """

    id: str
    cycle: int
    position: int
    tau: int
    num_draft_tokens: int
    num_accepted_tokens: int
    num_emitted_tokens: int
    drafter: str | None
    agreement: npt.NDArray[np.int8]
    top1_probability: FloatArray | None
    entropy: FloatArray | None
    margin: FloatArray | None
    match_length: FloatArray | None
    draft_ms: float
    verify_ms: float
    context_tokens: int
    batch_size: int


class Cycle(Protocol):
    """A cycle as the decoding engine records it; fields as in ``LoggedCycle``."""

    @property
    def position(self) -> int: ...
    @property
    def tau(self) -> int: ...
    @property
    def num_draft_tokens(self) -> int: ...
    @property
    def num_accepted_tokens(self) -> int: ...
    @property
    def num_emitted_tokens(self) -> int: ...
    @property
    def drafter(self) -> str | None: ...
    @property
    def agreement(self) -> Sequence[int]: ...
    @property
    def signals(self) -> Any: ...  # arrays by the names in SIGNALS, or None
    @property
    def draft_ms(self) -> float: ...
    @property
    def verify_ms(self) -> float: ...
    @property
    def context_tokens(self) -> int: ...
    @property
    def batch_size(self) -> int: ...


class Finished(Protocol):
    """A finished request, such as the engine's ``Completion``."""

    @property
    def id(self) -> str: ...
    @property
    def cycles(self) -> Sequence[Cycle]: ...


def write_cycles(
    completions: Iterable[Finished], path: str | Path, *, rule: str = "unknown"
) -> None:
    """Writes the cycles of finished requests, in order, as one file, whole or not at all.

    Signals are kept as float32. ``rule``, the label of the verification rule, goes into the file's
    metadata.

    Raises:
      TraceError: the file cannot be written, or a value does not fit its column.
      MissingDependencyError: pyarrow is not installed.
    """
    rows = [
        (request.id, index, cycle)
        for request in completions
        for index, cycle in enumerate(request.cycles)
    ]
    groups = (_columns(rows[i : i + _GROUP_ROWS]) for i in range(0, len(rows), _GROUP_ROWS))
    write_columns(path, _FORMAT, _types(), {"rule": rule}, groups)


class CycleFile(NamedTuple):
    """What a log holds: cycles, and the label of the verification rule ("unknown" if need be)."""

    cycles: tuple[LoggedCycle, ...]
    rule: str


def read_cycles(path: str | Path) -> tuple[LoggedCycle, ...]:
    """The cycles of a log written by ``write_cycles``; raises as ``read_cycle_file``."""
    return read_cycle_file(path).cycles


def read_cycle_file(path: str | Path) -> CycleFile:
    """Reads a log written by ``write_cycles``.

    Raises:
      TraceError: no such file, not such a file, damaged, or of another version.
      MissingDependencyError: pyarrow is not installed.
    """
    layout = Layout(_types(), frozenset({"drafter"}))
    header, cycles = read_columns(Path(path), _FORMAT, lambda header: layout, _cycles)
    return CycleFile(tuple(cycles), str(header.get("rule", "unknown")))


def is_cycle_log(path: str | Path) -> bool:
    """Whether a file says that it is a log of cycles; what cannot be read is none."""
    try:
        return file_format(path) == _FORMAT.name
    except TraceError:
        return False


def _types() -> Columns:
    pa = require("pyarrow", "trace")
    types: Columns = {"id": pa.string(), "drafter": pa.string()}
    types |= {name: pa.int64() for name in _COUNTS}
    types |= {"agreement": pa.list_(pa.int8())}
    types |= {name: pa.list_(pa.float32()) for name in SIGNALS}
    types |= {name: pa.float64() for name in _TIMES}
    return types


def _columns(rows: Sequence[tuple[str, int, Cycle]]) -> Columns:
    pa = require("pyarrow", "trace")
    types = _types()
    columns: Columns = {
        "id": pa.array([request for request, _, _ in rows], types["id"]),
        "cycle": pa.array([index for _, index, _ in rows], types["cycle"]),
        "drafter": pa.array([cycle.drafter for _, _, cycle in rows], types["drafter"]),
    }
    for name in (*_COUNTS[1:], *_TIMES):
        columns[name] = pa.array([getattr(cycle, name) for _, _, cycle in rows], types[name])
    bits = [np.asarray(cycle.agreement, np.int8) for _, _, cycle in rows]
    columns["agreement"] = list_column(bits, pa.int8())
    for name in SIGNALS:
        known = [_known(cycle.signals, name) for _, _, cycle in rows]
        columns[name] = list_column(known, pa.float32())
    return columns


def _known(signals: Any, name: str) -> FloatArray | None:
    values = None if signals is None else np.asarray(getattr(signals, name), np.float64)
    return None if values is None or np.isnan(values).all() else values


def _cycles(header: dict[str, Any], columns: Columns) -> list[LoggedCycle]:
    del header
    refuse_nulls(columns, ("id", *_COUNTS, *_TIMES, "agreement"))
    cells: dict[str, list[Any]] = {
        name: columns[name].to_pylist() for name in ("id", *_COUNTS, *_TIMES)
    }
    cells["drafter"] = (
        columns["drafter"].to_pylist() if "drafter" in columns else [None] * len(columns["id"])
    )
    agreement = ragged(columns["agreement"])
    cells["agreement"] = agreement._replace(valid=np.ones_like(agreement.valid)).rows()
    for name in SIGNALS:
        lists = ragged(columns[name])
        cells[name] = lists._replace(values=lists.values.astype(np.float64)).rows()
    fields = [field.name for field in dataclasses.fields(LoggedCycle)]
    values = zip(*(cells[name] for name in fields), strict=True)
    return [LoggedCycle(*row) for row in values]
