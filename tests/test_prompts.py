import json
from pathlib import Path
from typing import Any

import pytest

from adaptive_spec.errors import PromptError
from adaptive_spec.prompts import Prompt, demo_prompts, read_prompts

ROWS: list[dict[str, Any]] = [
    {"id": "w/1", "prompt": "Write.", "category": "writing", "turns": ["x"]},
    {"id": "c/1", "prompt": "Code: é\u2028", "category": "code"},
    {"id": "w/2", "prompt": "Edit.", "category": "writing"},
    {"id": "n", "prompt": "None."},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    lines = (json.dumps(row, ensure_ascii=False) for row in ROWS)
    path.write_text("\n\n".join(lines), encoding="utf-8")
    return path


def test_all(path: Path) -> None:
    assert read_prompts(path) == (
        Prompt("w/1", "Write.", "writing"),
        Prompt("c/1", "Code: é\u2028", "code"),
        Prompt("w/2", "Edit.", "writing"),
        Prompt("n", "None.", ""),
    )


@pytest.mark.parametrize(
    ("limit", "categories", "ids"),
    [
        (2, None, ["w/1", "c/1"]),
        (99, None, ["w/1", "c/1", "w/2", "n"]),
        (None, ["writing"], ["w/1", "w/2"]),
        (None, "writing", ["w/1", "w/2"]),
        (1, {"writing", ""}, ["w/1"]),
        (None, ["code", ""], ["c/1", "n"]),
    ],
)
def test_choice(path: Path, limit: int | None, categories: Any, ids: list[str]) -> None:
    assert [p.id for p in read_prompts(path, limit, categories)] == ids


def test_choices_that_are_refused(path: Path) -> None:
    with pytest.raises(PromptError, match="limit = 0; it must be at least 1"):
        read_prompts(path, limit=0)
    with pytest.raises(PromptError, match=r"\['math'\]; there are \['', 'code', 'writing'\]"):
        read_prompts(path, categories=["math", "code"])
    with pytest.raises(PromptError, match="categories is empty"):
        read_prompts(path, categories=[])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"id": "x"}', "'prompt' is missing; it must be a string"),
        (b'{"prompt": "x"}', "'id' is missing; it must be a string"),
        (b'{"id": "x", "prompt": ""}', "prompt is blank"),
        (b'{"id": "x", "prompt": " \\n"}', "prompt is blank"),
        (b'{"id": "", "prompt": "x"}', "id is blank"),
        (b'{"id": 1, "prompt": "x"}', "id = 1; it must be a string"),
        (b'{"id": "x", "prompt": ["x"]}', 'prompt = ["x"]; it must be a string'),
        (b'{"id": "x", "prompt": "x", "category": null}', "category = null"),
        (b'{"id": "x", "prompt": "\\udfff"}', "surrogate"),
        (b'{"id": "w/1", "prompt": "again"}', "'w/1' appears twice"),
        (b'["id"]', "expected a JSON object"),
        (b'{"id": "x",', "not JSON"),
        (b'{"id": "x", "prompt": "\xe9"}', "not UTF-8"),
    ],
)
def test_bad_lines_are_named(path: Path, line: bytes, words: str) -> None:
    path.write_bytes(path.read_bytes() + b"\n" + line)
    with pytest.raises(PromptError) as caught:
        read_prompts(path, limit=1)
    assert f"prompts {str(path)!r}, line 8: " in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="cannot be read"):
        read_prompts(tmp_path / "none.jsonl")
    with pytest.raises(PromptError, match="cannot be read"):
        read_prompts(tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(PromptError, match="is empty"):
        read_prompts(tmp_path / "empty.jsonl")


def test_demo_prompts() -> None:
    prompts = demo_prompts()
    assert [p.category for p in prompts] == [
        *["writing"] * 3,
        *["code"] * 2,
        *["summary"] * 2,
        "extraction",
    ]
    assert all(p.id.startswith(f"{p.category}/") for p in prompts)
    assert all(len(p.prompt.split()) > 60 for p in prompts)
