"""flashspec's step records: one generation a line, with its ``arm_steps``.

flashspec 0.3.1 keeps them in ``GenerationResult.arm_steps`` and writes no file; one line is
``json.dumps({"id": ..., "prompt_tokens": ..., "arm_steps": [asdict(s) for s in r.arm_steps]})``.
Of each step ``proposed``, ``accepted``, ``emitted``, ``drafter`` and ``seconds`` count.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._jsonl import count_field, number_field, read_json_or_lines, text_field
from adaptive_spec.errors import TraceError
from adaptive_spec.traces.imports.imported import MOST_DRAFT_TOKENS, Imported, Settings, Totals
from adaptive_spec.traces.imports.steps import Steps, checked_steps, from_steps

_MISSING = (
    "batch sizes, the drafter's probabilities, and whether text was sampled",
    "the time of drafting alone: a step's time is of all that it did",
)


class _Step(NamedTuple):
    drafter: int
    proposed: int
    accepted: int
    emitted: int
    seconds: float


def read_flashspec(path: Path, settings: Settings) -> Imported:
    """Reads generations of single sequences.

    Raises:
      TraceError: the file cannot be read, a field is missing or mistyped, or steps are a batch's;
        names the line.
    """
    requests: list[Steps] = []
    totals: list[Totals] = []
    for number, (where, record) in enumerate(read_json_or_lines(path, "steps", TraceError), 1):
        steps = _steps(record, where)
        prompt_tokens = None
        if record.get("prompt_tokens") is not None:
            prompt_tokens = count_field(record, "prompt_tokens", where, TraceError, least=1)
        drafts = [step for step in steps if step.proposed]
        tokens = sum(step.emitted for step in steps)
        requests.append(
            Steps(
                text_field(record, "id", where, TraceError, default=f"request-{number}"),
                prompt_tokens,
                np.array([step.proposed for step in steps], np.int64),
                np.array([step.accepted for step in steps], np.int64),
                tokens=tokens,
                drafters=len({step.drafter for step in drafts}),
            )
        )
        totals.append(
            Totals(
                requests=1,
                tokens=tokens,
                passes=len(steps),
                drafts=len(drafts),
                num_draft_tokens=sum(step.proposed for step in steps),
                num_accepted_tokens=sum(step.accepted for step in steps),
                decode_ms=1000.0 * sum(step.seconds for step in steps),
                prompt_tokens=prompt_tokens,
            )
        )
    return from_steps(requests, Totals.sum(totals), settings, _MISSING)


def _steps(record: dict[str, Any], where: str) -> list[_Step]:
    found = record.get("arm_steps")
    if not isinstance(found, list) or not all(isinstance(step, dict) for step in found):
        raise TraceError(
            f"{where}: 'arm_steps' is missing or no list of objects; write it with "
            "[dataclasses.asdict(step) for step in result.arm_steps]"
        )
    steps = [_step(step, f"{where}, arm_steps[{i}]") for i, step in enumerate(found)]
    checked_steps(
        [step.proposed for step in steps],
        [step.accepted for step in steps],
        "arm_steps: proposed and accepted",
        where,
    )
    for i, step in enumerate(steps):
        last = i + 1 == len(steps)
        if step.emitted > step.accepted + 1 or (not last and step.emitted <= step.accepted):
            raise TraceError(
                f"{where}, arm_steps[{i}]: emitted = {step.emitted} with accepted = "
                f"{step.accepted}; a step of one sequence emits one more than was accepted, and "
                "only the last may emit fewer (a batch's steps hold means, which cannot be read)"
            )
    return steps


def _step(step: dict[str, Any], where: str) -> _Step:
    counts = [
        count_field(step, name, where, TraceError, least=0)
        for name in ("drafter", "proposed", "accepted", "emitted")
    ]
    if counts[1] > MOST_DRAFT_TOKENS:
        raise TraceError(
            f"{where}: proposed = {counts[1]}; drafts of up to {MOST_DRAFT_TOKENS} are read"
        )
    drafter, proposed, accepted, emitted = counts
    seconds = number_field(step, "seconds", where, TraceError)
    return _Step(drafter, proposed, accepted, emitted, seconds)
