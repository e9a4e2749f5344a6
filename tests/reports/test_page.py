"""The page holds its data as text that nothing takes for markup, and runs one script of its own."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec.reports import html_page
from adaptive_spec.reports.page import embedded
from tests.reports.examples import INERT, example_report


@given(st.dictionaries(st.text(), st.text() | st.just(INERT), max_size=3))
def test_embedded_json_is_ascii_without_markup_and_reads_back(value: dict[str, str]) -> None:
    text = embedded(value)
    assert text.isascii()
    assert not set(text) & set("<>&")
    assert json.loads(text) == value


class _Reader(HTMLParser):
    """Elements of a page, as a browser would find them, and the texts of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._within: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag in ("script", "style"):
            self._within = f"{tag}#{attributes['id']}" if "id" in attributes else tag

    def handle_endtag(self, tag: str) -> None:
        self._within = None

    def handle_data(self, data: str) -> None:
        if self._within is not None:
            self.texts[self._within] = self.texts.get(self._within, "") + data


def read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_page_runs_its_own_script_alone_and_asks_for_nothing() -> None:
    report = example_report().as_dict()
    page = html_page({**report, "title": f"A {INERT}"})
    found = read(page)
    tags = [tag for tag, _ in found.elements]
    assert (tags.count("script"), tags.count("style"), tags.count("img")) == (2, 1, 0)
    policy = next(a["content"] for _, a in found.elements if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest(found.texts['script'])}'" in policy
    assert f"style-src 'sha256-{digest(found.texts['style'])}'" in policy
    assert json.loads(found.texts["script#data"])["viewers"] == report["viewers"]
    links = [a.get("src") or a.get("href") for _, a in found.elements]
    assert all(link[0] in "#d" for link in links if link)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", found.texts["style"])


def test_scripts_make_elements_and_texts_alone() -> None:
    script = read(html_page(example_report().as_dict())).texts["script"]
    for sink in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "fetch(",
    ):
        assert sink not in script


def test_the_same_results_make_the_same_page() -> None:
    assert html_page(example_report().as_dict()) == html_page(example_report().as_dict())
