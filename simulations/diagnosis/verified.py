"""What ``adaptive-spec verify --json`` found of the output."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from adaptive_spec.errors import ConfigError


class Verified(NamedTuple):
    """Checks of the output against the verifier's own.

    Attributes:
      rule: by which it was decoded.
      failed: policies whose output was another; ``policies``: all that were checked.
      outputs: that parted, ties within rounding left out; ``positions``: where each of them did.
    """

    rule: str
    failed: tuple[str, ...]
    policies: int
    outputs: int
    positions: tuple[int, ...]

    @staticmethod
    def read(path: str | Path) -> "Verified":
        """Reads what ``verify`` wrote.

        Raises:
          ConfigError: it cannot be read, or is something else.
        """
        try:
            data: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(
                f"--verified {path}: cannot be read ({error.strerror}); give what "
                "`adaptive-spec verify --json` wrote"
            ) from None
        except (ValueError, RecursionError):
            raise ConfigError(
                f"--verified {path}: not JSON; give what `adaptive-spec verify --json` wrote"
            ) from None
        try:
            runs = data["runs"]
            real = [
                int(entry["position"])
                for run in runs
                for entry in run.get("divergences", ())
                if entry["kind"] == "divergence"
            ]
            failed = tuple(str(run["policy"]) for run in runs if run["holds"] is not True)
            return Verified(str(data["rule"]), failed, len(runs), len(real), tuple(real))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigError(
                f"--verified {path}: is not what `adaptive-spec verify --json` writes: missing or "
                f"malformed field ({error})"
            ) from None
