"""The command line: ``adaptive-spec --help``."""

import sys

from adaptive_spec.errors import (
    AdaptiveSpecError,
    ConfigError,
    CostsError,
    DrafterSpecError,
    MissingDependencyError,
    PolicySpecError,
)

_USAGE_ERRORS = (ConfigError, CostsError, DrafterSpecError, PolicySpecError)


def main() -> None:
    """Runs the command line: exit code 2 for bad usage, 1 for anything else that failed."""
    try:
        try:
            from adaptive_spec.cli.app import app
        except ModuleNotFoundError as error:
            if error.name not in ("typer", "rich"):
                raise
            raise MissingDependencyError(
                f"the command line needs {error.name}; run: pip install 'adaptive-spec[cli]'"
            ) from None
        app()
    except AdaptiveSpecError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - rich may be what is missing
        sys.exit(2 if isinstance(error, _USAGE_ERRORS) else 1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)  # the reader of our output went away, as `head` does
