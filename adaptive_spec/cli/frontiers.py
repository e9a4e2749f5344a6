"""How frontiers are shown: what each price of a pass comes to, and the marks of hindsight."""

from rich.table import Table

from adaptive_spec.cli.output import ends, results_table
from adaptive_spec.simulations.scenarios import FrontierRun, PolicyFrontier
from adaptive_spec.simulations.scenarios.frontier import Mark, Point

_NAMES = [
    "price of a pass",
    "class",
    "passes\n/request",
    "95 % interval",
    "latency\np95",
    "tokens\n/time",
    "95 % interval",
]


def frontier_table(found: PolicyFrontier, run: FrontierRun) -> Table:
    """The frontier of one policy, a row for each price and class; the controller's own comes last.

    Args:
      found: of the policy.
      run: that it comes from, for the marks.
    """
    marks = [
        _online(found),
        *_mark("best constant price in hindsight", found.best),
        *_mark("best static tau in hindsight, for each class", run.static),
        *_mark("clairvoyant", run.clairvoyant),
        "tokens by the time of the cycles that brought them",
    ]
    table = results_table(f"{found.online.policy}: frontier", "\n".join(marks), _NAMES)
    for price, points in found.points.items():
        _add(table, f"{price:g}", points)
    _add(table, "online", found.online_points)
    return table


def _add(table: Table, label: str, points: dict[str, Point]) -> None:
    shown = points if len(points) > 2 else {"all": points["all"]}
    for name, point in shown.items():
        table.add_row(
            label if name == "all" else "",
            name,
            f"{point.passes.value:.3f}",
            ends(point.passes),
            f"{point.p95.value:,.1f}",
            f"{point.tokens_per_time.value:.3f}",
            ends(point.tokens_per_time, 3),
        )
    if len(shown) > 1:
        table.add_section()


def _online(found: PolicyFrontier) -> str:
    reached, share = found.online_points["all"], found.share_of_best
    said = (
        f"online price: {reached.passes.value:.3f} passes at "
        f"{reached.tokens_per_time.value:.3f} tokens/time, "
    )
    if share is None:
        return f"{said}where no constant price keeps what was promised"
    return (
        f"{said}{share.value:.1%} of the best constant price in hindsight "
        f"({share.low:.1%}..{share.high:.1%})"
    )


def _mark(label: str, mark: Mark) -> list[str]:
    lines = [f"{label}: {mark.passes:.3f} passes at {mark.tokens_per_time:.3f} tokens/time"]
    if mark.out_of_reach:
        lines.append(f"  out of its reach: {', '.join(mark.out_of_reach)}")
    return lines
