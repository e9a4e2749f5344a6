"""Requests token by token, and every cycle of every policy on them: what the trace viewer shows.

The cycles are replayed: of an exact trace they are those that the live engine would have run. A
trace keeps that a draft was rejected, and not what it said: rejected tokens have signals, and no
text.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.policy import DraftSignals
from adaptive_spec.reports.charts import numbers, rounded
from adaptive_spec.reports.replays import Replayed, sample
from adaptive_spec.simulations.signals import SignalSource, has_signals
from adaptive_spec.simulations.simulator import CycleLog
from adaptive_spec.traces.sequences import SIGNALS, SequenceTrace

Pieces = Callable[[Sequence[int]], list[str]]
"""The text of each of some tokens; joined they are the text of all."""

MOST_REQUESTS = 60
"""Requests shown of a trace."""

_MOST_CELLS = 100_000  # tokens times policies: about 3 MB of page
_PROMPT_CHARACTERS = 2_000  # of a prompt's end
_SIGNAL_DIGITS = 3


def viewer(found: Replayed, pieces: Pieces | None) -> dict[str, Any]:
    """The requests of a replayed trace, as a JSON object.

    Args:
      found: replays of every policy to be shown.
      pieces: text of tokens; None where nobody knows it: tokens go by their numbers then.
    """
    shown = _shown(found)
    names = [sequence.id for sequence in found.traces]
    source = SignalSource.of(found.traces) if has_signals(found.traces) else None
    cycles = {spec: _by_request(found.log(spec), len(names)) for spec in found.specs}
    return {
        "name": found.name,
        "requests_shown": len(shown),
        "requests_of_trace": found.whole,
        "time_unit": found.costs.time_unit,
        "plain_ms": rounded(found.costs.plain_ms),
        "drafters": list(found.traces.info.drafter_names),
        "exact": found.traces.info.exactness in ("exact", "capped"),
        "has_text": pieces is not None,
        "policies": list(found.specs),
        "requests": [
            {
                **_text(found.traces.sequences[i], pieces),
                "plain_time": rounded(float(found.statics[0].time_ms[i])),
                "runs": [
                    _run(found, found.log(spec), cycles[spec][i], source) for spec in found.specs
                ],
            }
            for i in shown
        ],
    }


def _shown(found: Replayed) -> list[int]:
    """Which requests of the sample are shown, by index: as many as keep the page small."""
    cells = found.traces.num_tokens / len(found.traces) * (1 + len(found.specs))
    most = int(np.clip(_MOST_CELLS / cells, 1, MOST_REQUESTS))
    chosen = {sequence.id for sequence in sample(found.traces, most)}
    return [i for i, sequence in enumerate(found.traces) if sequence.id in chosen]


def _text(sequence: SequenceTrace, pieces: Pieces | None) -> dict[str, Any]:
    n = sequence.run_lengths.size
    output: list[str] | None = None
    prompt = ""
    if sequence.output_ids is not None:
        ids = sequence.output_ids.tolist()
        output = [f"⟨{i}⟩" for i in ids] if pieces is None else pieces(ids)
    if pieces is not None and sequence.prompt_ids is not None:
        prompt = "".join(pieces(sequence.prompt_ids.tolist()))
        if len(prompt) > _PROMPT_CHARACTERS:
            prompt = "…" + prompt[-_PROMPT_CHARACTERS:]
    return {
        "id": sequence.id,
        "category": sequence.category,
        "prompt": prompt,
        "prompt_tokens": sequence.prompt_tokens,
        "finish_reason": sequence.finish_reason,
        "tokens": ["▪"] * n if output is None else output,
    }


def _by_request(log: CycleLog, requests: int) -> list[IntArray]:
    """Indices of each request's cycles, in order of position."""
    order = np.lexsort((log.position, log.sequence))
    return np.split(order, np.searchsorted(log.sequence[order], np.arange(1, requests)))


def _run(
    found: Replayed, log: CycleLog, cycles: IntArray, source: SignalSource | None
) -> dict[str, Any]:
    """One policy on one request: columns with an entry per cycle."""
    drafted, drafter, position = (
        log.num_draft_tokens[cycles],
        log.drafter[cycles],
        log.position[cycles],
    )
    columns = {
        "position": position,
        "tau": log.tau[cycles],
        "drafted": drafted,
        "accepted": log.num_accepted_tokens[cycles],
        "emitted": log.num_emitted_tokens[cycles],
        "drafter": drafter,
        "ms": log.cycle_ms[cycles],
        "draft_ms": _draft_ms(found, log, cycles),
    }
    told: dict[str, Any] = {name: numbers(column) for name, column in columns.items()}
    if source is not None:
        said = source.at(
            log.sequence[cycles], position, max(int(drafted.max()), 1), np.maximum(drafter, 0)
        )
        told["signals"] = _signals(said, drafted)
    return told


def _draft_ms(found: Replayed, log: CycleLog, cycles: IntArray) -> FloatArray:
    """Time of drafting in each cycle; the rest is the verifier's pass."""
    prompts = np.array([sequence.prompt_tokens for sequence in found.traces])
    context = prompts[log.sequence[cycles]] + log.position[cycles]
    times = np.zeros(cycles.size)
    for i, name in enumerate(found.traces.info.drafter_names):
        own = log.drafter[cycles] == i
        if own.any():
            costs = found.costs.of_drafter(name)
            drafted = log.num_draft_tokens[cycles][own]
            times[own] = costs.draft_ms(drafted, 1, context[own])
    return times


def _signals(said: DraftSignals, drafted: IntArray) -> dict[str, list[list[float | None]]]:
    """Each signal of each drafted token, a list per cycle; those that nothing is known of not."""
    found = {}
    for name in SIGNALS:
        column = getattr(said, name)
        if np.isfinite(column).any():
            found[name] = [
                [_short(value) for value in row[:count].tolist()]
                for row, count in zip(column, drafted.tolist(), strict=True)
            ]
    return found


def _short(value: float) -> float | None:
    return round(value, _SIGNAL_DIGITS) if np.isfinite(value) else None
