"""Outputs that cannot be written are refused before the work; earlier results stay whole."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import refuse, succeed
from tests.tiny_pair import TinyPair


@pytest.mark.usefixtures("unloaded")
def test_outputs_that_cannot_be_written_are_refused_first(
    pair: TinyPair, trace: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("earlier", encoding="utf-8")
    for command, option in (
        (("simulate", trace), "--json"),
        (("compare", trace), "--json"),
        (("policies",), "--json"),
        (("fit-head", trace), "-o"),
        (("generate", "x", "--verifier", pair.verifier), "--json"),
        (("generate", "x", "--verifier", pair.verifier), "--cycles"),
        (("validate", "--verifier", pair.verifier), "--json"),
        (("profile", "--verifier", pair.verifier), "-o"),
        (("record", "--verifier", pair.verifier), "-o"),
    ):
        below = refuse(*command, option, file / "out.json")
        assert f"{file / 'out.json'}: cannot be written, {file} is not a folder" in below
        if command[0] != "record":
            assert "is a folder; give the name of a file" in refuse(*command, option, tmp_path)
    assert file.read_text(encoding="utf-8") == "earlier"
    assert list(tmp_path.iterdir()) == [file]


def test_devices_are_not_replaced(trace: Path, tmp_path: Path) -> None:
    succeed("simulate", trace, "--json", "/dev/null")
    assert Path("/dev/null").is_char_device()
    code = "from adaptive_spec.cli import main\nmain()"
    with (tmp_path / "out").open("w", encoding="utf-8") as out:
        done = subprocess.run(
            [sys.executable, "-c", code, "policies", "--json", "/dev/stdout"],
            stdout=out,
            stderr=subprocess.PIPE,
            check=False,
            cwd=Path(__file__).resolve().parents[2],
        )
    assert done.returncode == 2
    assert b"/dev/stdout: cannot be written; give - for standard output" in done.stderr
    assert Path("/dev/stdout").is_symlink()


def test_a_write_protected_folder(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    assert "write-protected" in refuse("simulate", trace, "--json", tmp_path / "out.json")


def test_a_run_that_fails_while_writing_keeps_the_earlier_file(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.json"
    succeed("simulate", trace, "--json", target)
    before = target.read_text(encoding="utf-8")

    def full(self: Path, *arguments: Any, **options: Any) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    message = refuse("simulate", trace, "-p", "ewma", "--json", target)
    monkeypatch.undo()
    assert "No space left on device" in message
    assert json.loads(target.read_text(encoding="utf-8")) == json.loads(before)
    assert list(tmp_path.iterdir()) == [target]
