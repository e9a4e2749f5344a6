"""Exact traces: in memory, in Parquet files, imported from run lengths; and logs of live cycles.

Parquet needs pyarrow (``pip install 'adaptive-spec[trace]'``); it is imported when first used.
"""

from adaptive_spec.traces._columns import file_format
from adaptive_spec.traces.cycles import (
    CycleFile,
    LoggedCycle,
    is_cycle_log,
    read_cycle_file,
    read_cycles,
    write_cycles,
)
from adaptive_spec.traces.flat import FlatTrace
from adaptive_spec.traces.parquet import read_trace, write_trace
from adaptive_spec.traces.records import Component, TraceInfo, TraceSet
from adaptive_spec.traces.run_lengths import export_run_lengths, import_run_lengths
from adaptive_spec.traces.sequences import (
    SIGNALS,
    DrafterTrace,
    SequenceTrace,
    SignalTrace,
    in_default_order,
    run_lengths_of,
)
from adaptive_spec.traces.store import TraceWriter
from adaptive_spec.traces.synthetic import Hazards, synthetic_trace
from adaptive_spec.traces.windows import WindowedTrace, Windows, windows_of

__all__ = [
    "SIGNALS",
    "Component",
    "CycleFile",
    "DrafterTrace",
    "FlatTrace",
    "Hazards",
    "LoggedCycle",
    "SequenceTrace",
    "SignalTrace",
    "TraceInfo",
    "TraceSet",
    "TraceWriter",
    "WindowedTrace",
    "Windows",
    "export_run_lengths",
    "file_format",
    "import_run_lengths",
    "in_default_order",
    "is_cycle_log",
    "read_cycle_file",
    "read_cycles",
    "read_trace",
    "run_lengths_of",
    "synthetic_trace",
    "windows_of",
    "write_cycles",
    "write_trace",
]
