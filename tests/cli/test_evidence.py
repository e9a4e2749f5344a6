import json
from pathlib import Path
from typing import Any

import pytest

from adaptive_spec import ConstantCosts, policy_names
from adaptive_spec.cost_files import save_costs
from adaptive_spec.simulations.evidence import STYLISED, gathering
from adaptive_spec.simulations.evidence.judge import judge
from adaptive_spec.traces import read_trace, write_trace
from tests.cli.running import refuse, succeed
from tests.simulations.evidence.examples import easy_and_hard, lookup_and_model
from tests.test_costs import measured

FEW = ("--shuffles", 2, "--resamples", 20, "--max-draft-tokens", 3, "--jobs", 1)
HALF = ("--costs", "draft=0.125", "--no-stylised")


@pytest.fixture(scope="module")
def easy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evidence") / "easy.parquet"
    write_trace(easy_and_hard(), path)
    return path


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evidence") / "mixed.parquet"
    write_trace(lookup_and_model(), path)
    return path


def test_a_page_and_all_figures(easy: Path, tmp_path: Path) -> None:
    page, figures = tmp_path / "docs" / "evidence.md", tmp_path / "evidence.json"
    result = succeed(
        *("evidence", easy, *FEW, *HALF, "-p", "fixed:tau=3", "-o", page, "--json", figures)
    )
    assert result.out == ""
    assert f"page written to {page}" in result.err
    text = page.read_text(encoding="utf-8")
    command = f"adaptive-spec evidence {easy} --shuffles 2 --resamples 20"
    assert text.partition("```sh\n")[2].startswith(command)
    data = json.loads(figures.read_text(encoding="utf-8"))
    assert set(data) == {"format", "version", "settings", "drafters", "cells", "left_out"}
    mixture = data["cells"][0]
    assert mixture["category"] is None
    assert mixture["hindsight_tau"] == 2
    verdict = mixture["policies"]["fixed:tau=3"]
    assert verdict["over_hindsight"][0] == pytest.approx(9.8125 / 9.9375)
    assert set(verdict) == {
        "over_plain", "over_chosen", "over_hindsight", "span_share", "tokens_per_cycle", "orders",
    }  # fmt: skip


def test_results_go_to_standard_output(easy: Path) -> None:
    command = ("evidence", easy, *FEW, *HALF, "-p", "ewma")
    assert succeed(*command).out.startswith("# Evidence\n")
    data = succeed(*command, "--json", "-").json()
    assert [cell["category"] for cell in data["cells"]] == [None, "easy", "hard"]


def test_by_default_everything_is_judged(mixed: Path, tmp_path: Path) -> None:
    data = succeed("evidence", mixed, *FEW, "--shuffles", 1, "--json", "-").json()
    drafters = [one["drafter"] for one in data["drafters"]]
    assert drafters == ["lookup+models/small", "lookup", "models/small"]
    assert {cell["costs"] for cell in data["cells"]} == set(STYLISED)
    for drafter in drafters:
        cell = next(cell for cell in data["cells"] if cell["drafter"] == drafter)
        left_out = [one["policy"] for one in data["left_out"] if one["drafter"] == drafter]
        assert sorted([*cell["policies"], *left_out]) == policy_names()


def test_an_earlier_run_is_continued(
    easy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = tmp_path / "evidence.json"
    command = ("evidence", easy, *FEW, *HALF, "--json", figures, "-o", tmp_path / "page.md")
    succeed(*command, "-p", "ewma")

    def only_new(*task: Any) -> Any:
        assert task[1] == "fixed:tau=1"
        return judge(*task)

    monkeypatch.setattr(gathering, "judge", only_new)
    succeed(*command, "-p", "ewma", "-p", "fixed:tau=1")
    policies = json.loads(figures.read_text(encoding="utf-8"))["cells"][0]["policies"]
    assert list(policies) == ["ewma", "fixed:tau=1"]
    succeed(*command, "-p", "fixed:tau=1", "--again", "fixed:tau=1")
    assert "`ewma`" not in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_results_of_another_run_are_refused(easy: Path, tmp_path: Path) -> None:
    figures = tmp_path / "evidence.json"
    command = ("evidence", easy, *FEW, *HALF, "-p", "ewma", "--json", figures)
    succeed(*command)
    before = figures.read_bytes()
    assert "begin a new file" in refuse(*command, "--seed", 3)
    assert figures.read_bytes() == before
    figures.write_text("{}", encoding="utf-8")
    assert "were not written by `adaptive-spec evidence`" in refuse(*command)
    figures.write_text("no", encoding="utf-8")
    assert "is there, and no JSON" in refuse(*command)


def test_costs_and_drafters(mixed: Path, tmp_path: Path) -> None:
    save_costs(measured(), tmp_path / "costs.json")
    data = succeed(
        *("evidence", mixed, *FEW, "-p", "ewma", "--drafter", "lookup", "--json", "-"),
        *("--costs", tmp_path / "costs.json", "--costs", "draft=0.5,draft.lookup=0"),
    ).json()
    names = list(dict.fromkeys(cell["costs"] for cell in data["cells"]))
    own = ["costs.json (measured on unknown)", str(ConstantCosts(0.5, drafts=(("lookup", 0.0),)))]
    assert names == [*own, *STYLISED]
    assert {cell["drafter"] for cell in data["cells"]} == {"lookup"}


def test_what_is_refused(easy: Path, trace: Path, tmp_path: Path) -> None:
    command = ("evidence", easy, *FEW)
    assert "at least one cost point" in refuse(*command, "--no-stylised")
    assert "is given twice" in refuse(*command, "--costs", "draft=1", "--costs", "draft=1.0")
    assert "no trace has a drafter 'x'" in refuse(*command, "--drafter", "x")
    assert "unknown policy" in refuse(*command, "-p", "x")
    assert "it is a folder" in refuse(*command, "-o", tmp_path)
    assert "cannot be read" in refuse("evidence", tmp_path / "x.parquet", code=1)
    short = tmp_path / "short.parquet"
    write_trace(read_trace(trace).select([0]), short)
    assert "two halves need at least 2" in refuse("evidence", short, code=1)
