"""What a report is made of: files and folders of results, told apart by what is in them."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from adaptive_spec.cost_files import load_costs
from adaptive_spec.costs import MeasuredCosts
from adaptive_spec.errors import ConfigError
from adaptive_spec.reports.reading import Fields
from adaptive_spec.simulations.evidence import Evidence
from adaptive_spec.traces import LoggedCycle, TraceSet, file_format, read_cycles, read_trace

KINDS = (
    "traces (`record`, `import`), cycle logs (`generate --cycles`), cost profiles (`profile`) and "
    "the --json of `compare`, `simulate`, `promises` and `evidence`"
)
"""What a report can show, in words."""


class Source(NamedTuple):
    """A file that was read: its ``name``, of which ``kind`` it is, and ``what`` it holds."""

    name: str
    kind: str
    what: str


@dataclass
class Results:
    """Everything that a report shows, each by the name of its file, in the order given."""

    traces: dict[str, TraceSet] = field(default_factory=dict)
    cycles: dict[str, tuple[LoggedCycle, ...]] = field(default_factory=dict)
    costs: dict[str, MeasuredCosts] = field(default_factory=dict)
    comparisons: dict[str, Fields] = field(default_factory=dict)
    scenarios: dict[str, Fields] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)


def read_results(
    paths: Sequence[Path], on_passed_over: Callable[[str], None] = lambda remark: None
) -> Results:
    """Reads results: files, folders of them, and traces that are folders of parts.

    Args:
      paths: at least one.
      on_passed_over: told of each file of a folder that is none of ``KINDS``.

    Raises:
      ConfigError: a file that cannot be read, is named and none of ``KINDS``, or lacks a field; or
        nothing at all.
      CostsError, TraceError: a cost profile, trace or log is damaged.
    """
    found = Results()
    for path in paths:
        if path.is_dir() and not _is_parts(path):
            for file in sorted(path.iterdir()):
                if file.suffix not in (".json", ".parquet") or not file.is_file():
                    continue
                if not _take(found, file):
                    on_passed_over(f"{file}: passed over, a report does not show such files")
        elif not _take(found, path):
            raise ConfigError(f"{path}: is none of the results that a report shows: {KINDS}")
    if not found.sources:
        raise ConfigError(f"{', '.join(map(str, paths))}: no results there; give {KINDS}")
    return found


def _is_parts(folder: Path) -> bool:
    """Whether a folder is one trace in parts, as ``record`` leaves it."""
    files = [file for file in folder.iterdir() if file.suffix in (".json", ".parquet")]
    return bool(files) and all(
        file.name.startswith("part-") and file.suffix == ".parquet" for file in files
    )


def _take(found: Results, path: Path) -> bool:
    """Reads one file, or one trace, into the results; False for one of another kind."""
    name = _name(found, path)
    if path.is_dir() or _is_parquet(path):
        return _take_parquet(found, path, name)
    data = _json(path)
    if not isinstance(data, dict):
        return False
    given = Fields(str(path), data)
    if data.get("format") == "adaptive-spec.costs":
        found.costs[name] = costs = load_costs(path)
        found.sources.append(Source(name, "costs", str(costs)))
    elif data.get("format") == "adaptive-spec.evidence":
        try:
            found.evidence[name] = Evidence.from_dict(data)
        except ConfigError:
            raise ConfigError(
                f"{path}: was written by another release of `evidence`, or damaged; make it anew"
            ) from None
        cells = len(found.evidence[name].cells)
        found.sources.append(Source(name, "evidence", f"{cells} cells"))
    elif given.has("scenario", "policies"):
        found.scenarios[name] = given
        found.sources.append(Source(name, "scenario", given.text("scenario")))
    elif given.has("costs", "time_unit", "policies"):
        found.comparisons[name] = given
        count = len(given.objects("policies"))
        kind = "comparison" if given.has("best_static") else "simulation"
        found.sources.append(Source(name, kind, f"{count} policies at {given.text('costs')}"))
    else:
        return False
    return True


def _take_parquet(found: Results, path: Path, name: str) -> bool:
    kind = "adaptive-spec.trace" if path.is_dir() else file_format(path)
    if kind == "adaptive-spec.trace":
        found.traces[name] = traces = read_trace(path)
        what = f"{len(traces):,} requests, {traces.num_tokens:,} tokens, {traces.info.drafter}"
        found.sources.append(Source(name, "trace", what))
    elif kind == "adaptive-spec.cycles":
        found.cycles[name] = cycles = read_cycles(path)
        found.sources.append(Source(name, "cycle log", f"{len(cycles):,} cycles"))
    else:
        return False
    return True


def _name(found: Results, path: Path) -> str:
    """A file's name, with as much of its path as tells it from those before it."""
    taken = {source.name for source in found.sources}
    parts = path.resolve().parts
    names: Iterator[str] = ("/".join(parts[-n:]) for n in range(1, len(parts) + 1))
    name = next((name for name in names if name not in taken), None)
    if name is None:
        raise ConfigError(f"{path}: is given twice; name every file once")
    return name


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1" or path.suffix == ".parquet"
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{path}: is neither JSON nor Parquet, or damaged") from None
