"""Where vLLM is installed (`make vllm`): engines in processes of their own, one at a time."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.vllm.misbehaving import ENTRY_POINTS
from tests.integrations.vllm.tiny import save_tiny_pair

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 900

Run = Callable[..., list[dict[str, Any]]]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips where there is no vLLM."""
    if item.get_closest_marker("vllm") and importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here; `make vllm` makes an environment with it")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a process that runs vLLM on the CPU, with policies for tests installed."""
    folder = tmp_path_factory.mktemp("policies")
    info = folder / "misbehaving-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: misbehaving\nVersion: 1.0\n", encoding="utf-8"
    )
    points = [f"{name} = {target}" for name, target in ENTRY_POINTS.items()]
    (info / "entry_points.txt").write_text(
        "\n".join(["[adaptive_spec.policies]", *points, ""]), encoding="utf-8"
    )
    openmp = Path(sys.prefix) / "lib" / "libiomp5.so"
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT))),
        # One thread: several wait for each other at every step, long where other work is done.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
        # Without Intel's OpenMP, speculation on a CPU is many times slower.
        **({"LD_PRELOAD": str(openmp)} if openmp.is_file() else {}),
    }


@pytest.fixture(scope="session")
def run_engine(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs an engine in a process of its own; see ``engine_run``."""

    def run(runs: list[dict[str, Any]], **llm: Any) -> list[dict[str, Any]]:
        folder = tmp_path_factory.mktemp("run")
        job, result = folder / "job.json", folder / "result.json"
        job.write_text(json.dumps({"llm": {**ENGINE, **llm}, "runs": runs}), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "tests.integrations.vllm.engine_run", job, result],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
        for name in ("stdout", "stderr"):
            (folder / name).write_text(getattr(done, name), encoding="utf-8")
        written: list[dict[str, Any]] = json.loads(result.read_text(encoding="utf-8"))
        written[0]["log"] = done.stdout + done.stderr
        return written

    return run


@pytest.fixture(scope="session")
def tiny_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a tiny verifier and its draft."""
    return save_tiny_pair(tmp_path_factory.mktemp("tiny"))


ENGINE: dict[str, Any] = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_num_seqs": 8,
    "max_num_batched_tokens": 64,
    "block_size": 32,
    "kv_cache_memory_bytes": 2**28,
    "seed": 0,
}
"""What all engines have in common: float32 for exact outputs; prompts longer than 64 are cut up."""
