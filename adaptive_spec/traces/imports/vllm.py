"""vLLM's per-request metrics (``--per-request-spec-decode-metrics``), as in its responses.

One response of the OpenAI-compatible server a line (``metrics.speculative_decoding`` and ``usage``
count), or one ``RequestSpecDecodeMetrics.to_dict()`` of the offline API with optional ``id``,
``prompt_tokens`` and ``completion_tokens``. Fields of vLLM 0.32 (``v1/metrics/stats.py``).
"""

from pathlib import Path
from typing import Any

import numpy as np

from adaptive_spec._jsonl import (
    count_field,
    counts_field,
    object_field,
    read_json_or_lines,
    text_field,
)
from adaptive_spec.errors import TraceError
from adaptive_spec.traces.acceptance import Acceptance
from adaptive_spec.traces.imports.imported import (
    MOST_DRAFT_TOKENS,
    Imported,
    Settings,
    Totals,
    by_depth,
)
from adaptive_spec.traces.imports.steps import Steps, checked_steps, from_steps

_MISSING = (
    "times, batch sizes, the drafter's probabilities, and whether text was sampled",
    "steps without a draft",
    (
        "which drafted tokens vLLM's own adaptive verification left out, if that was on: they look "
        "rejected"
    ),
)
_WANTED = "start vLLM with --per-request-spec-decode-metrics detailed"


def read_vllm(path: Path, settings: Settings) -> Imported:
    """Reads responses; with ``detailed`` metrics step by step, with ``summary`` histograms.

    Raises:
      TraceError: the file cannot be read, or a field is missing, mistyped or contradicts another;
        names the line.
    """
    steps: list[Steps] = []
    parts: list[Acceptance] = []
    totals: list[Totals] = []
    for number, (where, record) in enumerate(read_json_or_lines(path, "metrics", TraceError), 1):
        metrics, usage = _metrics(record, where), object_field(record, "usage", where, TraceError)
        usage = usage or record
        histogram = _histogram(metrics, where)
        drafted = count_field(metrics, "num_draft_tokens", where, TraceError, least=0)
        accepted = sum(j * count for j, count in enumerate(histogram))
        tokens = _optional(usage, "completion_tokens", where)
        totals.append(
            Totals(
                requests=1,
                tokens=tokens,
                drafts=sum(histogram),
                num_draft_tokens=drafted,
                num_accepted_tokens=accepted,
                prompt_tokens=_optional(usage, "prompt_tokens", where),
            )
        )
        parts.append(_by_histogram(histogram, drafted, where))
        if metrics.get("per_step_accepted") is not None or sum(histogram) == 0:
            prompt_tokens = totals[-1].prompt_tokens
            steps.append(
                Steps(
                    text_field(record, "id", where, TraceError, default=f"request-{number}"),
                    # The prompt's pass emits a token before the first step.
                    None if prompt_tokens is None else prompt_tokens + 1,
                    *_steps(metrics, histogram, drafted, where),
                    tokens=None if tokens is None else max(tokens - 1, 0),
                )
            )
    together = Totals.sum(totals)
    if len(steps) == len(totals) and together.drafts:
        return from_steps(steps, together, settings, _MISSING)
    missing = (*_MISSING, f"the order of steps ({_WANTED})")
    return by_depth(Acceptance.sum(parts), together, settings, missing)


def _metrics(record: dict[str, Any], where: str) -> dict[str, Any]:
    if "acceptance_histogram" in record:
        return record
    metrics = object_field(record, "metrics", where, TraceError)
    found = object_field(metrics, "speculative_decoding", where, TraceError)
    if not found:
        raise TraceError(
            f"{where}: 'metrics.speculative_decoding' is missing; {_WANTED}, and ask for one "
            "completion a request"
        )
    return found


def _histogram(metrics: dict[str, Any], where: str) -> list[int]:
    most = count_field(metrics, "num_spec_tokens", where, TraceError, least=0)
    histogram = counts_field(metrics, "acceptance_histogram", where, TraceError, most=1 << 40)
    if most > MOST_DRAFT_TOKENS or len(histogram) != most + 1:
        raise TraceError(
            f"{where}: acceptance_histogram has {len(histogram)} entries and num_spec_tokens is "
            f"{most}; it must have one more than that, and num_spec_tokens be at most "
            f"{MOST_DRAFT_TOKENS}"
        )
    return histogram


def _by_histogram(histogram: list[int], num_draft_tokens: int, where: str) -> Acceptance:
    try:
        return Acceptance.of_histogram(np.array(histogram, np.int64), num_draft_tokens)
    except TraceError as error:
        raise TraceError(f"{where}: num_draft_tokens = {num_draft_tokens}: {error}") from None


def _steps(
    metrics: dict[str, Any], histogram: list[int], num_draft_tokens: int, where: str
) -> tuple[Any, Any]:
    """Tokens drafted and accepted by step, which must agree with the sums."""
    if sum(histogram) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    by_step = [
        counts_field(metrics, name, where, TraceError, most=MOST_DRAFT_TOKENS)
        for name in ("per_step_drafted", "per_step_accepted")
    ]
    checked_steps(by_step[0], by_step[1], "per_step_drafted and per_step_accepted", where)
    drafted, accepted = (np.array(values, np.int64) for values in by_step)
    if drafted.sum() != num_draft_tokens:
        raise TraceError(
            f"{where}: per_step_drafted adds up to {drafted.sum()}, num_draft_tokens is "
            f"{num_draft_tokens}; they must be equal"
        )
    if np.bincount(accepted, minlength=len(histogram)).tolist() != histogram:
        raise TraceError(
            f"{where}: per_step_accepted contradicts acceptance_histogram, which must have its "
            "counts"
        )
    return drafted, accepted


def _optional(record: dict[str, Any], key: str, where: str) -> int | None:
    if record.get(key) is None:
        return None
    return count_field(record, key, where, TraceError, least=0)
