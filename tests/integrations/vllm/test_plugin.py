"""A file that is wrong is refused when vLLM loads its plugins, before it loads a model."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from adaptive_spec import ConfigError, PolicySpecError
from adaptive_spec.integrations.vllm.plugin import register
from tests.integrations.vllm.conftest import ROOT, TIMEOUT_S

RIGHT = 'policy = "ewma"\n[classes.batch]\nbudget = {average_passes = 40}\n'


def environ(folder: Path, text: str) -> dict[str, str]:
    path = folder / "adaptive.toml"
    path.write_text(text, encoding="utf-8")
    return {"ADAPTIVE_SPEC_CONFIG": str(path)}


def test_vllm_is_told_of_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = project["entry-points"]["vllm.general_plugins"]
    assert points == {"adaptive-spec": f"{register.__module__}:register"}


def test_a_file_that_is_right_or_missing_changes_nothing(tmp_path: Path) -> None:
    register({})
    register(environ(tmp_path, RIGHT))
    register(environ(tmp_path, RIGHT))  # vLLM may call it more than once in a process


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ('policy = "autp"', PolicySpecError, "did you mean 'auto'"),
        ('polcy = "auto"', ConfigError, "did you mean 'policy'"),
        ("budget = {", ConfigError, "not TOML"),
    ],
)
def test_a_file_that_is_wrong_is_refused(
    tmp_path: Path, text: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        register(environ(tmp_path, text))


@pytest.mark.vllm
def test_vllm_does_not_start_with_a_wrong_file(environment: dict[str, str], tmp_path: Path) -> None:
    program = "from vllm.engine.arg_utils import EngineArgs; EngineArgs(model='never-loaded')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment, **environ(tmp_path, 'policy = "autp"')},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode != 0
    assert "did you mean 'auto'" in done.stderr
