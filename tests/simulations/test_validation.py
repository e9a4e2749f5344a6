import numpy as np
import pytest

from adaptive_spec import ConfigError, ConstantCosts
from adaptive_spec.simulations.simulator import CycleLog, replay
from adaptive_spec.simulations.validation import ShownCycle, validate_cycles
from adaptive_spec.traces import SequenceTrace, TraceInfo, TraceSet


def setup() -> tuple[TraceSet, CycleLog]:
    runs = np.array([2, 1, 0, 0])
    sequences = tuple(SequenceTrace(name, "", 5, runs, np.ones(4, np.bool_)) for name in ("a", "b"))
    traces = TraceSet(TraceInfo("v", "d", "token"), sequences)
    log = replay("fixed:tau=2", traces, costs=ConstantCosts(), log_cycles=True).log
    assert log is not None
    return traces, log


def shown(tau: int, accepted: int, drafter: str | None = "d") -> ShownCycle:
    return ShownCycle(tau, accepted, drafter)


def test_identical_cycles() -> None:
    traces, log = setup()
    same = [shown(2, 2), shown(2, 0)]
    result = validate_cycles({"a": same, "b": same}, traces, log)
    assert result.identical
    assert (result.sequences, result.cycles) == (2, 4)


def test_the_first_difference_of_each_sequence_is_told() -> None:
    traces, log = setup()
    cycles = [shown(2, 2), shown(2, 0), shown(0, 0, None)]
    other = [shown(2, 2), shown(1, 0)]
    result = validate_cycles({"a": other, "b": cycles[:1]}, traces, log)
    assert not result.identical
    assert result.differences == (("a", 1, other[1], cycles[1]), ("b", 1, None, cycles[1]))
    longer = validate_cycles({"a": cycles}, traces, log)
    assert longer.differences == (("a", 2, cycles[2], None),)


def test_another_drafter_is_a_difference() -> None:
    traces, log = setup()
    other = [shown(2, 2, "e"), shown(2, 0)]
    result = validate_cycles({"a": other}, traces, log)
    assert result.differences == (("a", 0, other[0], shown(2, 2)),)


def test_a_sequence_that_was_not_recorded_is_refused() -> None:
    traces, log = setup()
    with pytest.raises(ConfigError, match=r"lacks \['c'\]"):
        validate_cycles({"c": []}, traces, log)
