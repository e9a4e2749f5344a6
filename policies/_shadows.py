"""Shadow replay: what other policies would have done with the text that is already there.

The output does not depend on tau, and it is known of every recent position how a draft from there
would have fared (``Outcome.runs``): so the text is a trace, on which any policy can be replayed as
it grows, each from where it had got to. What a policy gains is counted in tokens, the worth of its
time (``rate`` tokens per priced millisecond) taken off.

Static draft lengths are replayed all at once. Other policies take turns, one cycle for every row at
a time, so that many of them cost what one does; one that has fallen too far behind goes on from the
newest text that is settled.
"""

from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.policies._compiled import kernels
from adaptive_spec.policy import NO_DRAFTER, Cycle, Decision, Outcome, Policy, State
from adaptive_spec.runs import Runs
from adaptive_spec.state import put_rows, take_outcome, take_rows


class Text(NamedTuple):
    """What is known of the text behind each row, for the default drafter of each position.

    Attributes:
      end: ``[B]`` positions settled.
      first: ``[B]`` output position of the first column.
      length: ``[B, W]`` run length, as far as it is known; 0 where nothing would be proposed.
      ended: ``[B, W]`` whether that is all of it.
      drafter: ``[B, W]`` who would have drafted.
    """

    end: IntArray
    first: IntArray
    length: IntArray
    ended: BoolArray
    drafter: IntArray

    @classmethod
    def of(cls, runs: Runs) -> "Text":
        """The text up to where all drafters know it."""
        first = runs.position[:, 0]
        if runs.length.shape[1] == 1:
            length, proposes, ended = runs.length[:, 0], runs.proposes[:, 0], runs.ended[:, 0]
            drafter = np.where(proposes, 0, NO_DRAFTER)
        else:
            who = runs.proposes.argmax(axis=1)
            proposes = np.take_along_axis(runs.proposes, who[:, None], 1)[:, 0]
            drafter = np.where(proposes, who, NO_DRAFTER)
            length = np.take_along_axis(runs.length, who[:, None], 1)[:, 0]
            ended = np.take_along_axis(runs.ended, who[:, None], 1)[:, 0]
        end = runs.known.min(axis=1)
        return cls(end, first, np.where(proposes, length, 0), ended | ~proposes, drafter)

    def at(self, position: IntArray, tau: IntArray) -> "Fared":
        """How drafts of ``tau`` tokens at these positions would have fared, ``[B, ...]``."""
        row = np.arange(self.end.size).reshape(-1, *(1,) * (position.ndim - 1))
        column = np.clip(position - self.first.reshape(row.shape), 0, self.length.shape[1] - 1)
        length, ended = self.length[row, column], self.ended[row, column]
        accepted = np.minimum(length, tau)
        settled = (ended | (length >= tau)) & (position + accepted < self.end.reshape(row.shape))
        drafter = self.drafter[row, column]
        return Fared(np.where(drafter == NO_DRAFTER, 0, tau), accepted, settled, drafter)


class Fared(NamedTuple):
    """How drafts fared; tokens drafted and accepted, whether that is settled, and who drafted."""

    drafted: IntArray
    accepted: IntArray
    settled: BoolArray
    drafter: IntArray


def fared(runs: Runs, position: IntArray, tau: IntArray) -> Fared:
    """How drafts of ``tau`` tokens at these positions would have fared, ``[B]`` each."""
    fast = kernels()
    return (
        Text.of(runs).at(position, tau)
        if fast is None
        else Fared(*fast.fared(*runs, position, tau))
    )


def replay_static(
    runs: Runs, position: IntArray, static: int, priced_ms: FloatArray, rate: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Static tau = 0, 1 ... go on along the text as far as it is settled.

    Those above K are as K. A shadow that has fallen out of the window, whosever it is, goes on from
    where that begins.

    Args:
      runs: what is known.
      position: ``[B, E]`` where each shadow had got to.
      static: the first so many of them are static tau.
      priced_ms: ``[B or 1, K + 1]`` priced time of each tau.
      rate: ``[B]`` tokens that a millisecond is worth.

    Returns:
      Where each is now, and what it gained in tokens, both ``[B, E]``.
    """
    fast = kernels()
    if fast is not None:
        position = position.copy()
        return position, fast.advance_static(*runs, position, static, priced_ms, rate)
    text = Text.of(runs)
    price = rate[:, None] * priced_ms
    tau = np.minimum(np.arange(static), priced_ms.shape[1] - 1)
    row = np.arange(position.shape[0])[:, None]
    position = np.maximum(position, np.minimum(text.first, text.end)[:, None])
    gain = np.zeros(position.shape)
    while True:
        fared = text.at(position[:, :static], tau)
        if not fared.settled.any():
            return position, gain
        emitted = np.where(fared.settled, fared.accepted + 1, 0)
        gain[:, :static] += emitted - fared.settled * price[row, fared.drafted]
        position[:, :static] += emitted


def replay_one(
    policy: Policy[Any, Any],
    state: State[Any, Any],
    runs: Runs,
    position: IntArray,
    cycle: Cycle,
    rate: FloatArray,
) -> tuple[State[Any, Any], IntArray, FloatArray]:
    """Another policy goes on by a cycle, in every row where that is settled.

    Args:
      policy: who decides.
      state: its own, of the same rows.
      runs: what is known.
      position: ``[B]`` where it had got to.
      cycle: the driver's, of the same rows.
      rate: ``[B]`` tokens that a millisecond is worth.

    Returns:
      Its state, where it is now, and what it gained in tokens.
    """
    left = cycle.remaining_tokens + cycle.emitted_tokens - position
    shown = cycle._replace(
        emitted_tokens=position,
        remaining_tokens=left,
        min_tau=np.zeros(position.size, np.int64),
        max_tau=np.minimum(np.maximum(left - 1, 0), cycle.max_draft_tokens),
        available=fared(runs, position, left).drafter[:, None] == np.arange(len(cycle.drafters)),
        behind_tokens=np.zeros(cycle.behind_tokens.shape, np.int64),
    )
    decision = policy.decide(state, shown)
    drafted, accepted, settled, drafter = fared(runs, position, decision.tau)
    at = drafted, cycle.batch_size, cycle.prompt_tokens + position
    outcome = Outcome(
        shown,
        Decision(decision.tau, decision.memo),
        decision.tau,
        np.where(drafted > 0, drafter, NO_DRAFTER),
        drafted,
        accepted,
        accepted + 1,
        cycle.costs.draft_ms(*at),
        cycle.costs.verify_ms(*at),
    )
    done = np.flatnonzero(settled)
    gain = np.zeros(position.size)
    if done.size == position.size:
        state = policy.update(state, outcome)
        gain = outcome.num_emitted_tokens - rate * (outcome.cycle_ms + cycle.pass_price_ms)
    elif done.size:
        some = take_outcome(outcome, done)
        updated = policy.update(State(take_rows(state.rows, done), state.shared), some)
        state = State(put_rows(state.rows, done, updated.rows), updated.shared)
        spent = some.cycle_ms + some.cycle.pass_price_ms
        gain[done] = some.num_emitted_tokens - rate[done] * spent
    return state, position + settled * (accepted + 1), gain
