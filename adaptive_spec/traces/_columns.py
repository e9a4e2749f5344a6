"""Parquet files of this package: typed columns, a format tag in the metadata, whole or refused.

A file carries ``{"format": ..., "version": ..., "package_version": ..., ...}`` as JSON under the
metadata key ``adaptive-spec``, and a checksum on every page.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec._files import atomic_write
from adaptive_spec._optional import require
from adaptive_spec._version import __version__
from adaptive_spec.errors import AdaptiveSpecError, TraceError

_KEY = b"adaptive-spec"

# What a group of rows may claim before anything is allocated for it. Our own groups hold less.
_MAX_GROUP_ROWS = 1 << 20
_MAX_GROUP_BYTES = 1 << 34

Columns = dict[str, Any]
"""Arrow arrays (or, in a schema, Arrow types) by column name."""

ItemT = TypeVar("ItemT")


class FileFormat(NamedTuple):
    """A kind of file: its tag, its newest version (all are read), and how messages call it."""

    name: str
    version: int
    noun: str
    made_by: str


class Layout(NamedTuple):
    """The columns of a file: their types, and which of them may be missing."""

    types: Columns
    optional: frozenset[str] = frozenset()


class Ragged(NamedTuple):
    """A list column: ``values[start[i]:start[i + 1]]`` is row i, ``[N + 1]``; nulls are empty.

    ``values`` is a flat array for simple lists and an Arrow list array for nested ones.
    """

    values: Any
    start: IntArray
    valid: BoolArray

    def rows(self) -> list[Any]:
        """Views of each row's values; None where null."""
        bounds, valid = self.start.tolist(), self.valid.tolist()
        return [
            self.values[a:b] if known else None
            for a, b, known in zip(bounds[:-1], bounds[1:], valid, strict=True)
        ]


def list_column(
    rows: Sequence[npt.NDArray[Any] | None], item_type: Any, inner: IntArray | None = None
) -> Any:
    """An Arrow list array from one array a row; NaN becomes null.

    Args:
      rows: flat arrays, or ``[rows, D]`` ones where ``inner`` is given; None for null.
      item_type: Arrow type of the innermost values.
      inner: length of each inner list, in order, for a list of lists.
    """
    pa = require("pyarrow", "trace")
    counts = [0 if row is None else row.shape[0] for row in rows]
    known = [row.ravel() for row in rows if row is not None]
    flat = np.concatenate(known) if known else np.empty(0, np.int32)
    if pa.types.is_float32(item_type):
        with np.errstate(over="ignore"):
            flat = flat.astype(np.float32)
    values = pa.array(flat, from_pandas=True).cast(item_type)
    if inner is not None:
        values = pa.ListArray.from_arrays(pa.array(_starts(inner), pa.int32()), values)
    mask = pa.array([row is None for row in rows], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(_starts(counts), pa.int32()), values, mask=mask)


def ragged(array: Any) -> Ragged:
    """The rows of an Arrow list array."""
    counts = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    values = array.flatten()
    if not hasattr(values, "value_lengths"):
        values = values.to_numpy(zero_copy_only=False)
    return Ragged(values, _starts(counts), array.is_valid().to_numpy(zero_copy_only=False))


def _starts(counts: npt.ArrayLike) -> IntArray:
    sizes = np.asarray(counts, np.int64)
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))


def write_columns(
    path: str | Path,
    form: FileFormat,
    types: Columns,
    header: dict[str, Any],
    groups: Iterable[Columns],
) -> None:
    """Writes groups of rows as one file, whole or not at all.

    Raises:
      TraceError: it cannot be written there, or values do not fit their columns.
    """
    pa, pq = require("pyarrow", "trace"), require("pyarrow.parquet", "trace")
    tag = {"format": form.name, "version": form.version, "package_version": __version__}
    schema = pa.schema(list(types.items()), metadata={_KEY: json.dumps(tag | header)})
    try:
        with (
            atomic_write(path) as temporary,
            pq.ParquetWriter(
                temporary, schema, compression="zstd", write_page_checksum=True
            ) as writer,
        ):
            for group in groups:
                writer.write_table(pa.table(group, schema=schema))
    except AdaptiveSpecError:
        raise
    except OSError as error:
        reason = error.strerror or _first_line(error)
        raise TraceError(f"{form.noun} {str(path)!r}: cannot be written ({reason})") from error
    except (pa.ArrowException, UnicodeError, OverflowError) as error:
        raise TraceError(
            f"{form.noun} {str(path)!r}: a value does not fit its column ({_first_line(error)})"
        ) from error


def file_format(path: str | Path) -> str | None:
    """The kind of file that a Parquet file says it is; None where it does not say.

    Raises:
      TraceError: it cannot be read.
      MissingDependencyError: pyarrow is not installed.
    """
    pq = require("pyarrow.parquet", "trace")
    try:
        text = (pq.read_metadata(path).metadata or {}).get(_KEY, b"null")
        header = json.loads(text)
    except Exception as error:  # as in ``read_columns``
        reason = getattr(error, "strerror", None) or _first_line(error)
        raise TraceError(f"{str(path)!r}: cannot be read ({reason}); is it damaged?") from error
    kind = header.get("format") if isinstance(header, dict) else None
    return kind if isinstance(kind, str) else None


