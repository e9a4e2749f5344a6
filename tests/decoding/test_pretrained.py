from pathlib import Path

import huggingface_hub
import pytest
import torch

from adaptive_spec import ConfigError, ModelLoadError
from adaptive_spec.decoding.pretrained import load_model, load_tokenizer, one_line, parse_target
from tests.tiny_models import byte_level_tokenizer, tiny_llama


def test_targets() -> None:
    assert parse_target("float16", "cpu") == (torch.float16, torch.device("cpu"))
    for dtype, device, words in (
        ("float8", "cpu", "dtype = 'float8'; allowed are float32, bfloat16, float16"),
        ("float32", "abacus", "device = 'abacus': torch cannot use it here"),
        ("float32", "meta", "device = 'meta'"),
    ):
        with pytest.raises(ConfigError, match=words):
            parse_target(dtype, device)


class Hub:
    """Stands for the hub: counts requests, and fails them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
        self.asked: list[tuple[str, object]] = []
        self.error = error
        self.cached = False
        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", self.ask)
        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", self.look)

    def ask(self, url: str, *, timeout: float) -> None:
        self.asked.append((url, timeout))
        if self.error is not None:
            raise self.error

    def look(self, name: str, file: str) -> str | None:
        return f"/cache/{name}/{file}" if self.cached else None


def test_the_hub_is_asked_once_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, ConnectionError("no route\nto host"))
    with pytest.raises(ModelLoadError, match=r"'org/model': there is no such folder.*no route\)$"):
        load_model("org/model", "org/model", "float32", "cpu")
    assert hub.asked == [("https://huggingface.co/org/model/resolve/main/config.json", 10.0)]


def test_the_hub_is_not_asked_for_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(monkeypatch, ConnectionError("no route"))
    tiny_llama(layers=1).save_pretrained(tmp_path)
    load_model(str(tmp_path), "tiny", "float32", "cpu")
    hub.cached = True
    with pytest.raises(ModelLoadError, match="cannot be loaded"):  # our cache is a pretence
        load_model("org/model", "org/model", "float32", "cpu")
    assert hub.asked == []


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    tiny_llama(layers=1).save_pretrained(tmp_path)
    assert load_tokenizer(str(tmp_path)) is None
    byte_level_tokenizer().save_pretrained(tmp_path)
    assert len(load_tokenizer(str(tmp_path))) == len(byte_level_tokenizer())


def test_an_error_s_first_line() -> None:
    assert one_line(ValueError("\n  first \nsecond")) == "first"
    assert one_line(ValueError()) == "ValueError"
