import re

import pytest

from adaptive_spec.simulations.bootstrap import Interval
from adaptive_spec.simulations.evidence import Evidence, Verdict, gather, markdown, page
from tests.simulations.evidence.examples import (
    POINT,
    SETTINGS,
    easy_and_hard,
    lookup_and_model,
    varied,
)


def rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, its names first."""
    [_, below] = text.split(f"\n{heading}\n")
    table = re.search(r"(^\|.*\n)+", below, flags=re.MULTILINE)
    assert table is not None
    lines = table[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    policies = ["fixed:tau=3", "fixed:tau=0"]
    return gather([easy_and_hard()], policies=policies, costs=POINT, settings=SETTINGS)


def test_it_begins_with_the_command_and_the_facts(evidence: Evidence) -> None:
    text = markdown(evidence, "adaptive-spec evidence t.parquet")
    assert text.startswith("# Evidence\n")
    assert text.index("```sh\nadaptive-spec evidence t.parquet\n```") < text.index("## What was")
    assert rows(text, "## What was judged")[2] == [
        "`drafter`", "`drafter`", "`verifier`", "8", "96", "recorded, unknown, unknown",
    ]  # fmt: skip
    assert "Prompts of `drafter`: easy 4, hard 4." in text
    assert "of taus up to 3" in text


def test_the_mixture_has_a_row_for_every_policy_the_fastest_first(evidence: Evidence) -> None:
    names, align, *found = rows(markdown(evidence, ""), "### `drafter` at c = .125")
    assert names == [
        "policy",
        "over plain",
        "over chosen",
        "over hindsight",
        "span",
        "tokens per pass",
    ]
    assert align == ["---", *["---:"] * 5]
    assert [row[0] for row in found] == [
        "*plain decoding*",
        "*static, chosen: tau = 2*",
        "*static, hindsight: tau = 2*",
        "*clairvoyant optimum*",
        "`fixed:tau=3`",
        "`fixed:tau=0`",
    ]
    three = found[4]
    assert three[1].startswith("1.208 [")  # 12 / 9.9375
    assert three[3].startswith("0.987 [")  # 9.8125 / 9.9375
    assert three[4].startswith("-6% [")
    assert three[5] == "1.60"
    assert found[0][1:3] == ["1.000", found[0][3]]
    assert found[3][4] == "+100%"
    assert found[2][4] == "+0%"


def test_the_narrow_table_counts_cells(evidence: Evidence) -> None:
    names, _, *found = rows(markdown(evidence, ""), "## `drafter`")
    assert names[1:3] == ["cells ≥ 99% of hindsight", "cells ≥ 98% of plain"]
    # tau = 3: .987 of the best static tau on the mixture, 1 on easy and .762 on hard prompts.
    assert found[0] == ["`fixed:tau=3`", "1/3", "2/3", "0.987", "0.762", "hard, c = .125", "0.762"]
    # Plain decoding: 9.8125 / 12, 4.125 / 12 and 1.
    assert found[1] == ["`fixed:tau=0`", "1/3", "3/3", "0.818", "0.344", "easy, c = .125", "1.000"]


def test_several_drafters_are_summed_up_first() -> None:
    found = gather(
        [lookup_and_model()], policies=["ewma", "svip", "bandit"], costs=POINT, settings=SETTINGS
    )
    text = markdown(found, "")
    _, _, *summary = rows(text, "## All drafters")
    assert {row[0] for row in summary} == {"`ewma`", "`svip`", "`bandit`"}
    assert all("`" in row[5] for row in summary)  # the worst cell names its drafter
    assert text.index("## All drafters") < text.index("## `lookup+models/small`")
    lookup = text.split("\n## `lookup`\n")[1].partition("\n## ")[0]
    assert "Left out:\n\n- `svip`: needs the drafter's entropy" in lookup
    assert "Run in several orders: `bandit`." in lookup
    model = text.split("\n## `models/small`\n")[1]
    assert "Left out" not in model
    assert "Prompts of `lookup+models/small`, `lookup` and `models/small`: " in text


def test_texts_do_not_break_tables() -> None:
    found = gather([varied(drafter="a|b")], policies=["ewma"], costs=POINT, settings=SETTINGS)
    assert "| `a\\|b` |" in markdown(found, "")


def test_without_policies_there_are_the_marks() -> None:
    found = gather([easy_and_hard()], policies=[], costs=POINT, settings=SETTINGS)
    assert len(rows(markdown(found, ""), "### `drafter` at c = .125")) == 6


def test_figures_with_and_without_an_interval() -> None:
    one = Interval(1.0, 0.5, 2.0)
    same = Interval(1.0, 1.0, 1.0 + 1e-12)
    share = Interval(-0.002, -0.102, 0.5)
    shown = page._figures("x", Verdict(one, same, one, share, 2.0, 1))
    assert shown == [
        "x",
        "1.000 [0.50, 2.00]",
        "1.000",
        "1.000 [0.50, 2.00]",
        "+0% [-10%, +50%]",
        "2.00",
    ]
    assert page._figures("x", Verdict(one, same, one, None, 2.0, 1))[4] == ""
