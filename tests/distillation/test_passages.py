"""Passages that made-up tasks are about."""

from pathlib import Path

import numpy as np
import pytest

from adaptive_spec.decoding.models import Verifier, load_verifier
from adaptive_spec.distillation.passages import Sources, passage_of, read_documents, room_for
from adaptive_spec.distillation.writing import Writing, write_part
from adaptive_spec.errors import ConfigError
from tests.tiny_pair import save_tiny_pair

DOCUMENT = " ".join(f"Sentence {i} says {i * i}." for i in range(400))


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    return load_verifier(str(save_tiny_pair(tmp_path_factory.mktemp("pair")).verifier))


def test_tasks_are_set_on_the_documents(verifier: Verifier) -> None:
    tasks = Writing(
        part_size=16, batch_size=8, prompt_tokens=200, max_new_tokens=12, task_share=1.0,
        passage_tokens=60,
    )  # fmt: skip
    texts = write_part(verifier, tasks, 0, Sources(documents=["unmistakable"]), [])
    assert texts
    for text in texts:
        assert "unmistakable" in verifier.decode(text.token_ids[: text.answer_start].tolist())


def test_a_passage_is_a_piece_of_a_document_within_its_room(verifier: Verifier) -> None:
    generator = np.random.default_rng(0)
    starts = set()
    for _ in range(20):
        passage = passage_of(verifier, [DOCUMENT], [], 40, generator)
        assert passage in DOCUMENT
        assert 20 < len(verifier.tokenizer(passage)["input_ids"]) <= 41
        starts.add(passage[:14])
        assert passage.startswith("Sentence")
    assert len(starts) > 5


def test_room_is_short_and_long_alike() -> None:
    generator = np.random.default_rng(0)
    rooms = np.array([room_for(768, generator) for _ in range(2000)])
    assert rooms.min() >= 48
    assert rooms.max() <= 768
    assert 150 < np.median(rooms) < 240  # log-uniform: the geometric mean of 48 and 768 is 192
    assert 4 <= room_for(5, generator) <= 5


def test_documents_are_read_from_a_file_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("second")
    (tmp_path / "a.md").write_text("first")
    (tmp_path / "c.json").write_text("not a document")
    (tmp_path / "d.txt").write_text(" \n")
    assert read_documents(tmp_path) == ["first", "second"]
    assert read_documents(tmp_path / "b.txt") == ["second"]


def test_documents_that_are_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as UTF-8"):
        read_documents(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_documents(tmp_path / "nowhere.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no .txt or .md file"):
        read_documents(tmp_path / "empty")