def read_columns(
    path: Path,
    form: FileFormat,
    layout: Callable[[dict[str, Any]], Layout],
    convert: Callable[[dict[str, Any], Columns], list[ItemT]],
) -> tuple[dict[str, Any], list[ItemT]]:
    """Reads a file written by ``write_columns``.

    Args:
      path: the file.
      form: the kind of file it must be.
      layout: its columns, from the header; others are ignored.
      convert: makes items of one group of rows, from the header and its columns.

    Returns:
      The header, and the items of all groups.

    Raises:
      TraceError: no such file, not such a file, damaged, or with other columns.
    """
    require("pyarrow", "trace")
    name = f"{form.noun} {str(path)!r}"
    # Damage shows as almost any exception of Arrow's (ArrowInvalid, OSError, OverflowError,
    # MemoryError...), so here, and only here, all of them mean "cannot be read".
    try:
        _check_ends(path, name, form)
        header, groups = _load(path, name, form, layout)
        items: list[ItemT] = []
        for columns in groups:
            items += convert(header, columns)
    except AdaptiveSpecError as error:
        text = str(error)
        raise TraceError(text if text.startswith(name) else f"{name}: {text}") from None
    except Exception as error:
        reason = getattr(error, "strerror", None) or _first_line(error)
        raise TraceError(f"{name}: cannot be read ({reason}); is it damaged?") from error
    return header, items


def _check_ends(path: Path, name: str, form: FileFormat) -> None:
    """Refuses, in plain words, what is no Parquet file at all."""
    with path.open("rb") as file:
        head = file.read(4)
        size = file.seek(0, 2)
        file.seek(max(size - 4, 0))
        tail = file.read(4)
    if not head:
        raise TraceError(f"{name}: is empty; expected {form.made_by}")
    if head != b"PAR1":
        looks = " (it looks like JSON)" if head.lstrip()[:1] in (b"{", b"[") else ""
        raise TraceError(f"{name}: is not a Parquet file{looks}; expected {form.made_by}")
    if tail != b"PAR1" or size < 12:
        raise TraceError(f"{name}: is truncated: a Parquet file that does not end as one")


def _load(
    path: Path, name: str, form: FileFormat, layout: Callable[[dict[str, Any]], Layout]
) -> tuple[dict[str, Any], list[Columns]]:
    pq = require("pyarrow.parquet", "trace")
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        footer = file.metadata
        header = _header((footer.metadata or {}).get(_KEY), name, form)
        types, optional = layout(header)
        schema = file.schema_arrow
        for column, wanted in types.items():
            found = schema.get_all_field_indices(column)
            if not found and column in optional:
                continue
            if len(found) != 1:
                raise TraceError(f"{name}: column {column!r} is missing, or there twice")
            if schema.field(found[0]).type != wanted:
                got = schema.field(found[0]).type
                raise TraceError(f"{name}: column {column!r} is {got}, expected {wanted}")
        present = [column for column in types if column in schema.names]
        groups = []
        for index in range(footer.num_row_groups):
            group = footer.row_group(index)
            rows, size = group.num_rows, group.total_byte_size
            if not (0 <= rows <= _MAX_GROUP_ROWS and 0 <= size <= _MAX_GROUP_BYTES):
                raise TraceError(
                    f"{name}: row group {index} claims {rows} rows and {size} bytes; allowed are "
                    f"{_MAX_GROUP_ROWS} and {_MAX_GROUP_BYTES}"
                )
            table = file.read_row_group(index, columns=present)
            table.validate(full=True)
            groups.append({c: table.column(c).combine_chunks() for c in present})
    return header, groups


def _header(text: bytes | None, name: str, form: FileFormat) -> dict[str, Any]:
    try:
        header = json.loads(text or b"null")
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("format") != form.name:
        got = header.get("format") if isinstance(header, dict) else None
        other = f" (its format is {got!r})" if isinstance(got, str) else ""
        raise TraceError(f"{name}: is another kind of Parquet file{other}; expected {form.made_by}")
    version = header.get("version")
    if type(version) is not int or not 1 <= version <= form.version:
        raise TraceError(
            f"{name}: version = {version!r}; this release reads 1 to {form.version}, "
            "so use the release that wrote it, or write it anew"
        )
    return header


def refuse_nulls(columns: Columns, names: Iterable[str]) -> None:
    """Refuses columns with missing values, at the top or inside their lists."""
    for name in names:
        column = columns[name]
        inside = column.flatten().null_count if hasattr(column, "value_lengths") else 0
        if inside or (column.null_count and not hasattr(column, "value_lengths")):
            raise TraceError(f"column {name!r}: has missing values; every one is needed")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0]
