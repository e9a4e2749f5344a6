"""The compiled inner loops, where numba is installed; all works without, some times slower."""

import functools
import importlib
import importlib.util
from typing import Any


@functools.cache
def kernels() -> Any:
    """The module ``_kernels``, or None without numba."""
    if importlib.util.find_spec("numba") is None:
        return None
    return importlib.import_module("adaptive_spec.policies._kernels")
