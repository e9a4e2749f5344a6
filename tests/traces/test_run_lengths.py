import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from adaptive_spec.errors import TraceError
from adaptive_spec.traces import TraceInfo, TraceSet, export_run_lengths, import_run_lengths
from tests.traces.examples import example_trace, same_trace, trace_sets

GOOD: dict[str, Any] = {"id": "a", "prompt_tokens": 3, "run_lengths": [2, 0, 1]}


def written(path: Path, *records: Any) -> Path:
    path.write_text("\n".join(json.dumps(r) for r in records) + "\n", encoding="utf-8")
    return path


def test_fields(tmp_path: Path) -> None:
    path = written(
        tmp_path / "runs.jsonl",
        GOOD,
        GOOD | {"id": "b", "category": "code", "max_new_tokens": 5, "_note": 1, "extra": None},
    )
    traces = import_run_lengths(path, drafter="eagle", verifier="big")
    assert traces.info == TraceInfo("big", "eagle", "block", source="imported")
    a, b = traces
    assert (a.id, a.category, a.prompt_tokens, a.limit_tokens) == ("a", "", 3, None)
    assert (b.id, b.category, b.prompt_tokens, b.limit_tokens) == ("b", "code", 3, 5)
    assert a.run_lengths.tolist() == [2, 0, 1]
    assert a.proposes.all()
    assert import_run_lengths(path).info == TraceInfo(
        "unknown", "imported", "block", source="imported"
    )


def test_runs_past_the_end_are_cut(tmp_path: Path) -> None:
    path = written(tmp_path / "runs.jsonl", GOOD | {"run_lengths": [9, 2, 1 << 80]})
    assert import_run_lengths(path).sequences[0].run_lengths.tolist() == [3, 2, 1]


def test_blank_lines_and_a_byte_order_mark_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(f"\r\n{json.dumps(GOOD)}\r\n  \r\n", encoding="utf-8-sig")
    assert len(import_run_lengths(path)) == 1


def test_line_separators_inside_a_string_do_not_end_the_line(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(GOOD | {"id": "a\u2028b"}, ensure_ascii=False), encoding="utf-8")
    assert import_run_lengths(path).sequences[0].id == "a\u2028b"


@given(trace_sets())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, traces: TraceSet) -> None:
    path = tmp_path_factory.mktemp("runs") / "runs.jsonl"
    kept = TraceSet(
        TraceInfo("unknown", "imported", "block", source="imported"),
        tuple(
            replace(
                s,
                id=f"id {s.id}",
                proposes=np.ones_like(s.proposes),
                draftable_tokens=None,
                finish_reason="unknown",
                signals={},
                prompt_ids=None,
                output_ids=None,
                certainty=None,
            )
            for s in traces
        ),
    )
    export_run_lengths(kept, path)
    assert same_trace(import_run_lengths(path), kept)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": None}, "id = null; it must be a string"),
        ({"id": 7}, "id = 7; it must be a string"),
        ({"id": " "}, "id is blank"),
        ({"id": "\ud800"}, "id holds half of a surrogate pair"),
        ({"category": 1}, "category = 1; it must be a string"),
        ({"prompt_tokens": "3"}, 'prompt_tokens = "3"; it must be an integer of at least 1'),
        ({"prompt_tokens": True}, "prompt_tokens = true"),
        ({"prompt_tokens": 3.0}, "prompt_tokens = 3.0"),
        ({"prompt_tokens": 0}, "prompt_tokens = 0"),
        ({"prompt_tokens": 1 << 99}, "prompt_tokens = huge"),
        ({"run_lengths": []}, "'run_lengths' is not a list with values"),
        ({"run_lengths": 3}, "'run_lengths' is not a list with values"),
        ({"run_lengths": [1, True]}, "run_lengths[1] = true; it must be an integer"),
        ({"run_lengths": [1, -1]}, "run_lengths[1] = -1"),
        ({"run_lengths": [0.5]}, "run_lengths[0] = 0.5"),
        ({"run_lengths": [float("nan")]}, "run_lengths[0] = NaN"),
        ({"run_lengths": [None]}, "run_lengths[0] = null"),
        ({"run_lengths": [[1]]}, "run_lengths[0] = [1]"),
        ({"max_new_tokens": 2}, "max_new_tokens = 2; it must be an integer of at least 3"),
        ({"max_new_tokens": "9"}, 'max_new_tokens = "9"'),
        ({"id": "first"}, "'first' appears twice"),
    ],
)
def test_bad_fields_are_named_with_their_line(
    tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    path = written(tmp_path / "runs.jsonl", GOOD | {"id": "first"}, GOOD | fields)
    with pytest.raises(TraceError) as caught:
        import_run_lengths(path)
    assert f"{str(path)!r}, line 2" in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", sorted(GOOD))
def test_missing_fields_are_named(tmp_path: Path, field: str) -> None:
    record = {name: value for name, value in GOOD.items() if name != field}
    with pytest.raises(TraceError, match=f"line 1: '{field}' is missing"):
        import_run_lengths(written(tmp_path / "runs.jsonl", record))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"{", "line 1: not JSON"),
        (b"[" * 99999, "line 1: not JSON"),
        (b'{"id": ' + b"9" * 9999 + b"}", "line 1: not JSON"),
        (b"[1, 2]", "item 1: expected a JSON object, got 1"),
        (b'\n{"id": "\xff"}', "line 2: not UTF-8"),
        (b"PAR1\x15\x04\x95", "not UTF-8"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_bytes(content)
    with pytest.raises(TraceError) as caught:
        import_run_lengths(path)
    assert words in str(caught.value)


def test_places_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(TraceError, match="cannot be read"):
            import_run_lengths(path)
    with pytest.raises(TraceError, match="cannot be written"):
        export_run_lengths(example_trace(), tmp_path)
