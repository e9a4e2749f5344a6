"""The compiled loops, where numba is installed; all works without, many times slower."""

import functools
import importlib
import importlib.util
from typing import Any


@functools.cache
def kernels() -> Any:
    """The module ``_kernels``, or None without numba."""
    return _compiled("_kernels")


@functools.cache
def marginal_kernels() -> Any:
    """The module ``_kernels_marginal``, or None without numba."""
    return _compiled("_kernels_marginal")


@functools.cache
def replay_kernels() -> Any:
    """The module ``_kernels_replay``, or None without numba."""
    return _compiled("_kernels_replay")


def _compiled(name: str) -> Any:
    if importlib.util.find_spec("numba") is None:
        return None
    return importlib.import_module(f"adaptive_spec.policies.{name}")
