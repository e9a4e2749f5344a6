"""Costs from logs of cycles, against the costs that the logs were made with."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from adaptive_spec import CostsError, parse_costs
from adaptive_spec.served_costs import LEAST_CYCLES, ServedCosts, fit_costs
from adaptive_spec.traces import LoggedCycle, write_cycles
from tests.cli.running import refuse, succeed

DRAFTING = {"model": (2.0, 1.5), "lookup": (0.0, 0.0)}


def verify_ms(batch: int, width: int, context: float) -> float:
    return 20 + 2 * batch + (0 if width < 4 else 5) + 0.01 * context


def logged(
    cycles: int,
    *,
    taus: tuple[int, ...] = (0, 1, 2, 4, 6),
    batches: tuple[int, ...] = (1, 4),
    slow: float = 0.0,
    jitter: float = 0.0,
    seed: int = 0,
) -> list[LoggedCycle]:
    """Cycles of a made-up engine; a share of them, ``slow``, takes five times as long."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(cycles):
        batch, name = int(random.choice(batches)), str(random.choice(list(DRAFTING)))
        own = random.choice(taus, batch)
        contexts = random.integers(100, 2000, batch)
        widest = int(own.max())
        start, step = DRAFTING[name]
        longer = (5.0 if random.random() < slow else 1.0) * (1 + jitter * random.standard_normal())
        draft = (start + step * widest) * longer if widest else 0.0
        # A little apart, as clocks have it: that is how cycles of a batch are told.
        verify = verify_ms(batch, widest + 1, contexts.mean()) * longer + 1e-9 * number
        rows += [
            LoggedCycle(
                f"r/{i}", number, number, int(tau), int(tau), 0, 1, name if tau else None,
                np.array([-1], np.int8), None, None, None, None, draft, verify, int(context), batch,
            )
            for i, (tau, context) in enumerate(zip(own, contexts, strict=True))
        ]  # fmt: skip
    return rows


def prices(found: ServedCosts, batch: int, width: int, context: int) -> float:
    at = np.array([width - 1]), batch, np.array([context])
    return float(found.costs.verify_ms(*at)[0])


@pytest.mark.parametrize(("slow", "jitter", "near"), [(0.0, 0.0, 0.01), (0.2, 0.05, 0.06)])
def test_the_costs_of_an_engine_are_found(slow: float, jitter: float, near: float) -> None:
    found = fit_costs(logged(1500, slow=slow, jitter=jitter), hardware="a machine")
    for batch, width, context in ((1, 1, 300), (1, 5, 1500), (1, 7, 1000), (4, 7, 1000)):
        expected = verify_ms(batch, width, context)
        assert prices(found, batch, width, context) == pytest.approx(expected, rel=near)
    model = found.costs.of_drafter("model")
    drafting = model.draft_ms(np.array([4]), 1, np.array([500]))[0]
    assert drafting == pytest.approx(2 + 4 * 1.5, rel=max(near, 0.1))
    assert found.costs.of_drafter("lookup").draft_ms(np.array([4]), 4, np.array([500])) == 0
    assert found.cycles == 1500
    assert found.median_error < max(near, 0.02)
    assert str(found.costs) == "served by a machine"


def test_what_was_not_seen_is_said_and_priced_carefully() -> None:
    found = fit_costs(logged(400, taus=(2, 4), batches=(2, 8)))
    assert found.costs.batch_sizes == (1, 2, 8)
    assert found.costs.widths == (1, 3, 5)
    assert prices(found, 1, 5, 1000) == prices(found, 2, 5, 1000)
    assert prices(found, 2, 1, 1000) == pytest.approx(prices(found, 2, 3, 1000))
    said = "\n".join(found.notes)
    assert "batch size 1 was not seen: taken to cost what 2 does" in said
    assert "batch size 2: passes over 1 tokens were not seen; taken to cost what 3 do" in said
    assert "beyond batch size 8, 5 tokens a pass" in said
    # Wider passes, seen in the smaller batch alone, are no cheaper in the larger one.
    wide = [
        *logged(200, taus=(0, 8), batches=(1,)),
        *logged(200, taus=(0, 1), batches=(4,), seed=1),
    ]
    found = fit_costs(wide)
    assert prices(found, 4, 9, 1000) >= max(prices(found, 1, 9, 1000), prices(found, 4, 2, 1000))
    assert "batch size 4: passes over 9 tokens were not seen" in "\n".join(found.notes)


def test_cycles_that_lack_a_row_are_left_out() -> None:
    rows = logged(400, batches=(2,))
    found = fit_costs(rows[:-1])
    assert found.cycles == 399
    assert "1 cycles left out: rows of them are missing" in found.notes


def test_a_log_that_does_not_name_drafters() -> None:
    rows = [r for r in logged(800, batches=(1,)) if r.drafter != "lookup"]
    found = fit_costs(dataclasses.replace(row, drafter=None) for row in rows)
    assert found.costs.drafts == ()
    drafting = found.costs.draft_ms(np.array([4]), 1, np.array([500]))[0]
    assert drafting == pytest.approx(8.0, rel=0.01)


def test_too_short_a_log_is_refused() -> None:
    for rows in ([], logged(LEAST_CYCLES - 1, batches=(1,))):
        with pytest.raises(CostsError, match="give a longer log"):
            fit_costs(rows)


class _Request:
    """What is written as a log: a request and its cycles."""

    def __init__(self, cycles: list[LoggedCycle]) -> None:
        self.id, self.cycles = "r", [_Recorded(row) for row in cycles]


class _Recorded:
    signals = None

    def __init__(self, row: LoggedCycle) -> None:
        for field in dataclasses.fields(row):
            setattr(self, field.name, getattr(row, field.name))


def test_the_command_writes_what_costs_takes(tmp_path: Path) -> None:
    log, target = tmp_path / "cycles.parquet", tmp_path / "costs.json"
    write_cycles([_Request(logged(300, batches=(1,)))], log)  # type: ignore[list-item]
    result = succeed("fit-costs", log, "-o", target, "--hardware", "here")
    assert "half of 300 cycles lie within" in result.err
    assert "times are extrapolated" in result.err
    assert str(parse_costs(str(target))) == "served by here"
    report = succeed("fit-costs", log, "-o", target, "--json", "-").json()
    assert report["cycles"] == 300
    assert report["costs"] == "served by unknown hardware"
    assert "ends in .json" in refuse("fit-costs", log, "-o", tmp_path / "costs.txt")
    assert "cannot be read" in refuse("fit-costs", tmp_path / "none.parquet", "-o", target, code=1)
