"""Run lengths recorded elsewhere (EAGLE-like drafters, other machines), as JSON Lines.

One object a line: ``id``, ``prompt_tokens``, ``run_lengths`` (for every output position, how many
draft tokens in a row would be accepted from there, however many are drafted), and optionally
``category`` and ``max_new_tokens``. Other keys are ignored.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec._files import atomic_write
from adaptive_spec._jsonl import count_field, read_json_or_lines, text_field
from adaptive_spec.errors import TraceError
from adaptive_spec.traces.records import TraceInfo, TraceSet
from adaptive_spec.traces.sequences import SequenceTrace


def import_run_lengths(
    path: str | Path, *, drafter: str = "imported", verifier: str = "unknown"
) -> TraceSet:
    """A trace from run lengths; the drafter is taken to propose at every position.

    Values that reach past the end of the output are cut to the tokens left.

    Args:
      path: the JSON Lines file, or JSON with a list of the objects.
      drafter: what to call the drafter.
      verifier: what to call the verifier.

    Raises:
      TraceError: the file cannot be read, a field is missing or mistyped, a value is negative or
        no integer, or an id appears twice; names the line.
    """
    sequences: dict[str, SequenceTrace] = {}
    for where, record in read_json_or_lines(path, "run lengths", TraceError):
        sequence = _sequence(record, where)
        if sequence.id in sequences:
            raise TraceError(f"{where}: id {sequence.id!r} appears twice; ids must be unique")
        sequences[sequence.id] = sequence
    info = TraceInfo(verifier, drafter, "block", source="imported")
    return TraceSet(info, tuple(sequences.values()))


def export_run_lengths(traces: TraceSet, path: str | Path) -> None:
    """Writes the run lengths of a trace in the format that ``import_run_lengths`` reads.

    Signals, token ids, and where the drafter proposes nothing are not part of that format.

    Raises:
      TraceError: the file cannot be written.
    """
    try:
        with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for sequence in traces:
                record: dict[str, Any] = {
                    "id": sequence.id,
                    "category": sequence.category,
                    "prompt_tokens": sequence.prompt_tokens,
                    "run_lengths": sequence.run_lengths.tolist(),
                }
                if sequence.limit_tokens is not None:
                    record["max_new_tokens"] = sequence.limit_tokens
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
    except OSError as error:
        raise TraceError(
            f"run lengths {str(path)!r}: cannot be written ({error.strerror or error})"
        ) from None


def _sequence(record: dict[str, Any], where: str) -> SequenceTrace:
    runs = _run_lengths(record, where)
    limit = record.get("max_new_tokens")
    if limit is not None:
        limit = count_field(record, "max_new_tokens", where, TraceError, least=runs.size)
    return SequenceTrace(
        id=text_field(record, "id", where, TraceError),
        category=text_field(record, "category", where, TraceError, default=""),
        prompt_tokens=count_field(record, "prompt_tokens", where, TraceError, least=1),
        run_lengths=runs,
        proposes=np.ones(runs.size, np.bool_),
        limit_tokens=limit,
    )


def _run_lengths(record: dict[str, Any], where: str) -> IntArray:
    """``[n]`` run lengths, cut to the tokens left."""
    values = record.get("run_lengths")
    if not isinstance(values, list) or not values:
        what = "is missing" if "run_lengths" not in record else "is not a list with values"
        raise TraceError(f"{where}: 'run_lengths' {what}; it needs an integer a token, like [2, 0]")
    for position, value in enumerate(values):
        # bool is an int to Python, not to us
        if type(value) is not int or value < 0:
            raise TraceError(
                f"{where}: run_lengths[{position}] = {json.dumps(value)[:40]}; "
                "it must be an integer of at least 0"
            )
    return np.array([min(v, len(values) - p) for p, v in enumerate(values)], np.int64)
