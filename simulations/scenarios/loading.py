"""Scenarios from TOML files: those that come with the package, and one's own."""

from pathlib import Path

from adaptive_spec._specs import unknown_name
from adaptive_spec.constraints.promises import MAX_CLASSES
from adaptive_spec.errors import ConfigError
from adaptive_spec.policy import MAX_TAU
from adaptive_spec.simulations.scenarios.scenario import (
    ArrivalPlan,
    CostPlan,
    Degradation,
    MadeUp,
    RequestKind,
    Scenario,
)
from adaptive_spec.simulations.scenarios.tables import Table
from adaptive_spec.simulations.serving import read_arrivals
from adaptive_spec.traces.synthetic import Hazards

_FOLDER = Path(__file__).parent
_MOST_REQUESTS = 10_000_000


def scenario_names() -> tuple[str, ...]:
    """Names of the scenarios that come with the package."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_scenario(given: str | Path) -> Scenario:
    """A scenario by its name, or from a file whose name ends in ``.toml``.

    Raises:
      ConfigError: no such scenario, or a file that does not hold one.
    """
    path = Path(given)
    if path.suffix != ".toml":
        if str(given) not in scenario_names():
            message = unknown_name("scenario", str(given), scenario_names())
            raise ConfigError(f"{message}; or give a file, NAME.toml")
        path = _FOLDER / f"{given}.toml"
    top = Table.of_file(path)
    classes = _classes(top)
    arrivals = _arrivals(top.table("arrivals"), top, path.parent, classes)
    logged = None if arrivals.log is None else len(arrivals.log.classes)
    scenario = Scenario(
        path.stem,
        top.text("description"),
        classes,
        arrivals,
        _costs(top.table("costs"), top),
        top.count("requests", logged or 1000, high=logged or _MOST_REQUESTS),
        top.count("max_batch", 8, high=4096),
        top.count("max_draft_tokens", 10, low=0, high=MAX_TAU),
        _degradation(top.table("degradation")),
        top.number("least_speedup", 1.0, low=0.0),
    )
    top.finish()
    return scenario


def _arrivals(
    table: Table | None, top: Table, folder: Path, classes: tuple[RequestKind, ...]
) -> ArrivalPlan:
    if table is None:
        raise top.error("[arrivals] is missing; it must have load, log, or concurrency")
    if table.has("log"):
        log = read_arrivals(folder / table.text("log"))
        names = [kind.name for kind in classes]
        strange = [name for name in log.classes if name not in ("", *names)]
        if strange:
            raise table.error(
                f"log: has requests of class {strange[0]!r}; the scenario has {', '.join(names)}"
            )
        plan = ArrivalPlan(table.optional_number("load", low=1e-6, high=1000), log=log)
        table.finish()
        return plan
    closed = table.optional_count("concurrency", high=1_000_000)
    load = table.optional_number("load", low=1e-6, high=1000)
    if (closed is None) == (load is None):
        raise table.error(
            "give either load (requests come whatever the engine does), log, or concurrency "
            "(clients, each of which waits for its answer)"
        )
    if closed is not None:
        plan = ArrivalPlan(concurrency=closed)
    else:
        variation = table.number("variation", 1.0, low=0, high=10)
        plan = ArrivalPlan(load, variation, table.numbers("profile", (1.0,)))
    table.finish()
    return plan


def _costs(table: Table | None, top: Table) -> CostPlan:
    if table is None:
        raise top.error("[costs] is missing; it must have draft, and verify or saturation_tokens")
    draft = table.number("draft", low=0, high=1000)
    verify = table.optional_number("verify", low=0, high=1000)
    knee = table.optional_count("saturation_tokens", low=2, high=1_000_000)
    if (verify is None) == (knee is None):
        raise table.error("give either verify or saturation_tokens")
    table.finish()
    return CostPlan(draft, verify, knee)


def _degradation(table: Table | None) -> Degradation | None:
    if table is None:
        return None
    found = Degradation(
        table.number("after", low=0, high=1), table.number("kept_agreement", low=0, high=1)
    )
    table.finish()
    return found


def _classes(top: Table) -> tuple[RequestKind, ...]:
    tables = top.tables("classes")
    if len(tables) > MAX_CLASSES:
        raise top.error(f"{len(tables)} classes; allowed are 1 to {MAX_CLASSES}")
    return tuple(_class(name, table) for name, table in tables.items())


def _class(name: str, table: Table) -> RequestKind:
    plain = table.optional_number("p95_plain_passes", low=1e-6)
    in_ms = table.optional_number("p95_ms", low=1e-6)
    if plain is not None and in_ms is not None:
        raise table.error("give p95_plain_passes or p95_ms, not both")
    kind = RequestKind(
        name,
        table.number("share", 1.0, low=1e-6),
        _made_up(table.table("synthetic"), table),
        table.texts("categories"),
        table.span("prompt_tokens"),
        table.span("completion_tokens"),
        table.optional_count("fewest_passes", high=1 << 30),
        table.optional_number("average_passes", low=1),
        plain,
        in_ms,
    )
    if kind.fewest_passes is not None and kind.completion_tokens is None:
        raise table.error("fewest_passes chooses among completions; give completion_tokens")
    made_up = kind.made_up
    if kind.completion_tokens is not None and made_up.tokens < kind.completion_tokens[1]:
        raise table.error(
            f"synthetic tokens = {made_up.tokens} are fewer than the longest completion, "
            f"{kind.completion_tokens[1]}"
        )
    table.finish()
    return kind


def _made_up(table: Table | None, parent: Table) -> MadeUp:
    if table is None:
        raise parent.error(
            "[synthetic] is missing; it must have hazard, prompt_tokens and tokens, for runs "
            "without a trace"
        )
    made_up = MadeUp(
        Hazards(
            table.number("hazard", low=0, high=1),
            burst=table.optional_number("burst", low=0, high=1),
            enter=table.number("enter", 0.05, low=1e-6, high=0.5),
            leave=table.number("leave", 0.2, low=1e-6, high=0.5),
        ),
        table.count("prompt_tokens", high=1_000_000),
        table.count("tokens", high=1_000_000),
        table.count("sequences", 64, high=100_000),
    )
    table.finish()
    return made_up
