"""Costs from the log of a live engine: what cycles took where they were served.

A profile times passes in isolation; a served cycle also waits for the host, for memory that others
use, and for its widest row. The structure is additive: of each batch size, the time of a pass is a
rising curve over its width (medians, then isotonic regression weighted by how many cycles each
stands for: Barlow et al. 1972) plus a slope over the context (Theil 1950, Sen 1968, never
falling); drafting is a start and a step, by drafter. Medians, for a few cycles are always slow.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression, nnls
from scipy.stats import theilslopes

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.costs import DraftCurve, MeasuredCosts
from adaptive_spec.errors import CostsError
from adaptive_spec.traces import LoggedCycle

LEAST_CYCLES = 10
"""Cycles that a median is taken of; what was seen less often counts as not seen."""
_SAMPLE = 500
"""Cycles, spread evenly, that slopes over the context (which look at every pair) and the error are
taken of."""
_CONTEXT_QUANTILES = (0.05, 0.95)


class ServedCosts(NamedTuple):
    """Costs, and what is to be known of them.

    Attributes:
      costs: as measured ones, with the origin "served".
      cycles: batches' cycles that they were fitted to.
      median_error: half of these differ from the costs by less than this share of their time.
      notes: what was left out and what is extrapolated, in words.
    """

    costs: MeasuredCosts
    cycles: int
    median_error: float
    notes: tuple[str, ...]


class _Passes(NamedTuple):
    """Cycles of batches, an entry each, ``[n]``.

    ``drafter`` is None where nobody drafted, or several in turn; "" where the log does not say who.
    """

    batch: IntArray
    width: IntArray
    context: FloatArray
    draft_ms: FloatArray
    verify_ms: FloatArray
    drafter: list[str | None]


def fit_costs(cycles: Iterable[LoggedCycle], *, hardware: str = "unknown") -> ServedCosts:
    """Costs that explain a log.

    Rows of one batch's cycle share both times to the bit, and its size; cycles of which a row is
    missing are left out, for it may have been the widest.

    Args:
      cycles: the log (``adaptive_spec.traces.read_cycles``).
      hardware: what to call the machine.

    Raises:
      CostsError: no width of any batch size was seen often enough.
    """
    passes, missing = _batches(cycles)
    counts = {
        (int(batch), int(width)): int(count)
        for (batch, width), count in zip(
            *np.unique(np.stack([passes.batch, passes.width], 1), axis=0, return_counts=True),
            strict=True,
        )
        if count >= LEAST_CYCLES
    }
    if not counts:
        raise CostsError(
            f"served costs: no pass of one width was seen {LEAST_CYCLES} times in "
            f"{passes.batch.size} cycles; give a longer log"
        )
    seen = sorted({batch for batch, _ in counts})
    batches = tuple(sorted({1, *seen}))
    widths = tuple(sorted({1, *(width for _, width in counts)}))
    known = np.isin(passes.batch, seen)
    quantiles = np.quantile(passes.context[known], _CONTEXT_QUANTILES)
    contexts = tuple(sorted({max(int(q), 1) for q in quantiles}))
    curves = {batch: _verify(passes, batch, counts, widths, contexts) for batch in seen}
    verify = np.stack([curves[max(batch, seen[0])] for batch in batches])
    for i, batch in enumerate(batches[1:], start=1):
        # Wider than this batch was seen with: no cheaper than the same of a smaller one.
        wider = np.array(widths) > max(w for b, w in counts if b == batch)
        verify[i, :, wider] = np.maximum(verify[i], verify[i - 1])[:, wider].T
    drafts, draft_notes = _drafts(passes, batches, len(contexts))
    others = drafts[-1][1] if drafts else DraftCurve(*np.zeros((2, *verify.shape[:2])))
    costs = MeasuredCosts(
        batches,
        contexts,
        widths,
        verify,
        others.start_ms,
        others.step_ms,
        hardware=hardware,
        note=f"{passes.batch.size} cycles",
        drafts=drafts if len(drafts) > 1 else (),
        origin="served",
    )
    notes = [f"{missing} cycles left out: rows of them are missing"] if missing else []
    notes += _extrapolated(counts, seen, widths, contexts) + draft_notes
    error = _median_error(costs, passes)
    return ServedCosts(costs, passes.batch.size, error, tuple(notes))


def _batches(cycles: Iterable[LoggedCycle]) -> tuple[_Passes, int]:
    """Whole cycles of batches, and how many are not whole."""
    rows: dict[tuple[float, float, int], list[LoggedCycle]] = defaultdict(list)
    for cycle in cycles:
        rows[cycle.draft_ms, cycle.verify_ms, cycle.batch_size].append(cycle)
    whole = [group for (_, _, batch), group in rows.items() if len(group) == batch]
    names = [{row.drafter or "" for row in group if row.num_draft_tokens} for group in whole]
    passes = _Passes(
        np.array([len(group) for group in whole], np.int64),
        np.array([1 + max(row.num_draft_tokens for row in group) for group in whole], np.int64),
        np.array([np.mean([row.context_tokens for row in group]) for group in whole], np.float64),
        np.array([group[0].draft_ms for group in whole], np.float64),
        np.array([group[0].verify_ms for group in whole], np.float64),
        [next(iter(found)) if len(found) == 1 else None for found in names],
    )
    return passes, len(rows) - len(whole)


def _verify(
    passes: _Passes,
    batch: int,
    counts: dict[tuple[int, int], int],
    widths: tuple[int, ...],
    contexts: tuple[int, ...],
) -> FloatArray:
    """Time of a batch's passes by context and width, ``[c, w]``."""
    own = [width for width in widths if (batch, width) in counts]
    chosen = (passes.batch == batch) & np.isin(passes.width, own)
    width, context, time = passes.width[chosen], passes.context[chosen], passes.verify_ms[chosen]
    middle = {w: float(np.median(time[width == w])) for w in own}
    slope = _slope(context, time - np.array([middle[w] for w in width.tolist()]))
    level = time - slope * context
    medians = [float(np.median(level[width == w])) for w in own]
    curve = isotonic_regression(medians, weights=[counts[batch, w] for w in own]).x
    at_width = np.interp(widths, own, curve)  # flat beyond what was seen, on both sides
    by_context = at_width + slope * np.array(contexts)[:, None]
    shortest: float = float(time.min())
    floor: FloatArray = np.maximum(by_context, shortest)
    return floor


