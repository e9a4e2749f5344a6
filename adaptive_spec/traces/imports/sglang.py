"""SGLang's per-request histograms, as in the ``meta_info`` of its ``/generate`` responses.

One response a line, or a list of them. Fields of SGLang 0.5.23
(``managers/tokenizer_manager.py``): ``spec_correct_drafts_histogram`` counts rounds by accepted
draft tokens, ``spec_num_proposed_drafts`` is rounds times the *configured* width, whatever width
adaptive tiers chose; ``spec_cap_lens_histogram``, where verification is ragged, counts rounds by
the length that was verified.
"""

from pathlib import Path
from typing import Any

import numpy as np

from adaptive_spec._jsonl import count_field, counts_field, object_field, read_json_or_lines
from adaptive_spec.errors import TraceError
from adaptive_spec.traces.acceptance import Acceptance
from adaptive_spec.traces.imports.imported import (
    MOST_DRAFT_TOKENS,
    Imported,
    Settings,
    Totals,
    by_depth,
)

_MISSING = (
    (
        "the order of rounds, times, batch sizes, the drafter's probabilities, and whether text "
        "was sampled"
    ),
    (
        "the width of each round: all are taken to have the configured one, which is wrong while "
        "--speculative-adaptive switches it"
    ),
    "whether drafts were trees (topk above 1), whose acceptance is not that of one chain",
)


def read_sglang(path: Path, settings: Settings) -> Imported:
    """Reads responses.

    Raises:
      TraceError: the file cannot be read, or a field is missing, mistyped or contradicts another;
        names the line.
    """
    parts: list[Acceptance] = []
    totals: list[Totals] = []
    for where, record in read_json_or_lines(path, "responses", TraceError):
        info = object_field(record, "meta_info", where, TraceError) or record
        if "spec_verify_ct" not in info:
            raise TraceError(
                f"{where}: 'meta_info.spec_verify_ct' is missing; give responses of /generate from "
                "a server that speculates"
            )
        acceptance, total = _request(info, where)
        parts.append(acceptance)
        totals.append(total)
    return by_depth(Acceptance.sum(parts), Totals.sum(totals), settings, _MISSING)


def _request(info: dict[str, Any], where: str) -> tuple[Acceptance, Totals]:
    histogram = counts_field(info, "spec_correct_drafts_histogram", where, TraceError, most=1 << 40)
    rounds = count_field(info, "spec_verify_ct", where, TraceError, least=0)
    correct = count_field(info, "spec_num_correct_drafts", where, TraceError, least=0)
    if sum(histogram) != rounds or sum(j * n for j, n in enumerate(histogram)) != correct:
        raise TraceError(
            f"{where}: spec_correct_drafts_histogram counts {sum(histogram)} rounds and "
            f"{sum(j * n for j, n in enumerate(histogram))} accepted tokens; spec_verify_ct is "
            f"{rounds} and spec_num_correct_drafts {correct}, which must be equal to them"
        )
    proposed = count_field(info, "spec_num_proposed_drafts", where, TraceError, least=0)
    if rounds and proposed % rounds:
        raise TraceError(
            f"{where}: spec_num_proposed_drafts = {proposed}; it must be a multiple of "
            f"spec_verify_ct = {rounds}"
        )
    width = max(proposed // max(rounds, 1), len(histogram) - 1)
    if width > MOST_DRAFT_TOKENS:
        raise TraceError(f"{where}: drafts of {width} tokens; at most {MOST_DRAFT_TOKENS} are read")
    counts = np.zeros(width + 1, np.int64)
    counts[: len(histogram)] = histogram
    drafted = _drafted(info, rounds, width, proposed, correct, where)
    totals = Totals(
        requests=1,
        tokens=count_field(info, "completion_tokens", where, TraceError, least=0),
        passes=rounds,
        drafts=rounds,
        num_draft_tokens=drafted,
        num_accepted_tokens=correct,
        prompt_tokens=count_field(info, "prompt_tokens", where, TraceError, least=0),
    )
    try:
        return Acceptance.of_histogram(counts, drafted), totals
    except TraceError as error:
        raise TraceError(f"{where}: spec_correct_drafts_histogram: {error}") from None


def _drafted(
    info: dict[str, Any], rounds: int, width: int, proposed: int, correct: int, where: str
) -> int:
    """Tokens verified in all, or the least that there can have been."""
    if info.get("spec_cap_lens_histogram"):
        caps = counts_field(info, "spec_cap_lens_histogram", where, TraceError, most=1 << 40)
        if sum(caps) != rounds or len(caps) > width + 1:
            raise TraceError(
                f"{where}: spec_cap_lens_histogram counts {sum(caps)} rounds of up to "
                f"{len(caps) - 1} tokens; it must count {rounds} of up to {width}"
            )
        return sum(length * count for length, count in enumerate(caps))
    return proposed if proposed == width * rounds else correct
