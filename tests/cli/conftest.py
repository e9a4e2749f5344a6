"""The tiny pair, and traces of it, for tests of commands."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import succeed
from tests.threads import one_thread
from tests.tiny_pair import TinyPair, save_tiny_pair

__all__ = ["one_thread"]


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colours, and a terminal wide enough that boxes keep their words together."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> TinyPair:
    return save_tiny_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="session")
def trace(pair: TinyPair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of the draft model, with signals."""
    path = tmp_path_factory.mktemp("trace") / "trace.parquet"
    succeed(
        *("record", "-o", path, "--verifier", pair.verifier, "--drafter", pair.drafter),
        *("--prompts", pair.prompts, "--max-new-tokens", 30),
    )
    return path


@pytest.fixture(scope="session")
def lookup_trace(pair: TinyPair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of prompt lookup, of the same prompts."""
    path = tmp_path_factory.mktemp("trace") / "lookup.parquet"
    succeed(
        *("record", "-o", path, "--verifier", pair.verifier),
        *("--prompts", pair.prompts, "--max-new-tokens", 30),
    )
    return path


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if a model is loaded."""
    from adaptive_spec.decoding import models

    def never(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(models, "load_verifier", never)


@pytest.fixture
def memory_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes over more than two rows run out of memory."""
    from adaptive_spec.decoding import KVCache

    writing = KVCache.writing

    def small(self: KVCache, rows: list[int], widths: list[int]) -> Any:
        if len(rows) > 2 and self.capacity_tokens > 64:  # not when the model is tried out
            raise MemoryError
        return writing(self, rows, widths)

    monkeypatch.setattr(KVCache, "writing", small)
