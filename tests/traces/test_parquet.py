import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from adaptive_spec.errors import MissingDependencyError, TraceError
from adaptive_spec.traces import SignalTrace, TraceSet, read_trace, write_trace
from adaptive_spec.traces import parquet as parquet_module
from tests.traces.examples import example_trace, same_trace, trace_sets


@pytest.fixture
def written(tmp_path: Path) -> tuple[TraceSet, Path]:
    traces, path = example_trace(), tmp_path / "trace.parquet"
    write_trace(traces, path)
    return traces, path


@given(trace_sets())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, traces: TraceSet) -> None:
    path = tmp_path_factory.mktemp("trace") / "trace.parquet"
    write_trace(traces, path)
    assert same_trace(read_trace(path), traces)


@pytest.mark.parametrize("drafting", ["token", "block"])
def test_round_trip_in_several_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drafting: Any
) -> None:
    monkeypatch.setattr(parquet_module, "_GROUP_SEQUENCES", 7)
    monkeypatch.setattr(parquet_module, "_GROUP_CELLS", 200)
    traces, path = example_trace(drafting, 40), tmp_path / "trace.parquet"
    write_trace(traces, path)
    assert pq.ParquetFile(path).num_row_groups > 5
    assert same_trace(read_trace(path), traces)


def test_later_signals_are_stored_only_where_recorded(tmp_path: Path) -> None:
    traces, path = example_trace(num_sequences=1), tmp_path / "trace.parquet"
    [sequence] = traces
    write_trace(traces, path)
    [stored] = pq.read_table(path).column("entropy_later").to_pylist()
    assert len(stored) == np.count_nonzero(~sequence.agreement) + 1

    full = {
        name: SignalTrace(s.first, np.nan_to_num(s.later)) for name, s in sequence.signals.items()
    }
    write_trace(TraceSet(traces.info, (replace(sequence, signals=full),)), path)
    later = read_trace(path).sequences[0].signals["entropy"].later
    assert np.isnan(later[:-1][sequence.agreement]).all()
    assert np.isfinite(later[-1]).all()


def test_signals_are_rounded_to_float32(tmp_path: Path) -> None:
    traces, path = example_trace("block", 1), tmp_path / "trace.parquet"
    [sequence] = traces
    n = sequence.run_lengths.size
    values = np.full(n + 1, 0.1)
    values[0] = 1e300
    signals = {"margin": SignalTrace(values, np.empty((n + 1, 0)))}
    write_trace(TraceSet(traces.info, (replace(sequence, signals=signals),)), path)
    read = read_trace(path).sequences[0].signals["margin"]
    assert read.first.tolist() == [np.inf, *[float(np.float32(0.1))] * n]
    assert read.later.shape == (n + 1, 0)


def test_signals_may_be_left_out(written: tuple[TraceSet, Path]) -> None:
    traces, path = written
    bare = TraceSet(traces.info, tuple(replace(s, signals={}, certainty=None) for s in traces))
    assert same_trace(read_trace(path, signals=False), bare)


def test_certainty_may_be_missing(written: tuple[TraceSet, Path]) -> None:
    traces, path = written
    columns = ["verifier_entropy", "verifier_margin"]
    pq.write_table(pq.read_table(path).drop_columns(columns), path)
    bare = TraceSet(traces.info, tuple(replace(s, certainty=None) for s in traces))
    assert same_trace(read_trace(path), bare)


def test_metadata_names_format_and_versions(written: tuple[TraceSet, Path]) -> None:
    header = json.loads(pq.read_schema(written[1]).metadata[b"adaptive-spec"])
    assert header["format"] == "adaptive-spec.trace"
    assert header["version"] == 2
    assert header["package_version"]
    assert header["info"]["verifier"] == "verifier/é"


def test_other_columns_are_ignored(written: tuple[TraceSet, Path]) -> None:
    traces, path = written
    table = pq.read_table(path)
    pq.write_table(table.append_column("note", pa.array(["x"] * len(traces))), path)
    assert same_trace(read_trace(path), traces)


def test_folder_of_parts(tmp_path: Path) -> None:
    traces = example_trace(num_sequences=6)
    for part, index in (("part-00001", [3, 4, 5]), ("part-00000", [0, 1, 2])):
        write_trace(traces.select(index), tmp_path / "run" / f"{part}.parquet")
    (tmp_path / "run" / "notes.txt").write_text("not a part")
    assert same_trace(read_trace(tmp_path / "run"), traces)


def fails(path: Path, *words: str) -> None:
    """Reading gives one line that names the path and these words."""
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message


