"""The process around the commands: exit codes, help, missing libraries, Ctrl-C."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import adaptive_spec
from tests.cli.running import refuse, run, succeed
from tests.tiny_pair import TinyPair

ROOT = Path(__file__).resolve().parent.parent.parent
COMMANDS = (
    "demo",
    "generate",
    "record",
    "profile",
    "distill",
    "fit-head",
    "import",
    "simulate",
    "compare",
    "recommend",
    "validate",
    "verify",
    "policies",
)


def shell(*arguments: object, without: str = "") -> "subprocess.CompletedProcess[str]":
    """Runs the command line in a process of its own, as if a library were not installed."""
    code = "import sys\n"
    if without:
        code += f"sys.modules[{without!r}] = None\n"
    code += "from adaptive_spec.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
    )


def test_help_names_every_command() -> None:
    out = succeed("--help").out
    assert all(f" {command} " in out for command in COMMANDS)
    assert "Start with: adaptive-spec demo" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command: str) -> None:
    from typer.main import get_command

    from adaptive_spec.cli.app import app

    group: Any = get_command(app)
    found = group.commands[command]
    assert found.help
    assert succeed(command, "--help").out
    assert [p.name for p in found.params if p.name != "help" and not p.help] == []


def test_version() -> None:
    assert succeed("--version").out == f"adaptive-spec {adaptive_spec.__version__}\n"


def test_bad_usage_has_exit_code_2() -> None:
    for arguments in (("nope",), ("compare",), ("policies", "extra"), ("record",)):
        result = run(*arguments)
        assert result.code == 2
        assert "Usage:" in result.err


def test_no_command_shows_the_help() -> None:
    result = run()
    assert "validate" in result.out + result.err


def test_processes_of_their_own(tmp_path: Path) -> None:
    runs = tmp_path / "runs.jsonl"
    runs.write_text('{"id": "a", "prompt_tokens": 3, "run_lengths": [2, 1, 0]}\n')
    target = tmp_path / "trace.parquet"
    imported = shell("import", "run-lengths", runs, "-o", target)
    assert imported.returncode == 0
    done = shell("simulate", target, "-p", "fixed:tau=2", "--json", "-")
    assert done.returncode == 0
    assert done.stdout.startswith("{")
    assert done.stderr == ""
    failed = shell("simulate", tmp_path / "no.parquet")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert len(failed.stderr.splitlines()) == 1


def test_a_live_run_in_a_process_of_its_own(pair: TinyPair) -> None:
    done = shell("generate", "the end", "--verifier", pair.verifier, "--max-new-tokens", 3)
    assert done.returncode == 0, done.stderr
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == [
        *("loading", "costs:", "", "3"),
    ]


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_without_the_command_line_s_libraries(library: str) -> None:
    done = shell("policies", without=library)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: the command line needs {library}; run: pip install 'adaptive-spec[cli]'\n"
    )


@pytest.mark.parametrize(
    ("library", "extra", "arguments"),
    [
        ("pyarrow", "trace", ("simulate", "trace.parquet")),
        ("pyarrow", "trace", ("record", "-o", "trace.parquet")),
        ("pyarrow", "trace", ("generate", "x", "--cycles", "cycles.parquet")),
        ("pyarrow", "trace", ("demo", "-o", "no-such-folder")),
        ("torch", "hf", ("generate", "x")),
        ("transformers", "hf", ("validate",)),
    ],
)
def test_without_what_a_command_needs(
    library: str, extra: str, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    message = refuse(*arguments, code=1)
    assert message == f"{library} is not installed; run: pip install 'adaptive-spec[{extra}]'"


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets ``simulate`` fail with an error where it reads its trace."""

    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("adaptive_spec.cli.traces.read_trace", fail)


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(KeyboardInterrupt(), monkeypatch)
    assert run("simulate", "x.parquet") == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"),
    ],
)
def test_out_of_memory(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(error, monkeypatch)
    assert refuse("simulate", "x.parquet", code=1).startswith("out of memory; ")


def test_errors_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(PermissionError(13, "Permission denied", "/etc/x"), monkeypatch)
    assert refuse("simulate", "x.parquet", code=1) == "/etc/x: Permission denied"


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(RuntimeError("a bug"), monkeypatch)
    with pytest.raises(RuntimeError, match="a bug"):
        run("simulate", "x.parquet")


def test_a_message_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(adaptive_spec.TraceError("first\nsecond"), monkeypatch)
    assert refuse("simulate", "x.parquet", code=1) == "first second"


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "adaptive_spec", "--version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout.strip()) == (
        0,
        f"adaptive-spec {adaptive_spec.__version__}",
    )
