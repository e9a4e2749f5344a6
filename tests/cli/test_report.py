"""``report``: one page of results, with policies replayed on the traces among them."""

import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from adaptive_spec.cli.token_text import token_pieces
from tests.cli.running import refuse, succeed
from tests.tiny_models import byte_level_tokenizer
from tests.tiny_pair import TinyPair


def data_of(page: str) -> Any:
    """The JSON that a page holds."""
    return json.loads(page.partition('id="data">')[2].partition("</script>")[0])


def test_a_trace_under_two_policies(pair: TinyPair, trace: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    said = succeed(
        *("report", trace, "-o", page, "--title", "Mine & <yours>"),
        *("-p", "fixed:tau=2", "-p", "ewma"),
    ).err
    assert f"report written to {page}" in said
    text = page.read_text(encoding="utf-8")
    assert "<title>Mine &amp; &lt;yours&gt;</title>" in text
    data = data_of(text)
    assert sorted(data["policies"]) == ["ewma", "fixed:tau=2"]
    [shown] = data["viewers"]
    assert shown["has_text"]
    assert "the story" in shown["requests"][0]["prompt"]
    comparison = succeed("compare", trace, "-p", "ewma", "-p", "fixed:tau=2", "--json", "-").json()
    speeds = {entry["policy"]: entry["speedup_over_plain"] for entry in comparison["policies"]}
    rows = data["sections"][0]["panels"][0]["charts"][0]["series"]
    assert {row["name"]: row["x"] for row in rows} == {
        name: [pytest.approx(speed, rel=1e-4)] for name, speed in speeds.items()
    }


def test_figures_are_the_charts_of_the_page(trace: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results, figures = tmp_path / "comparison.json", tmp_path / "figures"
    succeed("compare", trace, "-p", "ewma", "--json", results)
    done = succeed(*("report", results, "-o", "-", "--figures", figures, "--figure-format", "svg"))
    [panel] = data_of(done.out)["sections"][0]["panels"]
    assert sorted(path.name for path in figures.iterdir()) == sorted(
        f"{panel['name']}-{i + 1}.svg" for i in range(len(panel["charts"]))
    )


def test_the_policies_of_a_comparison_are_replayed(trace: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "trace.parquet").write_bytes(trace.read_bytes())
    policies = ("-p", "fixed:tau=1", "-p", "ewma")
    succeed("compare", trace, *policies, "--json", results / "comparison.json")
    other = json.loads((results / "comparison.json").read_text(encoding="utf-8"))
    other["policies"][0]["policy"] = "of-another-machine"
    (results / "other.json").write_text(json.dumps(other), encoding="utf-8")
    done = succeed("report", results, "-o", "-")
    data = data_of(done.out)
    assert sorted(data["viewers"][0]["policies"]) == ["ewma", "fixed:tau=1"]
    assert "of-another-machine is not replayed" in done.err
    titles = [panel["title"] for panel in data["sections"][0]["panels"]]
    assert titles == ["Policies compared: comparison.json", "Policies compared: other.json"]


def test_without_a_tokenizer_tokens_are_numbers(
    pair: TinyPair, trace: Path, tmp_path: Path
) -> None:
    with mock.patch("adaptive_spec.decoding.pretrained.load_tokenizer", return_value=None):
        done = succeed("report", trace, "-o", "-", "-p", "fixed:tau=2")
        assert "no tokenizer there; name the verifier's folder" in done.err
        [shown] = data_of(done.out)["viewers"]
        assert shown["requests"][0]["tokens"][0].startswith("⟨")
        arguments = ("report", trace, "-p", "fixed:tau=2", "--verifier", pair.bare)
        assert "no tokenizer there" in refuse(*arguments, "-o", tmp_path / "r.html", code=1)


def test_characters_of_several_tokens_go_to_the_last_of_them() -> None:
    tokenizer: Any = byte_level_tokenizer()
    ids = tokenizer("a\u00e9\u20ac b")["input_ids"]
    pieces = token_pieces(tokenizer)
    assert "".join(pieces(ids)) == "a\u00e9\u20ac b"
    assert [piece for piece in pieces(ids) if piece] == ["a", "\u00e9", "\u20ac", " ", "b"]
    assert pieces(ids[:2]) == ["a", "\ufffd"]
    assert pieces([10**6]) == ["\ufffd"]


def test_bad_usage_gets_one_line_and_leaves_no_page(trace: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    foreign = tmp_path / "foreign.json"
    foreign.write_text('{"a": 1}', encoding="utf-8")
    for arguments, said in (
        ((foreign,), "none of the results that a report shows: traces"),
        ((tmp_path / "none.parquet",), "cannot be read (No such file or directory)"),
        ((trace, "-p", "no-such"), "no-such"),
        ((trace, "--costs", "draft=cheap"), "'cheap' is not a number"),
        ((trace, "-p", "confidence", "--max-draft-tokens", 50), "confidence: trace: holds signals"),
        ((trace, "--figure-format", "gif"), "--figure-format gif: allowed are png, svg, pdf"),
    ):
        assert said in refuse("report", *arguments, "-o", page)
        assert not page.exists()


def test_figures_without_matplotlib(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = refuse("report", trace, "-o", tmp_path / "r.html", "--figures", tmp_path / "f", code=1)
    assert "adaptive-spec[figures]" in said
    assert not (tmp_path / "r.html").exists()
