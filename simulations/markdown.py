"""Pieces of pages in Markdown: tables, code, figures with their intervals."""

import math
from collections.abc import Iterable, Iterator, Sequence

from adaptive_spec.simulations.bootstrap import Interval

_ROUNDING = 1e-9


def table(names: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> Iterator[str]:
    """Lines of a table; ``align`` has l or r for each column."""
    yield f"| {' | '.join(names)} |"
    yield f"| {' | '.join('---:' if side == 'r' else '---' for side in align)} |"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def with_interval(interval: Interval, value: str, end: str) -> str:
    """A figure and its interval, if that is wider than rounding, in the formats of the two."""
    if interval.high - interval.low < _ROUNDING:
        return f"{interval.value:{value}}"
    low, high = ("∞" if math.isinf(x) else f"{x:{end}}" for x in (interval.low, interval.high))
    return f"{interval.value:{value}} [{low}, {high}]"


def code(text: str) -> str:
    """Text as code within a table."""
    return f"`{plain(text)}`"


def plain(text: str) -> str:
    """Text as it may stand in a table."""
    return text.replace("|", "\\|")
