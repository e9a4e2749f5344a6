"""The page in a headless Chromium: it opens without complaints, and does what it offers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_spec.reports import Report, html_page, make_report
from adaptive_spec.reports.intake import Results
from adaptive_spec.traces import SequenceTrace, TraceInfo, TraceSet, run_lengths_of
from tests.reports.browser import Browser, chromium, launched
from tests.reports.examples import (
    POLICIES,
    comparison,
    example_evidence,
    example_replay,
    example_report,
    scenario,
    write,
)

CELLS = "[...document.querySelectorAll('#comparison svg .series')].length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    if program is None:
        pytest.skip("no Chromium found; install one, or name it in CHROMIUM")
    with launched(program) as opened:
        yield opened


def show(browser: Browser, folder: Path, report: Report, **window: Any) -> None:
    """Opens the page of a report; it must load without a complaint."""
    path = folder / "report.html"
    path.write_text(html_page(report.as_dict()), encoding="utf-8")
    browser.complaints.clear()
    browser.open(path, **window)
    assert browser.evaluate("document.documentElement.dataset.ready") == "true"
    assert browser.complaints == []


def full_report(folder: Path) -> Report:
    write(folder / "comparison.json", comparison())
    write(folder / "scenario.json", scenario())
    write(folder / "evidence.json", example_evidence().as_dict())
    return example_report(folder=folder)


def test_the_page_opens_filters_and_is_walked_with_the_keyboard(
    browser: Browser, tmp_path: Path
) -> None:
    show(browser, tmp_path, full_report(tmp_path))
    assert browser.evaluate("[...document.querySelectorAll('section')].map((s) => s.id)") == [
        *("comparison", "viewer", "frontier", "over-time", "hazards", "costs", "calibration")
    ]
    assert browser.evaluate("document.querySelectorAll('section .empty:not([hidden])').length") == 0

    # Text from prompts is shown, and never run.
    assert browser.evaluate(
        "document.querySelector('.text .cycle').textContent.includes('<script>')"
    )
    assert browser.evaluate("document.querySelector('.prompt').textContent.includes('onerror')")
    assert browser.evaluate("document.querySelectorAll('script').length") == 2
    assert browser.evaluate("typeof window.hacked") == "undefined"

    # A policy that is hidden leaves every chart; a category narrows the requests.
    rows = browser.evaluate(CELLS)
    browser.evaluate(
        "[...document.querySelectorAll('.chip')]"
        f".find((chip) => chip.textContent === '{POLICIES[0]}').click()"
    )
    assert 0 < browser.evaluate(CELLS) < rows
    requests = "document.querySelectorAll('.viewer select')[0].options.length"
    everybody = browser.evaluate(requests)
    browser.evaluate(
        "(() => { const s = document.getElementById('category'); s.value = 'code';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    assert browser.evaluate(requests) == everybody * 2 // 3
    hazards = "document.querySelector('#hazards svg').textContent"
    assert "code" in browser.evaluate(hazards)
    assert "chat" not in browser.evaluate(hazards)

    # Arrow keys walk through the cycles, and the other text keeps pace.
    browser.evaluate("document.querySelector('.text').focus()")
    said = "[...document.querySelectorAll('.inspect')].map((i) => i.textContent)"
    first = browser.evaluate(said)
    for _ in range(6):
        browser.press("ArrowRight")
    left, right = browser.evaluate(said)
    assert left.startswith("Cycle 7 of")
    assert right != first[1]
    browser.press("End")
    assert browser.evaluate(
        "document.querySelector('.text .cycle.on') === "
        "[...document.querySelector('.text').querySelectorAll('.cycle')].pop()"
    )

    # So do charts.
    browser.evaluate("document.querySelector('#comparison svg').focus()")
    browser.press("ArrowRight")
    assert browser.evaluate("!document.getElementById('tip').hidden")
    assert browser.complaints == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_wide_and_narrow_light_and_dark(
    browser: Browser, tmp_path: Path, width: int, dark: bool
) -> None:
    show(browser, tmp_path, full_report(tmp_path), width=width, dark=dark)
    # Nothing sticks out at the side.
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    before = browser.evaluate(BACKGROUND)
    assert (before[0] < 100) == dark
    for kind in ("light", "dark"):
        browser.evaluate("document.getElementById('theme').click()")
        assert browser.evaluate("document.documentElement.dataset.theme") == kind
        assert (browser.evaluate(BACKGROUND)[0] < 100) == (kind == "dark")
        assert browser.evaluate(CONTRASTS) == []
    assert browser.complaints == []


BACKGROUND = "getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number)"

CONTRASTS = """
(() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const read = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = read(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("main *, header *, footer *")) {
    const text = [...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim());
    if (!text || !node.getClientRects().length || node.closest(":disabled")) continue;
    const style = getComputedStyle(node);
    if (Number(style.opacity) < 1) continue;
    const drawn = node instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(read(drawn)), light(behind(node))].sort((x, y) => y - x);
    const told = `${node.tagName} ${node.textContent.slice(0, 30)}`;
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(told);
  }
  return poor;
})()
"""
"""Texts whose contrast with what is behind them is below 4.5 to 1 (WCAG 2.2, criterion 1.4.3)."""


@pytest.mark.slow
def test_no_results_one_policy_and_twenty(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_report("empty", Results()))
    assert browser.evaluate("document.querySelectorAll('section .empty').length") == 6
    empty = write(tmp_path / "comparison.json", {**comparison(), "policies": []})
    show(browser, tmp_path, example_report((), tmp_path))
    empty.unlink()
    one = example_replay(policies=["fixed:tau=2"])
    show(browser, tmp_path, example_report([one]))
    assert browser.evaluate("document.querySelectorAll('.pane').length") == 1
    assert browser.evaluate("document.querySelectorAll('.chip').length") == 0
    many = example_replay(policies=[f"ewma:smoothing=0.{i:02}" for i in range(1, 21)])
    show(browser, tmp_path, example_report([many]), width=390)
    assert browser.evaluate("document.querySelectorAll('.chip').length") == 20
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_a_hundred_thousand_requests(browser: Browser, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    proposes = np.ones(20, np.bool_)
    traces = TraceSet(
        TraceInfo("v", "d", "token"),
        tuple(
            SequenceTrace(
                f"r{i}",
                f"c{i % 5}",
                9,
                run_lengths_of(agreement),
                proposes,
                output_ids=np.arange(20),
            )
            for i, agreement in enumerate(rng.random((100_000, 20)) < 0.7)
        ),
    )
    report = example_report([example_replay(traces, ["fixed:tau=3", "ewma"])])
    # Processor time of the page's one thread, which other work on the machine doesn't stretch.
    browser.call("Performance.enable", timeDomain="threadTicks")
    show(browser, tmp_path, report)
    browser.evaluate("document.querySelector('[aria-label=\"Next request\"]').click()")
    metrics = browser.call("Performance.getMetrics")["metrics"]
    [took_s] = [metric["value"] for metric in metrics if metric["name"] == "ThreadTime"]
    assert (tmp_path / "report.html").stat().st_size < 10_000_000
    assert 0.0 < took_s < 2.0
    assert "of its 100,000 requests" in browser.evaluate("document.body.textContent")


@pytest.mark.slow
def test_playing_uncovers_the_text_and_ends(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, example_report())
    waiting = "document.querySelectorAll('.cycle.wait').length"
    assert browser.evaluate(waiting) == 0
    play = "[...document.querySelectorAll('.viewer button')].pop()"
    browser.evaluate(f"{play}.click()")
    browser.evaluate("new Promise((done) => setTimeout(done, 400))")
    assert browser.evaluate(waiting) > 0
    browser.evaluate(f"{play}.click()")
    assert browser.evaluate(waiting) == 0
