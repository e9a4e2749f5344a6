"""The command line: ``adaptive-spec --help``."""

import sys
from typing import NoReturn

from adaptive_spec.errors import (
    AdaptiveSpecError,
    ConfigError,
    CostsError,
    DrafterSpecError,
    MissingDependencyError,
    PolicySpecError,
    is_out_of_memory,
)

_USAGE_ERRORS = (ConfigError, CostsError, DrafterSpecError, PolicySpecError)
_INTERRUPTED = 130


def main() -> None:
    """Runs the command line: exit code 2 for bad usage, 1 for anything else that failed."""
    try:
        try:
            from adaptive_spec.cli.app import app
        except ModuleNotFoundError as error:
            library = (error.name or "").partition(".")[0]
            if library not in ("typer", "rich"):
                raise
            raise MissingDependencyError(
                f"the command line needs {library}; run: pip install 'adaptive-spec[cli]'"
            ) from None
        app()
    except AdaptiveSpecError as error:
        _fail(str(error), 2 if isinstance(error, _USAGE_ERRORS) else 1)
    except OSError as error:  # a full disk, a file that may not be read
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", 1)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        _fail("out of memory; take a smaller batch, fewer tokens or a smaller model", 1)
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # how typer passes Ctrl-C on
            _interrupted()
        raise


def _fail(message: str, code: int) -> NoReturn:
    # rich may be what is missing
    print(f"error: {' '.join(message.splitlines())}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


def _interrupted() -> NoReturn:
    print("interrupted", file=sys.stderr)  # noqa: T201
    sys.exit(_INTERRUPTED)
