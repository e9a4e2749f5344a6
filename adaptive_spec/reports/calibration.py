"""Are signals what they say? How often tokens are accepted by what the drafter said of them.

And of policies that look inside the draft, how often they were right: a draft that went on should
have had its next token accepted, one that was ended should have had it rejected. The trace knows
both, also of tokens that were never drafted.
"""

from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.reports.charts import Axis, Chart, Look, Panel, Series
from adaptive_spec.reports.hazards import ALL
from adaptive_spec.reports.replays import Replayed
from adaptive_spec.traces import TraceSet
from adaptive_spec.traces.sequences import SequenceTrace

_BINS = 10
_SCORE = 1.959964  # of a 95 % interval


class _Signal(NamedTuple):
    """A signal: its name, axis, edges of its bins, and whether it claims to be a chance."""

    name: str
    axis: Axis
    edges: tuple[float, ...]
    claims: bool = False


_SIGNALS = (
    _Signal(
        "top1_probability",
        Axis("what the drafter said: top-1 probability", zero=True, percent=True),
        tuple(np.linspace(0.0, 1.0, _BINS + 1).tolist()),
        claims=True,
    ),
    _Signal(
        "entropy",
        Axis("entropy of the draft distribution, nats", zero=True),
        (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 16.0),
    ),
    _Signal(
        "match_length",
        Axis("length of the match, tokens", whole=True),
        (0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 1e9),
    ),
)


def of_trace(name: str, traces: TraceSet) -> Panel | None:
    """Acceptance of a draft's first token by its signals, by category; None without signals."""
    charts = []
    for i, drafter in enumerate(traces.info.drafter_names):
        for signal in _SIGNALS:
            series = _by_category(traces, i, signal)
            if not series:
                continue
            if signal.claims:
                series.append(Series("perfectly calibrated", [0.0, 1.0], [0.0, 1.0], look="dashed"))
            title = f"{drafter} · {signal.name.replace('_', ' ')}"
            axis = Axis("drafts whose first token is accepted", zero=True, percent=True)
            charts.append(Chart(title, signal.axis, axis, tuple(series)))
    if not charts:
        return None
    says = (
        "First tokens of drafts from every position, grouped by what the drafter said of them. "
        "Shades are 95 % score intervals of a share (Wilson, JASA 1927)."
    )
    return Panel("calibration", f"Are signals what they say? {name}", says, tuple(charts))


def _by_category(traces: TraceSet, drafter: int, signal: _Signal) -> list[Series]:
    groups: dict[str, list[SequenceTrace]] = {}
    for sequence in traces:
        if signal.name in sequence.drafters[drafter].signals:
            groups.setdefault(sequence.category, []).append(sequence)
    everybody = [sequence for own in groups.values() for sequence in own]
    shown: list[tuple[str, str | None, list[SequenceTrace]]] = [(ALL, None, everybody)]
    if len(groups) > 1:
        shown += [(name, name, own) for name, own in sorted(groups.items()) if name]
    found = []
    for name, category, own in shown:
        said, accepted = _first_tokens(own, drafter, signal.name)
        if said.size:
            look: Look = "line" if category or len(shown) == 1 else "dashed"
            found.append(_reliability(name, category, look, signal, said, accepted))
    return found


def _first_tokens(
    sequences: list[SequenceTrace], drafter: int, signal: str
) -> tuple[FloatArray, BoolArray]:
    """What was said of the first token drafted from every position, and whether it stands."""
    said, accepted = [np.zeros(0)], [np.zeros(0, np.bool_)]
    for sequence in sequences:
        own = sequence.drafters[drafter]
        first = own.signals[signal].first[:-1]
        known = own.available & np.isfinite(first)
        said.append(first[known])
        accepted.append(own.agreement[known])
    return np.concatenate(said), np.concatenate(accepted)


def _reliability(
    name: str,
    category: str | None,
    look: Look,
    signal: _Signal,
    said: FloatArray,
    accepted: BoolArray,
) -> Series:
    edges = np.asarray(signal.edges)
    place = np.clip(np.searchsorted(edges, said, side="right") - 1, 0, edges.size - 2)
    count = np.bincount(place, minlength=edges.size - 1)
    some = np.flatnonzero(count)
    mean = np.bincount(place, said, edges.size - 1)[some] / count[some]
    hits = np.bincount(place, accepted, edges.size - 1)[some].astype(np.float64)
    low, high = wilson(hits, count[some])
    return Series(
        name,
        mean,
        hits / count[some],
        low,
        high,
        category=category,
        look=look,
        notes=[f"{n:,} drafts" for n in count[some].tolist()],
    )


def wilson(hits: FloatArray, count: IntArray) -> tuple[FloatArray, FloatArray]:
    """95 % score interval of each share ``hits / count`` (Wilson, JASA 1927), counts positive."""
    share, z2 = hits / count, _SCORE**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    spread = _SCORE / (1 + z2 / count) * np.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return centre - spread, centre + spread


def of_replays(found: Replayed) -> Panel | None:
    """How often policies that look inside the draft were right; None where none does."""
    flat = found.traces.flat()
    rows: dict[str, list[Series]] = {"went on": [], "ended": []}
    for spec, policy in found.policies.items():
        if not policy.looks_inside_draft:
            continue
        log = found.log(spec)
        mine = log.num_draft_tokens > 0
        sequence, position, source = log.sequence[mine], log.position[mine], log.drafter[mine]
        drafted = log.num_draft_tokens[mine]
        room = flat.room(sequence, position)[np.arange(source.size), source]
        run = flat.run_lengths[flat.start[sequence] + position, source]
        # Of a draft's tokens but the first, each was drafted because it was to be accepted.
        on, right = (drafted - 1).sum(), np.minimum(np.maximum(run - 1, 0), drafted - 1).sum()
        ended = drafted < np.minimum(log.tau[mine], room)
        stops = ended.sum()
        apt = (run[ended] <= drafted[ended]).sum()
        for what, hits, count in (("went on", right, on), ("ended", apt, stops)):
            if count:
                low, high = wilson(np.array([float(hits)]), np.array([int(count)]))
                rows[what].append(
                    Series(
                        spec,
                        [float(hits / count)],
                        low=low,
                        high=high,
                        policy=spec,
                        notes=[f"{int(count):,} times"],
                    )
                )
    charts = [
        Chart(title, Axis("share that were right", percent=True, zero=True), None, tuple(own))
        for title, own in (
            ("drafted on, and the next token was accepted", rows["went on"]),
            ("ended the draft, and the next token was to be rejected", rows["ended"]),
        )
        if own
    ]
    if not charts:
        return None
    says = (
        "Policies that look inside the draft decide after every token. Being right most often is "
        "not the aim (a cheap draft may go on at long odds), but odds far from the price are waste."
    )
    return Panel("stops", f"Were drafts ended in time? {found.name}", says, tuple(charts))
