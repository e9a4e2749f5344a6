"""How far drafts hold: hazard of rejection by depth, and the distribution of run lengths.

The hazard at depth k is the chance that the k-th token of a draft is rejected, if the k - 1 before
it were accepted; a run that the end of the text cuts short is censored there. Run lengths follow by
the product-limit estimate (Kaplan and Meier, JASA 1958): ``P(L = k) = S_k h_{k+1}`` with
``S_k = (1 - h_1)...(1 - h_k)``. Intervals are by bootstrap over prompts.
"""

from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.reports.charts import Axis, Chart, Look, Panel, Series
from adaptive_spec.simulations.bootstrap import resampled_sums
from adaptive_spec.traces import TraceSet

DEPTHS = 12
"""Depths shown."""

ALL = "all categories"

_MOST_CATEGORIES = 12
_ENTRIES = 1 << 21  # bounds the work of the bootstrap


class Depths(NamedTuple):
    """Counts of one drafter, ``[N, K]`` by sequence and depth.

    Attributes:
      judged: drafts begun anywhere that reach the depth; ``rejected``: of those, there.
    """

    judged: IntArray
    rejected: IntArray

    def hazards(self, generator: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Hazard at each depth ``[K]``, and its resamples ``[R, K]``; NaN where nothing reaches."""
        columns = np.concatenate([self.judged, self.rejected], axis=1).astype(np.float64)
        resamples = int(np.clip(_ENTRIES // len(columns), 100, 400))
        sums = np.concatenate(
            [columns.sum(axis=0)[None], resampled_sums(columns, resamples, generator)]
        )
        judged, rejected = np.split(sums, 2, axis=1)
        shares = np.divide(rejected, judged, out=np.full(judged.shape, np.nan), where=judged > 0)
        return shares[0], shares[1:]


def depths_of(traces: TraceSet, drafter: int) -> Depths:
    """Counts of one drafter, by its index, at every depth that the trace tells of."""
    flat = traces.flat()
    known = traces.info.known_draft_tokens or DEPTHS
    count, tokens = len(traces), flat.num_tokens
    sequence = np.repeat(np.arange(count), tokens)
    position = np.arange(sequence.size) - np.repeat(flat.start, tokens)
    left = tokens[sequence] - position
    runs = flat.run_lengths[:, drafter]
    reach = flat.draftable_tokens[:, drafter][sequence] - position
    possible = flat.proposes[:, drafter] & (reach > 0)
    judged, rejected = np.zeros((2, count, min(DEPTHS, known)), np.int64)
    for depth in range(judged.shape[1]):
        at_risk = possible & (runs >= depth) & (left > depth) & (reach > depth)
        judged[:, depth] = np.bincount(sequence, at_risk, count)
        rejected[:, depth] = np.bincount(sequence, at_risk & (runs == depth), count)
    return Depths(judged, rejected)


def of_trace(name: str, traces: TraceSet, seed: int) -> Panel:
    """The panel of a trace: for each drafter hazards, and run lengths, by category."""
    categories = np.array([sequence.category for sequence in traces])
    groups = dict.fromkeys([ALL, *_largest(categories)])
    charts = []
    for i, drafter in enumerate(traces.info.drafter_names):
        depths = depths_of(traces, i)
        hazards, runs = [], []
        for group in groups:
            own = np.ones(len(traces), np.bool_) if group == ALL else categories == group
            some = Depths(depths.judged[own], depths.rejected[own])
            found, resampled = some.hazards(np.random.default_rng(seed))
            if np.isnan(found[0]):
                continue
            category = None if group == ALL else group
            look: Look = "dashed" if group == ALL and len(groups) > 1 else "line"
            at = np.arange(1, found.size + 1)
            with np.errstate(invalid="ignore"):
                low, high = _ends(resampled)
            notes = [f"{count:,} drafts reach it" for count in some.judged.sum(axis=0).tolist()]
            hazards.append(
                Series(group, at, found, low, high, category=category, look=look, notes=notes)
            )
            lengths = run_lengths(found)
            runs.append(
                Series(
                    group,
                    np.arange(lengths.size),
                    lengths,
                    category=category,
                    look=look,
                )
            )
        if not hazards:
            continue
        charts.append(
            Chart(
                f"{drafter} · hazard",
                Axis("depth: place of the token in its draft", whole=True),
                Axis("chance that it is rejected", zero=True, percent=True),
                tuple(hazards),
            )
        )
        top = f"run length: tokens accepted in a row (the last: {DEPTHS} or more)"
        charts.append(
            Chart(
                f"{drafter} · run lengths",
                Axis(top, whole=True, zero=True),
                Axis("share of positions", zero=True, percent=True),
                tuple(runs),
            )
        )
    says = (
        "At every position of every text, whatever was drafted there: how likely the next token of "
        "a draft is rejected, after those before it were accepted. Shades are 95 % intervals over "
        "prompts."
    )
    return Panel("hazards", f"How far drafts hold: {name}", says, tuple(charts))


def run_lengths(hazards: FloatArray) -> FloatArray:
    """Chance of a run of 0, 1, ... tokens, ``[K] -> [K + 1]``; the last is of K or more.

    What no draft reaches has no hazard (NaN), and no chance either.
    """
    known = np.nan_to_num(hazards, nan=1.0)
    survival = np.concatenate([[1.0], np.cumprod(1.0 - known)])
    lengths: FloatArray = np.append(survival[:-1] * known, survival[-1])
    return lengths


def _ends(resampled: FloatArray) -> tuple[FloatArray, FloatArray]:
    """95 % percentile intervals of columns; NaN where a resample knows nothing."""
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    return low, high


def _largest(categories: "np.ndarray[tuple[int, ...], np.dtype[np.str_]]") -> list[str]:
    """The most frequent categories, by name; none where all are alike."""
    names, counts = np.unique(categories, return_counts=True)
    if names.size < 2:
        return []
    most = np.argsort(-counts, kind="stable")[:_MOST_CATEGORIES]
    return sorted(str(name) for name in names[most] if name)
