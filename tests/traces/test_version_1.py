"""Files that the first version of the formats wrote are read, as they were."""

from pathlib import Path

import numpy as np

from adaptive_spec.traces import TraceInfo, TraceWriter, read_cycles, read_trace

FILES = Path(__file__).parent / "version_1"


def test_a_recorded_trace() -> None:
    (sequence,) = traces = read_trace(FILES / "token.parquet")
    assert traces.info == TraceInfo(
        "v", "models/small", "token", "float32", max_new_tokens=6, signal_depth=2, rule="greedy"
    )
    assert (sequence.id, sequence.category, sequence.prompt_tokens) == ("a", "chat", 2)
    assert (sequence.limit_tokens, sequence.draftable_tokens) == (6, 9)
    assert sequence.run_lengths.tolist() == [1, 0, 2, 1]
    assert sequence.proposes.all()
    assert sequence.finish_reason == "eos"
    assert sequence.output_ids is not None
    assert sequence.output_ids.tolist() == [7, 8, 9, 1]
    margin = sequence.signals["margin"]
    assert margin.first.tolist() == [0.5, 1, 2, 3, 4]
    assert margin.later[[1, 4], 0].tolist() == [0.25, 0.75]
    assert np.isnan(margin.later[[0, 2, 3]]).all()
    assert sequence.components == ()


def test_an_imported_trace() -> None:
    (sequence,) = traces = read_trace(FILES / "block.parquet")
    assert traces.info == TraceInfo("v", "eagle", "block", source="imported")
    assert sequence.run_lengths.tolist() == [2, 0, 0]
    assert sequence.proposes.tolist() == [True, False, True]


def test_recording_goes_on_from_it(tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    folder.mkdir()
    (folder / "part-00000.parquet").write_bytes((FILES / "token.parquet").read_bytes())
    info = read_trace(FILES / "token.parquet").info
    with TraceWriter(folder, info) as writer:
        assert writer.done_ids == {"a"}


def test_a_cycle_log() -> None:
    cycles = read_cycles(FILES / "cycles.parquet")
    assert [(c.id, c.tau, c.num_accepted_tokens, c.drafter) for c in cycles] == [
        ("a", 3, 1, None),
        ("a", 0, 0, None),
    ]
    assert [cycle.agreement.tolist() for cycle in cycles] == [[1, 0], [-1]]
