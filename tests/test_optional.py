import sys
from pathlib import Path

import pytest

from adaptive_spec._optional import require
from adaptive_spec.errors import MissingDependencyError


def test_module_is_returned() -> None:
    assert require("json.decoder", "trace") is sys.modules["json.decoder"]


def test_missing_module_names_the_extra() -> None:
    words = r"no_such_module is not installed; run: pip install 'adaptive-spec\[trace\]'"
    with pytest.raises(MissingDependencyError, match=words):
        require("no_such_module.part", "trace")


@pytest.mark.parametrize("line", ["import gone_module", "raise ImportError('libx.so')"])
def test_module_that_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    (tmp_path / "broken_module.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=r"installed but cannot be .*reinstall it"):
        require("broken_module", "trace")
