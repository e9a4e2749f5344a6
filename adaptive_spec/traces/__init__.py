"""Exact traces: in memory, in Parquet files, imported from run lengths; and logs of live cycles.

Parquet needs pyarrow (``pip install 'adaptive-spec[trace]'``); it is imported when first used.
"""

from adaptive_spec.traces.cycles import LoggedCycle, read_cycles, write_cycles
from adaptive_spec.traces.parquet import read_trace, write_trace
from adaptive_spec.traces.records import (
    SIGNALS,
    FlatTrace,
    SequenceTrace,
    SignalTrace,
    TraceInfo,
    TraceSet,
    run_lengths_of,
)
from adaptive_spec.traces.run_lengths import export_run_lengths, import_run_lengths
from adaptive_spec.traces.store import TraceWriter

__all__ = [
    "SIGNALS",
    "FlatTrace",
    "LoggedCycle",
    "SequenceTrace",
    "SignalTrace",
    "TraceInfo",
    "TraceSet",
    "TraceWriter",
    "export_run_lengths",
    "import_run_lengths",
    "read_cycles",
    "read_trace",
    "run_lengths_of",
    "write_cycles",
    "write_trace",
]
