import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from adaptive_spec.errors import TraceError
from adaptive_spec.policy import DraftSignals
from adaptive_spec.traces import (
    SIGNALS,
    is_cycle_log,
    read_cycle_file,
    read_cycles,
    write_cycles,
    write_trace,
)
from adaptive_spec.traces import cycles as cycles_module
from tests.traces.examples import example_trace, same_array


@dataclass(frozen=True)
class Cycle:
    """The fields of the engine's cycle record."""

    position: int
    tau: int
    num_draft_tokens: int
    num_accepted_tokens: int
    num_emitted_tokens: int
    agreement: tuple[int, ...]
    signals: DraftSignals | None
    draft_ms: float
    verify_ms: float
    context_tokens: int
    batch_size: int
    drafter: str | None = None


@dataclass(frozen=True)
class Request:
    id: str
    cycles: tuple[Cycle, ...]


def requests(num: int = 3) -> list[Request]:
    rng = np.random.default_rng(0)
    unknown = np.full(2, np.nan)

    def signals() -> DraftSignals:
        entropy = rng.random(2).astype(np.float32).astype(np.float64)
        return DraftSignals(np.array([0.5, np.nan]), entropy, unknown, unknown)

    none = DraftSignals(*[np.empty(0)] * 4)
    return [
        Request(
            f"r/{i}",
            (
                Cycle(0, 2, 2, 1, 2, (1, 0), signals(), 1.25, rng.random(), 9, 2),
                Cycle(2, 0, 0, 0, 1, (-1,), none, 0.0, rng.random(), 11, 2),
                Cycle(3, 4, 2, 2, 3, (1, 1, -1), None, 1.5, rng.random(), 12, 1, "lookup"),
            ),
        )
        for i in range(num)
    ]


@pytest.mark.parametrize("group_rows", [2, 1 << 16])
def test_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_rows: int) -> None:
    monkeypatch.setattr(cycles_module, "_GROUP_ROWS", group_rows)
    path = tmp_path / "cycles.parquet"
    write_cycles(requests(), path)
    expected = [(r.id, i, c) for r in requests() for i, c in enumerate(r.cycles)]
    found = read_cycles(path)
    assert len(found) == len(expected)
    for got, (request, index, cycle) in zip(found, expected, strict=True):
        assert (got.id, got.cycle) == (request, index)
        assert got.agreement.tolist() == list(cycle.agreement)
        for name in (
            "position",
            "tau",
            "num_draft_tokens",
            "num_accepted_tokens",
            "num_emitted_tokens",
            "draft_ms",
            "verify_ms",
            "context_tokens",
            "batch_size",
        ):
            assert getattr(got, name) == getattr(cycle, name)
        for name in SIGNALS:
            values = None if cycle.signals is None else getattr(cycle.signals, name)
            known = values is not None and not np.isnan(values).all()
            assert same_array(getattr(got, name), values if known else None)


def test_empty_log(tmp_path: Path) -> None:
    write_cycles([], tmp_path / "cycles.parquet")
    assert read_cycles(tmp_path / "cycles.parquet") == ()


def test_engine_records_are_accepted() -> None:
    """The engine's own classes have the fields that the log writes."""
    engine = pytest.importorskip("adaptive_spec.decoding.requests")
    engine_fields = set(engine.CycleRecord.__dataclass_fields__)
    assert set(Cycle.__dataclass_fields__) <= engine_fields
    assert set(Request.__dataclass_fields__) <= set(engine.Completion.__dataclass_fields__)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"agreement": (300,)}, "does not fit"), ({"tau": 1 << 70}, "does not fit")],
)
def test_values_that_do_not_fit(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    cycle = Cycle(**(vars(requests()[0].cycles[0]) | fields))
    with pytest.raises(TraceError, match=words):
        write_cycles([Request("r", (cycle,))], tmp_path / "cycles.parquet")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cycles.parquet"
    with pytest.raises(TraceError, match="No such file"):
        read_cycles(path)
    write_trace(example_trace(), path)
    with pytest.raises(TraceError, match=r"format is 'adaptive-spec\.trace'"):
        read_cycles(path)
    write_cycles(requests(), path)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["tau"]), path)
    with pytest.raises(TraceError, match="column 'tau' is missing"):
        read_cycles(path)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "cycles.parquet"
    write_cycles(requests(), path)
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    for i in range(100):
        damaged = bytearray(content[: len(content) * i // 20] if i < 20 else content)
        if i >= 20:
            damaged[rng.integers(len(content))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with contextlib.suppress(TraceError):
            read_cycles(path)
            assert i >= 20, "a truncated file was read"


def test_the_rule_goes_along(tmp_path: Path) -> None:
    path = tmp_path / "cycles.parquet"
    write_cycles(requests(), path, rule="coupled:seed=3")
    assert read_cycle_file(path).rule == "coupled:seed=3"
    assert [cycle.id for cycle in read_cycle_file(path).cycles] == [
        cycle.id for cycle in read_cycles(path)
    ]


def test_what_is_a_log_of_cycles(tmp_path: Path) -> None:
    log, trace, text = (tmp_path / name for name in ("cycles", "trace", "text"))
    write_cycles(requests(), log)
    write_trace(example_trace(), trace)
    text.write_text("PAR1", encoding="utf-8")
    assert [is_cycle_log(p) for p in (log, trace, text, tmp_path)] == [True, False, False, False]