def _slope(context: FloatArray, residual: FloatArray) -> float:
    """Milliseconds for each token of context, >= 0."""
    few = _sample(context.size)
    if np.unique(context[few]).size < 2:
        return 0.0
    return max(float(theilslopes(residual[few], context[few]).slope), 0.0)


def _sample(count: int) -> IntArray:
    return np.unique(np.linspace(0, count - 1, _SAMPLE).astype(np.int64))


def _drafts(
    passes: _Passes, batches: tuple[int, ...], contexts: int
) -> tuple[tuple[tuple[str, DraftCurve], ...], list[str]]:
    """Curves of every drafter, and what is to be said of them."""
    drafter = np.array(passes.drafter, dtype=object)
    names = dict.fromkeys(name for name in passes.drafter if name is not None)
    found: list[tuple[str, DraftCurve]] = []
    notes: list[str] = []
    seldom: list[str] = []
    for name in names:
        lines = {}
        for batch in batches:
            own = (drafter == name) & (passes.batch == batch)
            if own.sum() >= LEAST_CYCLES:
                lines[batch] = _line(passes.width[own] - 1, passes.draft_ms[own])
        if not lines:
            seldom.append(name or "unnamed")
            continue
        nearest = [min(lines, key=lambda seen: abs(seen - batch)) for batch in batches]
        missing = [batch for batch in batches if batch not in lines]
        if missing:
            by = f"drafting by {name}" if name else "drafting"
            notes.append(f"{by} at batch size {_listed(missing)}: as at the nearest")
        start, step = np.array([lines[batch] for batch in nearest]).T
        wide = np.ones((1, contexts))
        found.append((name, DraftCurve(start[:, None] * wide, step[:, None] * wide)))
    if seldom:
        price = "what the last of the others does" if found else "nothing"
        notes.append(f"too seldom drafted, taken to cost {price}: {', '.join(seldom)}")
    return tuple(found), notes


def _line(tau: IntArray, time_ms: FloatArray) -> tuple[float, float]:
    """Start and step of drafting, both >= 0, through the medians of each tau."""
    taus, counts = np.unique(tau, return_counts=True)
    medians = np.array([np.median(time_ms[tau == t]) for t in taus])
    if taus.size == 1:
        return 0.0, float(medians[0] / taus[0])
    weight = np.sqrt(counts)
    design = np.stack([np.ones(taus.size), taus], axis=1) * weight[:, None]
    start, step = nnls(design, medians * weight)[0]
    return float(start), float(step)


def _extrapolated(
    counts: dict[tuple[int, int], int],
    seen: list[int],
    widths: tuple[int, ...],
    contexts: tuple[int, ...],
) -> list[str]:
    """What no cycle showed, in words."""
    said = [f"batch size 1 was not seen: taken to cost what {seen[0]} does"] * (seen[0] != 1)
    for batch in seen:
        own = [width for width in widths if (batch, width) in counts]
        for words, missing in (
            ("narrower", [w for w in widths if w < own[0]]),
            ("wider", [w for w in widths if w > own[-1]]),
        ):
            if missing:
                nearest = own[0] if words == "narrower" else own[-1]
                least = "at least " if words == "wider" else ""
                said.append(
                    f"batch size {batch}: passes over {_listed(missing)} tokens were not seen; "
                    f"taken to cost {least}what {nearest} do"
                )
    said.append(f"beyond batch size {seen[-1]}, {widths[-1]} tokens a pass, and contexts of ")
    said[-1] += f"{contexts[0]} to {contexts[-1]} tokens, times are extrapolated"
    return said


def _listed(numbers: Sequence[int]) -> str:
    """Numbers in words, neighbours as a range."""
    runs = []
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        values = [value for _, value in run]
        runs.append(str(values[0]) if len(values) == 1 else f"{values[0]}..{values[-1]}")
    return ", ".join(runs)


def _median_error(costs: MeasuredCosts, passes: _Passes) -> float:
    """Median over cycles of the relative difference between fitted and served time."""
    errors = []
    for i in _sample(passes.batch.size):
        name, tau = passes.drafter[i], passes.width[i : i + 1] - 1
        took = float(passes.draft_ms[i] + passes.verify_ms[i])
        if took <= 0 or (tau[0] and name is None):
            continue  # several drafted in turn: no curve is of both
        own = costs.of_drafter(name or "")
        at = tau, int(passes.batch[i]), passes.context[i : i + 1].astype(np.int64)
        errors.append(abs(float((own.draft_ms(*at) + own.verify_ms(*at))[0]) / took - 1.0))
    return float(np.median(errors)) if errors else 0.0
