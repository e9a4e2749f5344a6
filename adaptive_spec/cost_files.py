"""Costs from a string or a file: numbers as typed, measured curves as JSON."""

import json
import operator
from pathlib import Path

import numpy as np

from adaptive_spec._files import atomic_write
from adaptive_spec.costs import ConstantCosts, CostModel, DraftCurve, MeasuredCosts
from adaptive_spec.errors import CostsError

_FORMAT = "adaptive-spec.costs"
_NUMBERS = ("draft", "verify", "plain_ms")
_NAMED = "draft."
_VERSION = 1
_AXES = ("batch_sizes", "context_tokens", "widths")
_GRIDS = ("verify_grid_ms", "draft_start_ms", "draft_step_ms")
_CURVE = ("start_ms", "step_ms")
_MALFORMED = (KeyError, TypeError, ValueError, OverflowError)


def save_costs(costs: MeasuredCosts, path: str | Path) -> None:
    """Writes costs as JSON."""
    data = {
        "format": _FORMAT,
        "version": _VERSION,
        "hardware": costs.hardware,
        "note": costs.note,
        "origin": costs.origin,
        **{name: list(getattr(costs, name)) for name in _AXES},
        **{name: getattr(costs, name).tolist() for name in _GRIDS},
    }
    if costs.drafts:
        data["drafts"] = {
            name: {part: getattr(curve, part).tolist() for part in _CURVE}
            for name, curve in costs.drafts
        }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def load_costs(path: str | Path) -> MeasuredCosts:
    """Reads costs written by ``save_costs`` (``adaptive-spec profile``).

    Raises:
      CostsError: no such file, not such a file, or values out of range.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CostsError(
            f"costs {str(path)!r}: cannot be read ({error.strerror}); give a file written by "
            "`adaptive-spec profile`, or numbers as in draft=0.125,verify=0.0"
        ) from None
    except (ValueError, RecursionError):
        raise CostsError(f"costs {str(path)!r}: not JSON") from None
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise CostsError(f"costs {str(path)!r}: not a file written by `adaptive-spec profile`")
    if data.get("version") != _VERSION:
        raise CostsError(
            f"costs {str(path)!r}: version {data.get('version')}, this release reads {_VERSION}"
        )
    try:
        axes = {name: tuple(operator.index(value) for value in data[name]) for name in _AXES}
        grids = {name: np.asarray(data[name], dtype=np.float64) for name in _GRIDS}
        curves = dict(data.get("drafts", {}))
    except _MALFORMED as error:
        raise CostsError(f"costs {str(path)!r}: missing or malformed field ({error})") from None
    drafts = tuple((str(name), _draft_curve(path, name, curve)) for name, curve in curves.items())
    return MeasuredCosts(
        batch_sizes=axes["batch_sizes"],
        context_tokens=axes["context_tokens"],
        widths=axes["widths"],
        verify_grid_ms=grids["verify_grid_ms"],
        draft_start_ms=grids["draft_start_ms"],
        draft_step_ms=grids["draft_step_ms"],
        hardware=str(data.get("hardware", "unknown")),
        note=str(data.get("note", "")),
        drafts=drafts,
        origin=str(data.get("origin", "measured")),
    )


def _draft_curve(path: str | Path, name: str, curve: object) -> DraftCurve:
    parts = []
    for part in _CURVE:
        try:
            parts.append(np.asarray(curve[part], dtype=np.float64))  # type: ignore[index]
        except _MALFORMED as error:
            raise CostsError(
                f"costs {str(path)!r}: drafts: {name}: {part} is missing or malformed ({error}); "
                "it must be numbers by batch size and context"
            ) from None
    return DraftCurve(*parts)


def parse_costs(text: str) -> CostModel:
    """Costs from ``"draft=0.125,verify=0.0"`` (plain passes) or from the path of a profile.

    ``draft.NAME`` is the ``draft`` of one drafter of several, as in ``draft.lookup=0``.

    Raises:
      CostsError: neither a readable profile nor a list of known fields.
    """
    if Path(text).suffix == ".json" or "=" not in text:
        return load_costs(text)
    values: dict[str, float] = {}
    for item in text.split(","):
        name, _, number = item.partition("=")
        name = name.strip()
        if name in values:
            raise CostsError(f"costs: {name} is given twice in {text!r}")
        if name not in _NUMBERS and not (name.startswith(_NAMED) and name != _NAMED):
            raise CostsError(
                f"costs: unknown field {name!r}; allowed are draft, verify (in plain verifier "
                "passes), draft.NAME (of one drafter of several) and plain_ms, as in "
                "draft=0.125,verify=0.0"
            )
        try:
            values[name] = float(number)
        except ValueError:
            raise CostsError(f"costs: {name} = {number!r} is not a number") from None
    drafts = tuple((k.removeprefix(_NAMED), v) for k, v in values.items() if k not in _NUMBERS)
    return ConstantCosts(**{k: v for k, v in values.items() if k in _NUMBERS}, drafts=drafts)
