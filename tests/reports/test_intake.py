"""Files are told apart by what is in them; foreign and damaged ones get one clear line."""

import json
from pathlib import Path

import pytest

from adaptive_spec.cost_files import save_costs
from adaptive_spec.errors import AdaptiveSpecError, ConfigError, CostsError, TraceError
from adaptive_spec.reports import read_results
from adaptive_spec.traces import TraceWriter, write_cycles, write_trace
from tests.reports.examples import (
    comparison,
    example_evidence,
    example_trace,
    measured,
    scenario,
    write,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a result of every kind, under names that say nothing."""
    write_trace(example_trace(3, 8), tmp_path / "a.parquet")
    write_cycles([], tmp_path / "b.parquet")
    save_costs(measured(), tmp_path / "c.json")
    write(tmp_path / "d.json", comparison())
    write(tmp_path / "e.json", example_evidence().as_dict())
    write(tmp_path / "f.json", scenario())
    simulated = {"policies": comparison()["policies"], "costs": "c", "time_unit": "ms"}
    write(tmp_path / "g.json", simulated)
    return tmp_path


def test_every_kind_is_known_by_what_it_holds(folder: Path) -> None:
    (folder / "notes.txt").write_text("not looked at", encoding="utf-8")
    write(folder / "z.json", {"another": "result"})
    passed: list[str] = []
    found = read_results([folder], passed.append)
    assert [source.kind for source in found.sources] == [
        *("trace", "cycle log", "costs", "comparison", "evidence", "scenario", "simulation")
    ]
    assert (list(found.traces), list(found.cycles)) == (["a.parquet"], ["b.parquet"])
    assert (list(found.costs), list(found.evidence)) == (["c.json"], ["e.json"])
    assert (list(found.comparisons), list(found.scenarios)) == (["d.json", "g.json"], ["f.json"])
    assert len(passed) == 1
    assert "z.json: passed over" in passed[0]


def test_a_folder_of_parts_is_one_trace(tmp_path: Path) -> None:
    traces = example_trace(3, 8)
    with TraceWriter(tmp_path / "parts/", traces.info, flush_every=1) as writer:
        for sequence in traces:
            writer.add(sequence)
    parts = next(path.parent for path in tmp_path.rglob("part-*.parquet"))
    assert len(list(parts.glob("*.parquet"))) == 3
    [trace] = read_results([parts]).traces.values()
    assert len(trace) == 3


def test_files_of_one_name_are_told_apart(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write(other / "d.json", comparison())
    found = read_results([folder / "d.json", other / "d.json"])
    assert list(found.comparisons) == ["d.json", "other/d.json"]
    with pytest.raises(ConfigError, match="given twice"):
        read_results([folder / "d.json"] * 40)


@pytest.mark.parametrize(
    ("name", "text", "kind", "said"),
    [
        ("x.json", "", ConfigError, "neither JSON nor Parquet, or damaged"),
        ("x.json", '{"policies": [', ConfigError, "neither JSON nor Parquet, or damaged"),
        ("x.json", "[" * 100_000, ConfigError, "neither JSON nor Parquet, or damaged"),
        ("x.json", "\xff\xfe", ConfigError, "none of the results|damaged"),
        ("x.json", "[1, 2]", ConfigError, "none of the results that a report shows: traces"),
        ("x.json", '{"a": 1}', ConfigError, "none of the results that a report shows"),
        ("x.json", '{"format": "adaptive-spec.costs"}', CostsError, "version None"),
        ("x.json", '{"format": "adaptive-spec.evidence"}', ConfigError, "make it anew"),
        ("x.json", '{"costs": 1, "time_unit": "ms", "policies": []}', ConfigError, "costs = 1"),
        ("x.parquet", "", TraceError, "cannot be read"),
        ("x.parquet", "PAR1 and no more", TraceError, "is it damaged"),
    ],
)
def test_foreign_and_damaged_files(
    tmp_path: Path, name: str, text: str, kind: type[AdaptiveSpecError], said: str
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(kind, match=said) as caught:
        read_results([path])
    assert "x." in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_foreign_parquet_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match="none of the results that a report shows"):
        read_results([tmp_path / "x.parquet"])


def test_a_truncated_trace(folder: Path) -> None:
    whole = (folder / "a.parquet").read_bytes()
    (folder / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TraceError, match=r"a\.parquet"):
        read_results([folder])


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no results there; give traces"):
        read_results([tmp_path])
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read \(No such file"):
        read_results([tmp_path / "none.json"])


def test_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    text = json.dumps({**scenario(), "requests": float("inf")})
    (tmp_path / "s.json").write_text(text, encoding="utf-8")
    [given] = read_results([tmp_path]).scenarios.values()
    with pytest.raises(ConfigError, match=r"s\.json: requests = inf; it must be a number"):
        given.number("requests")
