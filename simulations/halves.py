"""A trace split in two: one half to choose on, the other to judge on."""

from adaptive_spec.errors import TraceError
from adaptive_spec.traces.records import TraceSet


def halves(traces: TraceSet) -> tuple[TraceSet, TraceSet]:
    """The half to choose on and the half to judge on: every other sequence, by category and id.

    The split depends on the sequences' names alone, so that it is the same for every drafter that
    was recorded on the same prompts.

    Raises:
      TraceError: fewer than two sequences.
    """
    if len(traces) < 2:
        raise TraceError("trace: holds 1 sequence; two halves need at least 2")
    names = [(sequence.category, sequence.id) for sequence in traces]
    order = sorted(range(len(traces)), key=names.__getitem__)
    return traces.select(order[::2]), traces.select(order[1::2])
