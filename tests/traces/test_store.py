from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adaptive_spec.errors import TraceError
from adaptive_spec.traces import (
    SequenceTrace,
    TraceInfo,
    TraceSet,
    TraceWriter,
    read_trace,
    store,
    write_trace,
)
from tests.traces.examples import example_trace, same_trace

TRACES = example_trace(num_sequences=11)
IDS = [sequence.id for sequence in TRACES]


def record(
    path: str | Path,
    *,
    sequences: Iterable[SequenceTrace] = TRACES,
    stop_after: int | None = None,
    error: type[BaseException] = KeyboardInterrupt,
    info: TraceInfo = TRACES.info,
    order: Sequence[str] = (),
) -> list[str]:
    """Records what is not done yet, three to a part; returns the ids recorded in this run."""
    recorded: list[str] = []
    with TraceWriter(path, info, flush_every=3) as writer:
        for sequence in sequences:
            if sequence.id in writer.done_ids:
                continue
            if len(recorded) == stop_after:
                raise error
            writer.add(sequence)
            recorded.append(sequence.id)
        writer.close(order)
    return recorded


def test_one_file_and_no_parts_are_left(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "trace.parquet"
    assert record(path) == IDS
    assert [p.name for p in path.parent.iterdir()] == ["trace.parquet"]
    assert same_trace(read_trace(path), TRACES)


@pytest.mark.parametrize("stop_after", range(11))
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("name", ["trace.parquet", "folder/"])
def test_interrupted_runs_continue(
    tmp_path: Path, name: str, stop_after: int, error: type[BaseException]
) -> None:
    path = f"{tmp_path}/{name}"
    with pytest.raises(error):
        record(path, stop_after=stop_after, error=error)
    assert record(path, order=IDS) == IDS[stop_after:]
    assert same_trace(read_trace(path), TRACES)


def test_resumed_file_equals_uninterrupted_one(tmp_path: Path) -> None:
    record(tmp_path / "a.parquet")
    for stop_after in (4, 2):
        with pytest.raises(KeyboardInterrupt):
            record(tmp_path / "b.parquet", stop_after=stop_after)
    record(tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_killed_run_keeps_its_whole_parts(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    writer = TraceWriter(path, TRACES.info, flush_every=3)
    for sequence in TRACES.sequences[:8]:
        writer.add(sequence)
    names = sorted(p.name for p in (tmp_path / "trace.parquet.parts").iterdir())
    assert names == ["part-00000.parquet", "part-00001.parquet"]
    assert record(path) == IDS[6:]  # the last two were in memory only
    assert same_trace(read_trace(path), TRACES)


def test_interrupted_before_the_first_sequence_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        record(tmp_path / "trace.parquet", stop_after=0)
    assert list(tmp_path.iterdir()) == []


def test_nothing_recorded_writes_nothing(tmp_path: Path) -> None:
    assert record(tmp_path / "trace.parquet", sequences=()) == []
    assert list(tmp_path.iterdir()) == []


def test_order_is_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    record(path, sequences=reversed(TRACES.sequences), order=["not recorded", *IDS])
    assert same_trace(read_trace(path), TRACES)


def test_sequences_not_named_come_first(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    record(path, sequences=TRACES.sequences[:3])
    record(path, sequences=TRACES.sequences[3:5], order=[IDS[4], IDS[3]])
    assert [s.id for s in read_trace(path)] == [*IDS[:3], IDS[4], IDS[3]]


def test_complete_trace_is_extended(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    record(path, sequences=TRACES.sequences[:7])
    assert record(path) == IDS[7:]
    assert same_trace(read_trace(path), TRACES)


def test_complete_trace_is_left_alone_when_there_is_nothing_new(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    record(path)
    before = path.stat()
    assert record(path, order=IDS) == []
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [p.name for p in tmp_path.iterdir()] == ["trace.parquet"]


def test_earlier_trace_stays_whole_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    record(path, sequences=TRACES.sequences[:7])
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        record(path, stop_after=2)
    assert path.read_bytes() == before
    assert record(path) == IDS[9:]


def test_failed_merge_keeps_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace.parquet"
    record(path, sequences=TRACES.sequences[:2])
    before = path.read_bytes()

    def full_disk(traces: TraceSet, target: Path) -> None:
        if target == path:
            raise TraceError("no space left")
        write_trace(traces, target)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_trace", full_disk)
        with pytest.raises(TraceError, match="no space"):
            record(path)
    assert path.read_bytes() == before
    assert record(path) == []
    assert same_trace(read_trace(path), TRACES)


def test_parts_that_outlived_their_merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace.parquet"

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            record(path, sequences=TRACES.sequences[:7])
    assert (tmp_path / "trace.parquet.parts").is_dir()
    assert record(path) == IDS[7:]
    assert same_trace(read_trace(path), TRACES)
    assert [p.name for p in tmp_path.iterdir()] == ["trace.parquet"]


@pytest.mark.parametrize("name", ["folder", "folder/", "existing.parquet"])
def test_folder_stays_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "existing.parquet").mkdir()
    path = f"{tmp_path}/{name}"
    record(path)
    names = sorted(p.name for p in Path(path).iterdir())
    assert names == [f"part-{i:05d}.parquet" for i in range(4)]
    assert same_trace(read_trace(path), TRACES)


@pytest.mark.parametrize("name", ["trace.parquet", "folder"])
@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused(tmp_path: Path, name: str, finished: bool) -> None:
    path = tmp_path / name
    if finished:
        record(path)
    else:
        with pytest.raises(KeyboardInterrupt):
            record(path, stop_after=5)
    other = replace(TRACES.info, numerics="bfloat16 cpu")
    words = "numerics is 'float32 cpu', not 'bfloat16 cpu'; to start afresh, delete it"
    with pytest.raises(TraceError, match=words):
        TraceWriter(path, other)
    assert record(path) == ([] if finished else IDS[5:])


def test_foreign_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    path.write_text("precious")
    with pytest.raises(TraceError, match=r"not a Parquet file.*choose another path"):
        TraceWriter(path, TRACES.info)
    assert path.read_text() == "precious"


def test_damaged_part_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    with pytest.raises(KeyboardInterrupt):
        record(path, stop_after=5)
    part = tmp_path / "trace.parquet.parts" / "part-00001.parquet"
    part.write_bytes(b"")
    with pytest.raises(TraceError, match=r"part-00001\.parquet': is empty.*delete it"):
        TraceWriter(path, TRACES.info)
    part.unlink()
    record(path)
    assert same_trace(read_trace(path), TRACES)


def test_sequences_that_are_refused(tmp_path: Path) -> None:
    block = example_trace("block", 30)
    runs_of_a_block = next(s for s in block if 0 < s.run_lengths[0] < s.run_lengths.size)
    with TraceWriter(tmp_path / "trace.parquet", TRACES.info) as writer:
        writer.add(TRACES.sequences[0])
        with pytest.raises(TraceError, match="'s/0' is there already"):
            writer.add(TRACES.sequences[0])
        with pytest.raises(TraceError, match="contradict a token-by-token"):
            writer.add(replace(runs_of_a_block, id="new"))
        assert writer.done_ids == {"s/0"}
        writer.close()
        writer.close()
        with pytest.raises(TraceError, match="is closed"):
            writer.add(TRACES.sequences[1])
    assert len(read_trace(tmp_path / "trace.parquet")) == 1


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for path in (tmp_path / "file" / "trace.parquet", tmp_path / "file"):
        with pytest.raises(TraceError, match=r"cannot be|not a Parquet"):
            TraceWriter(path, TRACES.info)
    assert (tmp_path / "file").read_text() == "precious"


def test_flush_every_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="flush_every = 0"):
        TraceWriter(tmp_path / "trace.parquet", TRACES.info, flush_every=0)