def test_folder_with_parts_that_differ(tmp_path: Path) -> None:
    traces = example_trace(num_sequences=2)
    write_trace(traces.select([0]), tmp_path / "a.parquet")
    other = replace(traces.info, verifier="other")
    write_trace(TraceSet(other, traces.sequences[1:]), tmp_path / "b.parquet")
    with pytest.raises(TraceError, match=r"b\.parquet.*verifier is 'other', not 'verifier/é'"):
        read_trace(tmp_path)


def test_folder_that_repeats_an_id(tmp_path: Path) -> None:
    traces = example_trace(num_sequences=2)
    write_trace(traces, tmp_path / "a.parquet")
    write_trace(traces.select([1]), tmp_path / "b.parquet")
    fails(tmp_path, "'s/1' appears twice")


def test_folder_without_parts(tmp_path: Path) -> None:
    fails(tmp_path, "folder without parts", "*.parquet")


def test_missing_file(tmp_path: Path) -> None:
    fails(tmp_path / "none.parquet", "No such file")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b'{"id": "a", "run_lengths": [1]}\n', "looks like JSON"),
        (b"id,tau\n1,2\n", "not a Parquet file"),
        (b"PAR1", "truncated"),
        (b"PAR1PAR1", "truncated"),
        (b"PAR1\xff\xff\xff\x7fPAR1", "cannot be read"),
        (b"PAR1" + b"\0" * 200 + b"PAR1", "cannot be read"),
    ],
)
def test_files_that_are_no_parquet(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "trace.parquet"
    path.write_bytes(content)
    fails(path, words)


def test_foreign_parquet(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    pq.write_table(pa.table({"id": ["a"]}), path)
    fails(path, "another kind of Parquet file", "adaptive-spec record")


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def with_header(**fields: Any) -> Callable[[pa.Table], pa.Table]:
    """Replaces parts of the header (of ``info`` for its fields); None removes them."""

    def change(table: pa.Table) -> pa.Table:
        header = json.loads(table.schema.metadata[b"adaptive-spec"])
        for name, value in fields.items():
            part = header["info"] if name in header["info"] else header
            part[name] = value
            if value is None:
                del part[name]
        return table.replace_schema_metadata({b"adaptive-spec": json.dumps(header).encode()})

    return change


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"format": "adaptive-spec.cycles"}, "format is 'adaptive-spec.cycles'"),
        ({"version": 3}, "version = 3; this release reads 1 to 2"),
        ({"version": True}, "version = True"),
        ({"version": None}, "version = None"),
        ({"info": None}, "info: is missing"),
        ({"drafting": "guess"}, "drafting = 'guess'; it must be 'token' or 'block'"),
        ({"drafting": ["token"]}, "drafting = ['token']"),
        ({"verifier": 3}, "verifier = 3; it must be a str"),
        ({"verifier": None}, "'verifier' is missing"),
        ({"chat_template": 1}, "chat_template = 1; it must be a bool"),
        ({"drafting": "block"}, "columns 'run_lengths' and 'agreement'"),
    ],
)
def test_headers_that_are_refused(
    written: tuple[TraceSet, Path], fields: dict[str, Any], words: str
) -> None:
    rewrite(written[1], with_header(**fields))
    fails(written[1], words)


def test_header_that_is_not_json(written: tuple[TraceSet, Path]) -> None:
    rewrite(written[1], lambda t: t.replace_schema_metadata({b"adaptive-spec": b"[" * 99999}))
    fails(written[1], "another kind of Parquet file")


def replaced(name: str, values: Any, kind: Any = None) -> Callable[[pa.Table], pa.Table]:
    """Replaces a column; ``values`` may be a function of its values."""

    def change(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index(name)
        old = table.column(name)
        new = values(old.to_pylist()) if callable(values) else values
        return table.set_column(index, name, pa.array(new, kind or old.type))

    return change


def first_to(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda old: [value, *old[1:]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop_columns(["agreement"]), "column 'agreement' is missing"),
        (lambda t: t.append_column("id", t.column("id")), "column 'id' is missing, or there twice"),
        (lambda t: t.drop_columns(["entropy_later"]), "'entropy_later': one is missing"),
        (
            replaced("prompt_tokens", lambda old: [float(v) for v in old], pa.float64()),
            "column 'prompt_tokens' is double, expected int64",
        ),
        (replaced("id", lambda old: ["same"] * len(old)), "'same' appears twice"),
        (replaced("id", first_to(None)), "column 'id': has missing values"),
        (replaced("agreement", first_to(None)), "columns 'agreement' and 'run_lengths'"),
        (replaced("agreement", first_to([None])), "column 'agreement': has missing values"),
        (replaced("agreement", first_to([])), "lists of one length"),
        (replaced("run_lengths", first_to([1])), "columns 'agreement' and 'run_lengths'"),
        (replaced("proposes", first_to([])), "proposes must have one entry a token"),
        (replaced("output_ids", first_to([])), "output_ids has 0 entries"),
        (replaced("prompt_tokens", first_to(0)), "prompt_tokens = 0"),
        (replaced("limit_tokens", first_to(0)), "limit_tokens = 0"),
        (replaced("entropy_first", first_to([0.5])), "signal entropy needs"),
        (replaced("entropy_first", first_to(None)), "only one is null"),
        (replaced("entropy_later", first_to([[0.5]] * 99)), "lists of one length, got 99"),
        (replaced("entropy_later", first_to([None])), "has missing lists"),
        (replaced("verifier_entropy", first_to([])), "verifier_entropy has 0 entries"),
        (replaced("verifier_margin", first_to(None)), "'verifier_margin': only one has a value"),
        (lambda t: t.drop_columns(["verifier_margin"]), "'verifier_margin': only one has a value"),
        (lambda t: t.slice(0, 0), "holds no sequences"),
    ],
)
def test_contents_that_are_refused(
    written: tuple[TraceSet, Path], change: Callable[[pa.Table], pa.Table], words: str
) -> None:
    rewrite(written[1], change)
    fails(written[1], words)


