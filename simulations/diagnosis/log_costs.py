"""What cycles cost, from the times that a live engine logged.

Means, not medians: what the cycles took altogether is then what the costs say of them, so that what
was served and what might have been are held against each other on the same scale. Over the length
of the context nothing is fitted.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import isotonic_regression

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.costs import DraftCurve, MeasuredCosts
from adaptive_spec.errors import CostsError
from adaptive_spec.traces.cycles import LoggedCycle

_FEWEST_CYCLES = 5
"""Of a batch size and length of draft; the mean of fewer is an accident."""


def has_times(log: Sequence[LoggedCycle]) -> bool:
    """Whether every cycle has its times."""
    return all(0 < cycle.verify_ms < math.inf and 0 <= cycle.draft_ms < math.inf for cycle in log)


def pass_widths(log: Sequence[LoggedCycle]) -> IntArray:
    """The longest draft of the pass of each cycle, ``[C]``.

    Requests that shared a pass have its batch size and its two times in common.
    """
    longest: dict[tuple[int, float, float], int] = {}
    keys = [(cycle.batch_size, cycle.draft_ms, cycle.verify_ms) for cycle in log]
    own = [cycle.num_draft_tokens for cycle in log]
    for key, drafted in zip(keys, own, strict=True):
        longest[key] = max(longest.get(key, 0), drafted)
    widths = (
        longest[key] if key[0] > 1 else drafted for key, drafted in zip(keys, own, strict=True)
    )
    return np.fromiter(widths, np.int64, len(own))


def costs_of_log(
    log: Sequence[LoggedCycle], widths: IntArray, drafters: Sequence[str]
) -> MeasuredCosts:
    """Costs fitted to the times of a log.

    Args:
      log: cycles with times.
      widths: longest draft of the pass of each, ``[C]``.
      drafters: their names.

    Raises:
      CostsError: drafts of one length only, from which nothing follows for others.
    """
    batch = np.array([cycle.batch_size for cycle in log], np.int64)
    verify_ms = np.array([cycle.verify_ms for cycle in log])
    draft_ms = np.array([cycle.draft_ms for cycle in log])
    names = np.array([cycle.drafter or "" for cycle in log])
    lengths = np.arange(int(widths.max()) + 1)
    sizes, curves = [], []
    for size in np.unique(batch).tolist():
        some = batch == size
        found = _means(widths[some], verify_ms[some])
        if found is not None:
            sizes.append(size)
            curves.append(_curve(*found, lengths))
    if not curves:
        raise CostsError(
            f"costs: the log has too few cycles with drafts of two lengths or more ("
            f"{_FEWEST_CYCLES} of each, at one batch size) to tell what other lengths would have "
            "cost; give --costs (a profile, or draft=...,verify=...)"
        )
    if sizes[0] > 1:  # costs begin at 1; what one request alone takes is not asked for
        sizes, curves = [1, *sizes], [curves[0], *curves]
    by_name = {
        name: _draft_curve(sizes, batch, widths, draft_ms, names == name) for name in drafters
    }
    first = by_name[drafters[0]]
    return MeasuredCosts(
        tuple(sizes),
        (1,),
        tuple((lengths + 1).tolist()),
        np.array(curves)[:, None, :],
        first.start_ms,
        first.step_ms,
        hardware="the log's own times",
        drafts=tuple(by_name.items()) if len(by_name) > 1 else (),
    )


def _means(width: IntArray, times_ms: FloatArray) -> tuple[IntArray, FloatArray, IntArray] | None:
    """Widths with enough cycles, their mean times, and how many they are; None for fewer than 2."""
    seen, place, count = np.unique(width, return_inverse=True, return_counts=True)
    mean = np.bincount(place, weights=times_ms) / count
    enough = count >= _FEWEST_CYCLES
    if enough.sum() < 2:
        return None
    return seen[enough], mean[enough], count[enough]


def _curve(seen: IntArray, mean_ms: FloatArray, count: IntArray, lengths: IntArray) -> FloatArray:
    """A pass by the length of the draft: rising, and a straight line where none was served."""
    rising = isotonic_regression(mean_ms, weights=count).x
    slope, at_zero = np.polyfit(seen, mean_ms, 1, w=np.sqrt(count))
    slope = max(float(slope), 0.0)
    curve = np.interp(lengths, seen, rising)
    before, after = lengths < seen[0], lengths > seen[-1]
    curve[before] -= slope * (seen[0] - lengths[before])
    curve[after] += slope * (lengths[after] - seen[-1])
    least = max(float(at_zero), 0.01 * float(rising[0]))
    whole: FloatArray = np.maximum(curve, min(least, float(rising[0])))
    return whole


def _draft_curve(
    sizes: list[int], batch: IntArray, width: IntArray, draft_ms: FloatArray, own: BoolArray
) -> DraftCurve:
    """Start and step of one drafter at each batch size, ``[b, 1]``; that of all where unknown."""
    drafted = own & (width > 0)
    overall = _line(width[drafted], draft_ms[drafted])
    lines = []
    for size in sizes:
        some = drafted & (batch == size)
        lines.append(_line(width[some], draft_ms[some]) if some.any() else overall)
    start, step = np.array(lines).T[..., None]
    return DraftCurve(start, step)


def _line(width: IntArray, draft_ms: FloatArray) -> tuple[float, float]:
    """What a draft costs to begin, and each of its tokens, both >= 0."""
    if width.size == 0:
        return 0.0, 0.0
    per_token = float(draft_ms.sum() / width.sum())
    if width.min() == width.max():
        return 0.0, per_token
    step, start = (float(part) for part in np.polyfit(width, draft_ms, 1))
    if step < 0:
        return float(draft_ms.mean()), 0.0
    if start < 0:
        return 0.0, per_token
    return start, step
