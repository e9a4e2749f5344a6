import numpy as np
import pytest

from adaptive_spec import ConfigError, ConstantCosts
from adaptive_spec.simulations.simulator import CycleLog, replay
from adaptive_spec.simulations.validation import validate_cycles
from adaptive_spec.traces import SequenceTrace, TraceInfo, TraceSet


def setup() -> tuple[TraceSet, CycleLog]:
    runs = np.array([2, 1, 0, 0])
    sequences = tuple(SequenceTrace(name, "", 5, runs, np.ones(4, np.bool_)) for name in ("a", "b"))
    traces = TraceSet(TraceInfo("v", "d", "token"), sequences)
    log = replay("fixed:tau=2", traces, costs=ConstantCosts(), log_cycles=True).log
    assert log is not None
    return traces, log


def test_identical_cycles() -> None:
    traces, log = setup()
    result = validate_cycles({"a": [(2, 2), (2, 0)], "b": [(2, 2), (2, 0)]}, traces, log)
    assert result.identical
    assert (result.sequences, result.cycles) == (2, 4)


def test_the_first_difference_of_each_sequence_is_told() -> None:
    traces, log = setup()
    result = validate_cycles({"a": [(2, 2), (1, 0)], "b": [(2, 2)]}, traces, log)
    assert not result.identical
    assert result.differences == (("a", 1, (1, 0), (2, 0)), ("b", 1, None, (2, 0)))
    longer = validate_cycles({"a": [(2, 2), (2, 0), (0, 0)]}, traces, log)
    assert longer.differences == (("a", 2, (0, 0), None),)


def test_a_sequence_that_was_not_recorded_is_refused() -> None:
    traces, log = setup()
    with pytest.raises(ConfigError, match=r"lacks \['c'\]"):
        validate_cycles({"c": []}, traces, log)
