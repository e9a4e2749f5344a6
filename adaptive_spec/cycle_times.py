"""How long a cycle took: as measured, or as the cost model has it."""

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.policy import Cycle

LONGEST_MS = 1e12
"""Thirty years. What is longer is no time but a clock that jumped; sums of such would overflow."""


def cycle_times(
    cycle: Cycle,
    drafter: IntArray,
    drafted: IntArray,
    catch_up: BoolArray,
    *,
    lockstep: bool,
    draft_ms: float | FloatArray | None = None,
    verify_ms: float | FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Time of drafting and of the verifier pass, ``[B]`` each.

    Args:
      cycle: as it was decided on.
      drafter: ``[B]`` who drafted.
      drafted: ``[B]`` tokens.
      catch_up: ``[B, D]`` drafters that read without drafting.
      lockstep: whether rows wait for each other: every one takes the longest of each kind.
      draft_ms: measured; None to take the cost model's, which also stands in for what is not a time
        (``are_times``).
      verify_ms: likewise.
    """
    context = cycle.prompt_tokens + cycle.emitted_tokens
    widest = drafted
    if lockstep and context.size > 1:
        widest = np.full_like(drafted, drafted.max())
        context = np.full_like(context, context.max())
    if draft_ms is None or not are_times(draft_ms):
        modelled = _draft_ms(cycle, drafter, drafted, catch_up, context, lockstep)
        draft_ms = modelled if draft_ms is None else times(draft_ms, modelled)
    if verify_ms is None or not are_times(verify_ms):
        modelled = cycle.costs.verify_ms(widest, cycle.batch_size, context)
        verify_ms = modelled if verify_ms is None else times(verify_ms, modelled)
    return _per_row(draft_ms, context.size), _per_row(verify_ms, context.size)


def are_times(given: float | FloatArray) -> bool:
    """Whether all are: >= 0, and at most ``LONGEST_MS``; where a clock jumped they are not."""
    return bool(_is_time(given).all())


def times(given: float | FloatArray, otherwise: float | FloatArray) -> FloatArray:
    """Times, and ``otherwise`` where something is none."""
    known: FloatArray = np.where(_is_time(given), given, otherwise)
    return known


def _is_time(given: float | FloatArray) -> BoolArray:
    """Which are times; NaN is none."""
    value = np.asarray(given)
    return (value >= 0) & (value <= LONGEST_MS)


def _draft_ms(
    cycle: Cycle,
    drafter: IntArray,
    drafted: IntArray,
    catch_up: BoolArray,
    context_tokens: IntArray,
    lockstep: bool,
) -> FloatArray:
    """Time of drafting, ``[B]``; in lockstep every row waits for all drafters in turn.

    A drafter that catches up reads in one step, which costs what drafting one token does.
    """
    total = np.zeros(drafted.size)
    for i, name in enumerate(cycle.drafters):
        own = np.where(drafter == i, drafted, catch_up[:, i])
        if own.any():
            widest = np.full_like(own, own.max()) if lockstep else own
            costs = cycle.costs.of_drafter(name)
            total += costs.draft_ms(widest, cycle.batch_size, context_tokens)
    return total


def _per_row(time_ms: float | FloatArray, rows: int) -> FloatArray:
    return time_ms if isinstance(time_ms, np.ndarray) else np.full(rows, time_ms, np.float64)
