"""Run lengths, position by position, in this package's own JSON Lines (``traces.run_lengths``)."""

from dataclasses import replace
from pathlib import Path

from adaptive_spec.errors import TraceError
from adaptive_spec.traces.imports.imported import Imported, Settings, Totals
from adaptive_spec.traces.records import TraceSet
from adaptive_spec.traces.run_lengths import import_run_lengths


def read_run_lengths(path: Path, settings: Settings) -> Imported:
    """Reads them; those measured with drafts of one length are known up to there.

    Raises:
      TraceError: as of ``import_run_lengths``, or a run that is longer than ``longest_draft``.
    """
    traces = import_run_lengths(path, drafter=settings.drafter, verifier=settings.verifier)
    totals = Totals(
        requests=len(traces),
        tokens=traces.num_tokens,
        prompt_tokens=sum(sequence.prompt_tokens for sequence in traces),
    )
    missing = ("times, batch sizes, and the drafter's probabilities",)
    longest = settings.longest_draft
    if not longest:
        return Imported("exact", totals, missing, ("every run length",), None, traces)
    for sequence in traces:
        most = int(sequence.run_lengths.max())
        if most > longest:
            raise TraceError(
                f"run lengths {str(path)!r}: sequence {sequence.id!r} has a run of {most} tokens, "
                f"and drafts are said to have had {longest} at most; correct --longest-draft"
            )
    info = replace(traces.info, exactness="capped", known_draft_tokens=longest)
    return Imported(
        "capped",
        totals,
        (*missing, f"drafts of more than {longest} tokens"),
        (f"every run length up to {longest}",),
        None,
        TraceSet(info, traces.sequences),
    )
