"""The tiny pair, and traces of it, for tests of commands."""

from pathlib import Path

import pytest

from tests.tiny_pair import TinyPair, save_tiny_pair


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> TinyPair:
    return save_tiny_pair(tmp_path_factory.mktemp("pair"))
