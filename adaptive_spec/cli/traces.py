"""Traces as commands need them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adaptive_spec.cli.output import note
from adaptive_spec.costs import CostModel
from adaptive_spec.policy import Policy
from adaptive_spec.traces import TraceSet, read_trace
from adaptive_spec.traces.exactness import MEANING


def trace_for(policies: Iterable[Policy[Any, Any]], path: Path, costs: CostModel) -> TraceSet:
    """A trace with the signals that the policies look at, if any do; says what replay can't tell.

    Raises:
      TraceError: it cannot be read.
      CostsError: the costs name a drafter that it does not have.
    """
    return priced_trace(path, costs, signals=need_signals(policies))


def need_signals(policies: Iterable[Policy[Any, Any]]) -> bool:
    """Whether any of the policies looks at what drafters say of their tokens."""
    return any(policy.looks_inside_draft or policy.takes_hints for policy in policies)


def priced_trace(path: Path, costs: CostModel, *, signals: bool = True) -> TraceSet:
    """A trace whose drafters all have costs; says what replay can't tell. Raises as above."""
    traces = read_trace(path, signals=signals)
    costs.require_drafters(traces.info.drafter_names)
    tell_exactness(path, traces)
    return traces


def tell_exactness(path: Path, traces: TraceSet) -> None:
    """Says what replaying a trace can't tell."""
    if traces.info.exactness != "exact":
        note(f"{path}: {traces.info.exactness}: {MEANING[traces.info.exactness]}")
