"""The compiled inner loops, where numba is installed; everything works without, but slower."""

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
