"""Cost models and their files."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from adaptive_spec import ConstantCosts, CostModel, CostsError, MeasuredCosts, parse_costs
from adaptive_spec.cost_files import load_costs, save_costs
from adaptive_spec.costs import DraftCurve, cycle_costs
from adaptive_spec.testing import strategies


def measured(**changes: Any) -> MeasuredCosts:
    fields: dict[str, Any] = {
        "batch_sizes": (1, 4),
        "context_tokens": (100, 300),
        "widths": (1, 3, 5),
        "verify_grid_ms": np.array(
            [[[10.0, 12, 20], [20, 22, 30]], [[16.0, 18, 26], [26, 28, 36]]]
        ),
        "draft_start_ms": np.array([[1.0, 2], [1, 2]]),
        "draft_step_ms": np.array([[3.0, 5], [6, 10]]),
    }
    return MeasuredCosts(**{**fields, **changes})


def at(*values: int) -> Any:
    return np.array(values)


def test_constant_costs_are_linear() -> None:
    costs = ConstantCosts(draft=0.5, verify=0.25, plain_ms=8)
    assert costs.draft_ms(at(0, 2), 1, at(9, 9)).tolist() == [0, 8]
    assert costs.verify_ms(at(0, 2), 1, at(9, 9)).tolist() == [8, 12]
    assert costs.table(2, 1, at(9)).tolist() == [[8, 14, 20]]


def test_measured_costs_at_and_between_the_points() -> None:
    costs = measured()
    assert costs.plain_ms == 10
    assert costs.verify_ms(at(0, 2, 4), 1, at(100, 100, 100)).tolist() == [10, 12, 20]
    assert costs.verify_ms(at(1, 0), 1, at(100, 200)).tolist() == [11, 15]
    assert costs.verify_ms(at(0), 2, at(100)).tolist() == [12]
    assert costs.draft_ms(at(0, 1, 2), 1, at(100, 100, 300)).tolist() == [0, 4, 12]


def test_measured_costs_beyond_the_points_go_on_but_never_fall() -> None:
    costs = measured()
    assert costs.verify_ms(at(6), 1, at(100)).tolist() == [28]
    assert costs.verify_ms(at(0), 1, at(500)).tolist() == [30]
    assert costs.verify_ms(at(0, 0), 1, at(1, 100)).tolist() == [10, 10]
    assert costs.verify_ms(at(0), 7, at(100)).tolist() == [22]
    falling = measured(verify_grid_ms=measured().verify_grid_ms[:, ::-1])
    assert falling.verify_ms(at(0), 1, at(5000)).tolist() == [10]


@given(strategies.cost_models())
def test_tables_agree_with_single_prices(costs: CostModel) -> None:
    contexts = at(1, 64, 100, 512, 3000)
    for batch in (1, 3, 16):
        table = np.broadcast_to(costs.table(6, batch, contexts), (5, 7))
        for tau in range(7):
            single = cycle_costs(costs, np.full(5, tau), batch, contexts)
            np.testing.assert_allclose(table[:, tau], single)
        assert (np.diff(table, axis=1) >= -1e-9).all(), "a longer draft is never cheaper"
        assert (table > 0).all()


def test_one_measured_point_is_enough() -> None:
    costs = MeasuredCosts(
        (1,), (64,), (1,), np.full((1, 1, 1), 5.0), np.zeros((1, 1)), np.ones((1, 1))
    )
    assert costs.table(2, 8, at(1, 999)).tolist() == [[5, 6, 7]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("draft=-1", "draft = -1"),
        ("draft=nan", "draft = nan"),
        ("verify=inf", "verify = inf"),
        ("draft=1e9", "0 to 1000"),
        ("plain_ms=0", "plain_ms = 0.0; allowed"),
        ("plain_ms=nan", "plain_ms = nan; allowed"),
        ("draft=abc", "not a number"),
        ("draft=1,draft=2", "draft is given twice"),
        ("speed=1", "unknown field 'speed'.*draft, verify"),
        ("", "cannot be read"),
        ("missing.json", "cannot be read"),
    ],
)
def test_wrong_costs_are_refused(text: str, message: str) -> None:
    with pytest.raises(CostsError, match=message):
        parse_costs(text)


def test_costs_from_text() -> None:
    assert parse_costs("draft=0.125, verify=0.5") == ConstantCosts(0.125, 0.5)
    assert str(parse_costs("draft=0.125,verify=0.5")) == "draft=0.125,verify=0.5"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_sizes": (2, 4)}, "start at 1"),
        ({"widths": (1, 5, 3)}, "widths = .* increasing"),
        ({"context_tokens": ()}, "context_tokens = .* increasing"),
        ({"draft_step_ms": np.ones((2, 3))}, "draft_step_ms has shape"),
        ({"draft_step_ms": -np.ones((2, 2))}, "negative"),
        ({"draft_start_ms": np.full((2, 2), np.nan)}, "not finite"),
        ({"verify_grid_ms": np.zeros((2, 2, 3))}, "takes no time"),
        ({"verify_grid_ms": measured().verify_grid_ms[..., ::-1]}, "falls with the width"),
        ({"origin": "hearsay"}, "origin = 'hearsay'; allowed are measured, roofline, served"),
    ],
)
def test_measured_costs_that_contradict_themselves_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CostsError, match=message):
        measured(**changes)


def test_files_of_earlier_releases_are_measured(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    save_costs(measured(origin="roofline"), path)
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data.pop("origin") == "roofline"
    path.write_text(json.dumps(data), encoding="utf-8")
    assert str(load_costs(path)) == "measured on unknown"


def test_what_a_policy_is_shown_is_what_it_is_charged_beyond_the_grid_too() -> None:
    # A second context that measured cheaper drafts and dearer passes: noise, but it happens.
    costs = measured(
        draft_start_ms=np.zeros((2, 2)), draft_step_ms=np.array([[3.0, 0.5], [3, 0.5]])
    )
    far = np.full(5, 4000)
    table = costs.table(4, 1, far)[0]
    tau = np.arange(5)
    assert (costs.draft_ms(tau, 1, far) + costs.verify_ms(tau, 1, far)).tolist() == table.tolist()
    assert (np.diff(table) >= 0).all()


def test_nobody_can_change_a_cost_model() -> None:
    for costs in (ConstantCosts(), measured(), measured(context_tokens=(1, 2))):
        before = costs.table(4, 1, at(1)).copy()
        with contextlib.suppress(ValueError):  # some tables are read-only, some are copies
            costs.table(4, 1, at(1))[:] = 0
        assert costs.table(4, 1, at(1)).tolist() == before.tolist()
    grid = np.ones((1, 1, 1))
    costs = MeasuredCosts((1,), (64,), (1,), grid, np.zeros((1, 1)), np.zeros((1, 1)))
    grid[:] = 99
    assert costs.plain_ms == 1
    with pytest.raises(ValueError, match="read-only"):
        costs.verify_grid_ms[:] = 99


@given(strategies.measured_costs())
def test_files_round_trip(tmp_path_factory: pytest.TempPathFactory, costs: MeasuredCosts) -> None:
    path = tmp_path_factory.mktemp("costs") / "costs.json"
    save_costs(costs, path)
    loaded = load_costs(path)
    assert (loaded.hardware, loaded.widths) == (costs.hardware, costs.widths)
    np.testing.assert_array_equal(loaded.verify_grid_ms, costs.verify_grid_ms)
    np.testing.assert_array_equal(loaded.draft_step_ms, costs.draft_step_ms)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format="other"), "not a file written by"),
        (lambda d: d.update(version=2), "version 2"),
        (lambda d: d.pop("widths"), "missing or malformed field"),
        (lambda d: d.update(widths=["a"]), "missing or malformed field"),
        (lambda d: d.update(verify_grid_ms=[[1], [1, 2]]), "missing or malformed field"),
        (lambda d: d.update(widths=5), "missing or malformed field"),
        (lambda d: d.update(widths=[1, 3.5, 5]), "missing or malformed field"),
        (lambda d: d.update(widths=[1, 3, float("inf")]), "missing or malformed field"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "costs.json"
    save_costs(measured(), path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(CostsError, match=message):
        load_costs(path)


def test_files_that_are_not_json_are_refused(tmp_path: Path) -> None:
    for content in (b"not json", b"\xff\xfe\x00", b"[]", b"[" * 100_000):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(CostsError):
            parse_costs(str(tmp_path / "x.json"))


def test_a_drafter_may_have_a_price_of_its_own() -> None:
    costs = parse_costs("draft=0.5,draft.lookup=0,draft.models/v1.2=0.25,verify=0.1,plain_ms=2")
    assert isinstance(costs, ConstantCosts)
    assert str(costs) == "draft=0.5,draft.lookup=0,draft.models/v1.2=0.25,verify=0.1"
    prices = {"lookup": 0.0, "lookup:min_ngram=2": 0.0, "models/v1.2": 0.25, "other": 0.5}
    for name, draft in prices.items():
        assert costs.of_drafter(name) == ConstantCosts(draft, 0.1, 2.0)
    plain = ConstantCosts(0.5)
    assert plain.of_drafter("lookup") is plain


@pytest.mark.parametrize("text", ["draft.=1", "draft.x=-1", "draft.x=a", "draft.x=1,draft.x=2"])
def test_wrong_prices_of_drafters_are_refused(text: str) -> None:
    with pytest.raises(CostsError, match="costs: "):
        parse_costs(text)


def test_curves_of_drafters_are_kept_in_files(tmp_path: Path) -> None:
    grid, flat = np.array([[[1.0, 2.0]]]), np.array([[0.5]])
    curve = DraftCurve(np.array([[0.25]]), np.array([[0.125]]))
    costs = MeasuredCosts((1,), (64,), (1, 9), grid, flat, flat, drafts=(("lookup", curve),))
    save_costs(costs, tmp_path / "costs.json")
    tau, context = np.array([2]), np.array([64])
    for loaded in (costs, load_costs(tmp_path / "costs.json")):
        assert loaded.of_drafter("lookup").draft_ms(tau, 1, context).tolist() == [0.5]
        assert loaded.of_drafter("other").draft_ms(tau, 1, context).tolist() == [1.5]
        assert loaded.of_drafter("lookup").verify_ms(tau, 1, context) == loaded.verify_ms(
            tau, 1, context
        )
    data = json.loads((tmp_path / "costs.json").read_text(encoding="utf-8"))
    sound = data["drafts"]["lookup"]
    for wrong, message in (
        (3, "missing or malformed field"),
        (None, "drafts: other: start_ms is missing or malformed"),
        ({"start_ms": [[1.0]]}, "drafts: other: step_ms is missing or malformed"),
        (sound | {"step_ms": [["fast"]]}, "drafts: other: step_ms is missing or malformed"),
        (sound | {"step_ms": [[1.0, 2.0]]}, "draft_step_ms has shape .*the curve of 'other'"),
        (sound | {"start_ms": [[-1.0]]}, "draft_start_ms has values .*the curve of 'other'"),
    ):
        drafts = wrong if wrong == 3 else {"lookup": sound, "other": wrong}
        (tmp_path / "wrong.json").write_text(json.dumps(data | {"drafts": drafts}))
        with pytest.raises(CostsError, match=message):
            load_costs(tmp_path / "wrong.json")
    short = DraftCurve(np.array([0.25]), np.array([[0.125]]))
    with pytest.raises(CostsError, match=r"draft_start_ms has shape .*the curve of 'lookup'"):
        MeasuredCosts((1,), (64,), (1, 9), grid, flat, flat, drafts=(("lookup", short),))


def test_prices_of_drafters_that_are_not_there_are_refused() -> None:
    costs = parse_costs("draft=0.2,draft.lookup=0,draft.early-exit=0.3")
    assert isinstance(costs, ConstantCosts)
    costs.require_drafters(("lookup", "early-exit:layers=2", "early-exit:layers=4"))
    with pytest.raises(CostsError, match=r"draft\.early-exit .* there are lookup, builtin"):
        costs.require_drafters(("lookup", "builtin"))