def test_later_signals_of_unequal_length(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    write_trace(example_trace("block", 1), path)
    rewrite(
        path,
        replaced(
            "match_length_later", lambda old: [[row[i:] for i, row in enumerate(v)] for v in old]
        ),
    )
    fails(path, "lists of one length")


def test_sequence_without_tokens(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    write_trace(example_trace(signals=False), path)
    rewrite(path, replaced("agreement", first_to([])))
    fails(path, "'s/0': no output tokens")


def test_block_trace_with_impossible_run(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    write_trace(example_trace("block"), path)
    rewrite(path, replaced("run_lengths", lambda old: [[99] * len(runs) for runs in old]))
    fails(path, "run_lengths must lie between 0 and the tokens left")


def test_group_that_claims_too_much(
    written: tuple[TraceSet, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adaptive_spec.traces._columns._MAX_GROUP_ROWS", 4)
    fails(written[1], "row group 0 claims 5 rows")


def test_truncated_files(written: tuple[TraceSet, Path]) -> None:
    content = written[1].read_bytes()
    for share in range(20):
        written[1].write_bytes(content[: len(content) * share // 20])
        fails(written[1])


@pytest.mark.parametrize("drafting", ["token", "block"])
def test_damaged_files(tmp_path: Path, drafting: Any) -> None:
    """Flipped bytes give one clear error, or a trace that is valid all the same."""
    path = tmp_path / "trace.parquet"
    write_trace(example_trace(drafting), path)
    content = path.read_bytes()
    rng = np.random.default_rng(7)
    messages = []
    for _ in range(150):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), rng.integers(1, 4)):
            damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            assert isinstance(read_trace(path), TraceSet)
        except TraceError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(str(path) in message and "\n" not in message for message in messages)


def test_damaged_numbers_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    traces = example_trace(num_sequences=50)
    write_trace(traces, path)
    content = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0)
    chunk = next(
        column.column(i)
        for i in range(column.num_columns)
        if column.column(i).path_in_schema.startswith("output_ids")
    )
    content[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 1
    path.write_bytes(content)
    fails(path, "cannot be read")


def test_writing_leaves_an_earlier_file_whole(
    written: tuple[TraceSet, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    traces, path = written

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(parquet_module, "to_columns", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_trace(example_trace(seed=1), path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert same_trace(read_trace(path), traces)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"id": "\ud800"}, "does not fit"), ({"draftable_tokens": 1 << 70}, "does not fit")],
)
def test_values_that_do_not_fit(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    traces, path = example_trace(num_sequences=1), tmp_path / "trace.parquet"
    with pytest.raises(TraceError, match=words):
        write_trace(TraceSet(traces.info, (replace(traces.sequences[0], **fields),)), path)
    assert not path.exists()


def test_token_ids_beyond_int32(tmp_path: Path) -> None:
    traces = example_trace(num_sequences=1)
    [sequence] = traces
    ids = np.full(sequence.run_lengths.size, 1 << 31)
    with pytest.raises(TraceError, match="does not fit"):
        write_trace(
            TraceSet(traces.info, (replace(sequence, output_ids=ids),)), tmp_path / "x.parquet"
        )


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="is a folder"):
        write_trace(example_trace(), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(TraceError, match="cannot be written"):
        write_trace(example_trace(), tmp_path / "file" / "trace.parquet")


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'adaptive-spec\[trace\]'"):
        read_trace(tmp_path / "trace.parquet")


@settings(max_examples=5)
@given(trace_sets())
def test_writing_twice_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, traces: TraceSet
) -> None:
    folder = tmp_path_factory.mktemp("trace")
    write_trace(traces, folder / "a.parquet")
    write_trace(traces, folder / "b.parquet")
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()
