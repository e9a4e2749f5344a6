"""Optional dependencies: imported where used, with one clear error when missing."""

import importlib
from typing import Any

from adaptive_spec.errors import MissingDependencyError


def require(module: str, extra: str) -> Any:
    """The module of that name.

    Args:
      module: dotted name, such as "pyarrow.parquet".
      extra: extra of this package that brings it.

    Raises:
      MissingDependencyError: it is not installed, or cannot be imported.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise MissingDependencyError(_broken(package, extra, error)) from error
        raise MissingDependencyError(
            f"{package} is not installed; run: pip install 'adaptive-spec[{extra}]'"
        ) from None
    except ImportError as error:
        raise MissingDependencyError(_broken(package, extra, error)) from error


def _broken(package: str, extra: str, error: ImportError) -> str:
    return (
        f"{package} is installed but cannot be imported ({error}); "
        f"reinstall it: pip install --force-reinstall 'adaptive-spec[{extra}]'"
    )
