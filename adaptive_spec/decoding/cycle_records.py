"""The record of one cycle of one sequence, made once its tokens are verified."""

from adaptive_spec.controller import Plan
from adaptive_spec.decoding.draft import Draft
from adaptive_spec.decoding.drafters.base import empty_signals
from adaptive_spec.decoding.requests import CycleRecord
from adaptive_spec.policy import UNKNOWN_AGREEMENT, DraftSignals


def cycle_record(
    i: int,
    plan: Plan,
    draft: Draft,
    num_accepted_tokens: int,
    num_emitted_tokens: int,
    *,
    times_ms: tuple[float, float],
    with_signals: bool,
) -> CycleRecord:
    """The record of the ``i``-th row of a cycle.

    Args:
      i: the row's place in the plan and the draft.
      plan: what was planned.
      draft: what was drafted.
      num_accepted_tokens: drafted tokens that were emitted.
      num_emitted_tokens: tokens emitted in all.
      times_ms: of drafting and of the pass.
      with_signals: whether to keep what the draft said of its tokens.
    """
    drafted = len(draft.token_ids[i])
    next_bit = 0 if num_accepted_tokens < drafted else UNKNOWN_AGREEMENT
    missing = num_emitted_tokens - num_accepted_tokens
    position = int(plan.cycle.emitted_tokens[i])
    signals = None
    if with_signals:
        known = draft.signals or empty_signals(len(draft.token_ids), 0)
        signals = DraftSignals(*(array[i, :drafted].copy() for array in known))
    return CycleRecord(
        position=position,
        tau=int(plan.tau[i]),
        num_draft_tokens=drafted,
        num_accepted_tokens=num_accepted_tokens,
        num_emitted_tokens=num_emitted_tokens,
        agreement=(1,) * num_accepted_tokens + (next_bit,) * missing,
        signals=signals,
        draft_ms=times_ms[0],
        verify_ms=times_ms[1],
        context_tokens=int(plan.cycle.prompt_tokens[i]) + position,
        batch_size=plan.rows.size,
        drafter=plan.cycle.drafters[plan.drafter[i]] if drafted else None,
    )
