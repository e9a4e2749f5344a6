"""Traces of composed drafters: their default order, their files, and what they refuse."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from adaptive_spec.errors import TraceError
from adaptive_spec.traces import (
    Component,
    DrafterTrace,
    SequenceTrace,
    TraceInfo,
    TraceSet,
    TraceWriter,
    in_default_order,
    read_trace,
    write_trace,
)
from tests.traces.examples import example_trace, same_trace

PARTS = (Component("lookup:max_ngram=3,min_ngram=1", "block"), Component("models/small", "token"))
INFO = TraceInfo("v", "+".join(p.spec for p in PARTS), "block", components=PARTS)


def composed(num_sequences: int = 4, seed: int = 0) -> TraceSet:
    """A lookup with a draft model behind it, with signals of their own."""
    lookup = example_trace("block", num_sequences, seed)
    model = example_trace("token", num_sequences, seed + 1)
    return TraceSet(INFO, tuple(map(put_together, lookup, model)))


def put_together(a: SequenceTrace, b: SequenceTrace) -> SequenceTrace:
    n = min(a.run_lengths.size, b.run_lengths.size)
    left = n - np.arange(n)
    parts = tuple(
        DrafterTrace(
            np.minimum(s.run_lengths[:n], left),
            s.proposes[:n],
            reach,
            {k: v._replace(first=v.first[: n + 1], later=v.later[: n + 1]) for k, v in known},
        )
        for s, reach in ((a, None), (b, n // 2))
        for known in [s.signals.items()]
    )
    whole = in_default_order(parts)
    return dataclasses.replace(
        a,
        run_lengths=whole.run_lengths,
        proposes=whole.proposes,
        limit_tokens=None,
        draftable_tokens=whole.draftable_tokens,
        signals={},
        output_ids=np.arange(n),
        components=parts,
    )


def test_the_first_that_proposes_and_has_room_is_taken() -> None:
    first = DrafterTrace(np.array([2, 0, 0, 0]), np.array([True, True, False, False]), 1)
    second = DrafterTrace(np.array([0, 1, 2, 1]), np.ones(4, np.bool_), 3)
    whole = in_default_order([first, second])
    assert whole.run_lengths.tolist() == [2, 1, 2, 0]
    assert whole.proposes.tolist() == [True, True, True, False]
    assert whole.draftable_tokens == 3
    unlimited = dataclasses.replace(second, draftable_tokens=None)
    assert in_default_order([first, unlimited]).draftable_tokens is None


def same_drafters(a: TraceSet, b: TraceSet) -> bool:
    specs = [part.spec for part in PARTS]
    return same_trace(a, b) and all(same_trace(a.only(spec), b.only(spec)) for spec in specs)


def test_a_drafter_of_a_composition_alone() -> None:
    traces = composed()
    lookup, model = traces.only("lookup"), traces.only("models/small")
    assert lookup.info == dataclasses.replace(
        INFO, drafter="lookup:max_ngram=3,min_ngram=1", components=()
    )
    assert (model.info.drafter, model.info.drafting) == ("models/small", "token")
    for whole, first, second in zip(traces, lookup, model, strict=True):
        assert first.drafters[0].run_lengths is whole.components[0].run_lengths
        assert first.signals.keys() == {"match_length"}
        assert second.draftable_tokens == whole.components[1].draftable_tokens
        assert second.signals is whole.components[1].signals
        assert (first.id, second.prompt_tokens) == (whole.id, whole.prompt_tokens)
        assert first.components == second.components == ()
    assert same_trace(lookup, traces.only("lookup:max_ngram=3,min_ngram=1"))
    assert same_trace(lookup, lookup.only("lookup"))  # the only one it has
    with pytest.raises(TraceError, match=r"no drafter 'other'; it was .* lookup, models/small"):
        traces.only("other")


@pytest.mark.parametrize("seed", range(3))
def test_files_round_trip(tmp_path: Path, seed: int) -> None:
    traces = composed(seed=seed)
    write_trace(traces, tmp_path / "t.parquet")
    back = read_trace(tmp_path / "t.parquet")
    assert back.info.drafter_names == ("lookup", "models/small")
    assert same_drafters(traces, back)
    light = read_trace(tmp_path / "t.parquet", signals=False)
    assert not any(drafter.signals for s in light for drafter in s.drafters)


def test_recording_continues(tmp_path: Path) -> None:
    traces = composed()
    begun = TraceWriter(tmp_path / "t.parquet", INFO)
    begun.add(traces.sequences[0])
    begun.flush()
    with TraceWriter(tmp_path / "t.parquet", INFO) as writer:
        assert writer.done_ids == {"s/0"}
        for sequence in traces.sequences[1:]:
            writer.add(sequence)
    assert same_drafters(traces, read_trace(tmp_path / "t.parquet"))


def rewrite(path: Path, header: dict[str, Any], drop: str | None = None) -> None:
    table = pq.read_table(path)
    if drop is not None:
        table = table.drop_columns([drop])
    metadata = json.loads(table.schema.metadata[b"adaptive-spec"]) | header
    pq.write_table(
        table.replace_schema_metadata({b"adaptive-spec": json.dumps(metadata)}),
        path,
        write_page_checksum=True,
    )


@pytest.mark.parametrize(
    ("components", "words"),
    [
        (5, "components = 5; it must be a list"),
        ([5], "must be a list of objects"),
        ([{"spec": "a"}], "'drafting' is missing"),
        ([{"spec": "a", "drafting": "wild"}], "drafting = 'wild'; it must be 'token' or 'block'"),
        ([{"spec": "a", "drafting": "block"}], "two or more drafters"),
        ([{"spec": "a", "drafting": "block"}] * 2, "all different"),
    ],
)
def test_wrong_components_are_refused(tmp_path: Path, components: Any, words: str) -> None:
    write_trace(composed(), tmp_path / "t.parquet")
    info = dataclasses.asdict(INFO) | {"components": components}
    rewrite(tmp_path / "t.parquet", {"info": info})
    with pytest.raises(TraceError, match=words):
        read_trace(tmp_path / "t.parquet")


def test_a_missing_drafter_is_refused(tmp_path: Path) -> None:
    write_trace(composed(), tmp_path / "t.parquet")
    rewrite(tmp_path / "t.parquet", {}, drop="drafter_1_agreement")
    with pytest.raises(TraceError, match="column 'drafter_1_agreement' is missing"):
        read_trace(tmp_path / "t.parquet")


def test_contradictions_are_refused() -> None:
    traces = composed()
    sequence = traces.sequences[0]
    with pytest.raises(TraceError, match="in their default order"):
        dataclasses.replace(sequence, draftable_tokens=3)
    with pytest.raises(TraceError, match="has 1 drafters, the trace 2"):
        TraceSet(INFO, (dataclasses.replace(sequence, components=()),))
    shorter = DrafterTrace(np.array([0]), np.array([True]))
    with pytest.raises(TraceError, match="drafter 0 has another number of tokens"):
        dataclasses.replace(sequence, components=(shorter, *sequence.components))
    lookup, model = sequence.components
    wrong = dataclasses.replace(lookup, run_lengths=lookup.run_lengths + 99)
    with pytest.raises(TraceError, match="drafter 0: run_lengths must lie"):
        dataclasses.replace(sequence, components=(wrong, model))
