"""Another policy in the shadow: it decides on every cycle, learns, and changes nothing.

It is asked at the positions where the policy in charge is, and told of each cycle what would have
come of *its* decision, as far as that is known:

- a shorter draft would have had the same tokens accepted, up to its end;
- a longer one too, where a token was refused, or the drafter had nothing more to propose;
- any other, where the text shows it (``Outcome.runs``, if the policy in charge looks back).

What is left, a longer draft where all that was drafted was accepted, or one of another drafter, is
not known: the shadow is told what was drafted, and the estimate of its speed is given between what
the unknown tokens bring at least and at most. Times are the cost model's, as much slower or faster
as the cycle itself was. The estimate is of single cycles at places that the policy in charge comes
to; going its own way, the shadow would come to others. One that looks inside drafts is asked when
the outcome is in, of the signals that the policy in charge was shown.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec._rows import Counters
from adaptive_spec.answers import checked_decision, require_state, who_catches_up
from adaptive_spec.controller import Controller
from adaptive_spec.cycle_times import cycle_times
from adaptive_spec.hints import Hints
from adaptive_spec.observers import Admitted, Observer
from adaptive_spec.policy import (
    NO_DRAFTER,
    Cycle,
    Decision,
    DraftSignals,
    Outcome,
    Policy,
    State,
)
from adaptive_spec.registry import make_policy
from adaptive_spec.state import put_rows, take_decision, take_outcome, take_rows
from adaptive_spec.state import take_cycle as copied_cycle


@dataclass(frozen=True)
class ShadowReport:
    """How a shadow compares with the policy in charge.

    Attributes:
      cycles: of sequences, on which both decided and whose outcome is known.
      same_tau: share of them with the same tau; ``mean_tau``, ``mean_shadow_tau``: of both.
      known: share of them in which it is known what the shadow's draft would have brought.
      speedup_low, speedup_high: tokens per time of the shadow over that of the policy in charge, if
        what is not known went as badly, and as well, as it can.
    """

    cycles: int
    same_tau: float
    mean_tau: float
    mean_shadow_tau: float
    known: float
    speedup_low: float
    speedup_high: float


class _Sums(NamedTuple):
    cycles: float = 0.0
    same: float = 0.0
    tau: float = 0.0
    shadow_tau: float = 0.0
    known: float = 0.0
    tokens: float = 0.0
    ms: float = 0.0
    least_tokens: float = 0.0
    most_tokens: float = 0.0
    shadow_ms: float = 0.0


class _Fate(NamedTuple):
    """What would have come of the shadow's drafts, ``[B]`` each.

    ``least`` and ``most`` accepted tokens are the same where it is ``known``.
    """

    drafted: IntArray
    least: IntArray
    most: IntArray
    known: BoolArray


class Shadow(Observer):
    """Follows a controller with another policy."""

    def __init__(
        self, controller: Controller, policy: str | Policy[Any, Any], *, seed: int = 0
    ) -> None:
        """Watches from now on; sequences that run already are left out.

        Args:
          controller: to be watched.
          policy: the other one, or its spec.
          seed: its randomness.
        """
        self.policy = make_policy(policy)
        self._controller, self._seed = controller, seed
        self._state: State[Any, Any] = self.policy.init(0, seed)
        self._capacity = 0
        # By sequence and cycle: what was decided together, and the row in it.
        self._decided: dict[int, dict[int, tuple[Decision, int]]] = {}
        self._sums = _Sums()
        controller.watch(self)

    def report(self) -> ShadowReport:
        """How it compares so far; NaN before the first cycle."""
        s = self._sums
        cycles = s.cycles or math.nan
        rate = s.tokens / s.ms if s.ms else math.nan
        slow, fast = (
            tokens / s.shadow_ms / rate if s.shadow_ms else math.nan
            for tokens in (s.least_tokens, s.most_tokens)
        )
        return ShadowReport(
            cycles=int(s.cycles),
            same_tau=s.same / cycles,
            mean_tau=s.tau / cycles,
            mean_shadow_tau=s.shadow_tau / cycles,
            known=s.known / cycles,
            speedup_low=slow,
            speedup_high=fast,
        )

    def admitted(self, requests: Admitted) -> None:
        fresh = self.policy.init(1, self._seed).rows
        rows, capacity = self._state.rows, self._controller.capacity
        if capacity > self._capacity:
            grown = take_rows(fresh, np.zeros(capacity, np.int64))
            rows = put_rows(grown, np.arange(self._capacity), rows)
            self._capacity = capacity
        fresh = take_rows(fresh, np.zeros(requests.rows.size, np.int64))
        self._state = self._state._replace(rows=put_rows(rows, requests.rows, fresh))
        self._decided.update((sequence, {}) for sequence in requests.sequence_id.tolist())

    def released(self, rows: IntArray, counters: Counters, finished: bool) -> None:
        for sequence in counters.sequence_id.tolist():
            self._decided.pop(sequence, None)

    def decided(self, rows: IntArray, cycle: Cycle, tau: IntArray, drafter: IntArray) -> None:
        ids = cycle.sequence_id.tolist()
        some = np.flatnonzero([sequence in self._decided for sequence in ids])
        if some.size == 0:
            return
        # Copies: a policy that does not keep its hands off changes nothing but its own.
        shown = self._shown(copied_cycle(cycle, some))
        decision = self.policy.decide(self._state_of(rows[some]), shown)
        checked_decision(self.policy, decision, shown)
        numbers = cycle.cycle_index[some].tolist()
        for i, (row, number) in enumerate(zip(some.tolist(), numbers, strict=True)):
            self._decided[ids[row]][number] = decision, i

    def observed(self, rows: IntArray, outcome: Outcome) -> None:
        keys = zip(
            outcome.cycle.sequence_id.tolist(), outcome.cycle.cycle_index.tolist(), strict=True
        )
        found = [self._decided.get(sequence, {}).pop(number, None) for sequence, number in keys]
        entries = [(i, *entry) for i, entry in enumerate(found) if entry is not None]
        if not entries:
            return
        decision = entries[0][1]  # of all of them: they were decided together
        some, index = (
            np.array(column, np.int64) for column in list(zip(*entries, strict=True))[::2]
        )
        own, part = take_decision(decision, index), take_outcome(outcome, some)
        part = part._replace(cycle=self._shown(part.cycle))
        self._learn(rows[some], own, part)

    def _learn(self, rows: IntArray, decision: Decision, outcome: Outcome) -> None:
        cycle, state = outcome.cycle, self._state_of(rows)
        tau, drafter = checked_decision(self.policy, decision, cycle)
        upto = self._stops(state, decision, outcome, tau)
        fate = self._fate(outcome, upto, drafter)
        told = np.where(fate.known, fate.drafted, np.minimum(fate.least, fate.drafted))
        who = np.where(told > 0, drafter, NO_DRAFTER)
        catch_up = who_catches_up(self.policy, decision, cycle, np.where(tau > 0, drafter, -1))
        times = self._times(outcome, np.where(upto > 0, drafter, NO_DRAFTER), fate, catch_up)
        least = _emitted(outcome, fate.least)
        self._count(outcome, tau, fate, times)
        updated = self.policy.update(
            state,
            outcome._replace(
                decision=decision,
                tau=tau,
                drafter=who,
                num_draft_tokens=told,
                num_accepted_tokens=np.minimum(fate.least, told),
                num_emitted_tokens=least,
                draft_ms=times[0],
                verify_ms=times[1],
                signals=self._signals(outcome, told),
                runs=outcome.runs if self.policy.looks_back else None,
                acceptance_probability=self._chances(outcome, told),
            ),
        )
        require_state(self.policy, "update", updated)
        self._state = State(put_rows(self._state.rows, rows, updated.rows), updated.shared)

    def _stops(
        self, state: State[Any, Any], decision: Decision, outcome: Outcome, tau: IntArray
    ) -> IntArray:
        """Tokens that it would draft, ``[B]``; as far as signals tell, if it looks inside."""
        signals, cycle = outcome.signals, outcome.cycle
        if signals is None or not self.policy.looks_inside_draft:
            return tau
        upto, running = tau.copy(), tau > 0
        for depth in range(1, int(outcome.num_draft_tokens.max(initial=0)) + 1):
            shown = DraftSignals(*(array[:, :depth] for array in signals))
            on = self.policy.keep_drafting(state, cycle, decision, depth, shown)
            stops = running & (depth <= outcome.num_draft_tokens) & (depth < upto)
            stops &= ~(on | (cycle.min_tau > depth))
            upto = np.where(stops, depth, upto)
            running = running & ~stops
        return upto

    def _fate(self, outcome: Outcome, upto: IntArray, drafter: IntArray) -> _Fate:
        """What would have come of drafts of ``upto`` tokens by ``drafter``."""
        drafted, accepted = outcome.num_draft_tokens, outcome.num_accepted_tokens
        wanted = np.where(drafter == NO_DRAFTER, 0, upto)
        # A drafter that had nothing more to propose would have had nothing in a longer draft.
        gave_out = (drafted < outcome.tau) & (accepted == drafted)
        if self._controller.policy.looks_inside_draft:
            gave_out &= drafted == 0
        alone = len(outcome.cycle.drafters) == 1
        same = (outcome.drafter == drafter) | (gave_out & alone)
        ends = outcome.rejected | gave_out
        known = (wanted == 0) | (same & (ends | (wanted <= drafted)))
        proposed = np.where(same & gave_out, np.minimum(wanted, drafted), wanted)
        least = np.where(same, np.minimum(accepted, proposed), 0)
        most = np.where(known, least, proposed)
        if outcome.runs is not None:
            by_text = _by_text(outcome, wanted, drafter)
            known, proposed, least, most = (
                np.where(by_text.known, text, draft)
                for text, draft in (
                    (by_text.known, known),
                    (by_text.drafted, proposed),
                    (by_text.least, least),
                    (by_text.most, most),
                )
            )
        return _Fate(proposed, least, most, known)

    def _times(
        self, outcome: Outcome, drafter: IntArray, fate: _Fate, catch_up: BoolArray
    ) -> tuple[FloatArray, FloatArray]:
        """Time of drafting and of verifying what it would have drafted, ``[B]`` each."""
        policy, lockstep = self._controller.policy, self._controller.lockstep
        reading = who_catches_up(policy, outcome.decision, outcome.cycle, outcome.drafter)
        real = cycle_times(
            outcome.cycle, outcome.drafter, outcome.num_draft_tokens, reading, lockstep=lockstep
        )
        own = cycle_times(outcome.cycle, drafter, fate.drafted, catch_up, lockstep=lockstep)
        slower = outcome.verify_ms / np.maximum(real[1], 1e-9)
        drafting = np.where(real[0] > 0, outcome.draft_ms / np.maximum(real[0], 1e-9), slower)
        return (
            np.where(own[0] == real[0], outcome.draft_ms, own[0] * drafting),
            np.where(own[1] == real[1], outcome.verify_ms, own[1] * slower),
        )

    def _count(
        self, outcome: Outcome, tau: IntArray, fate: _Fate, times: tuple[FloatArray, FloatArray]
    ) -> None:
        once = np.max if self._controller.lockstep else np.sum
        more = _Sums(
            tau.size,
            float((tau == outcome.tau).sum()),
            float(outcome.tau.sum()),
            float(tau.sum()),
            float(fate.known.sum()),
            float(outcome.num_emitted_tokens.sum()),
            float(once(outcome.cycle_ms)),
            float(_emitted(outcome, fate.least).sum()),
            float(_emitted(outcome, fate.most).sum()),
            float(once(times[0] + times[1])),
        )
        self._sums = _Sums(*(a + b for a, b in zip(self._sums, more, strict=True)))

    def _shown(self, cycle: Cycle) -> Cycle:
        """The cycle with the hints that it takes; unknown ones where there are none."""
        if not self.policy.takes_hints:
            return cycle._replace(hints=None)
        return cycle if cycle.hints else cycle._replace(hints=Hints.unknown(*cycle.available.shape))

    def _signals(self, outcome: Outcome, told: IntArray) -> DraftSignals | None:
        signals = outcome.signals
        if signals is None or not self.policy.looks_inside_draft:
            return None
        return DraftSignals(*(_cut(array, told) for array in signals))

    def _chances(self, outcome: Outcome, told: IntArray) -> FloatArray | None:
        chance = outcome.acceptance_probability
        return None if chance is None or not self.policy.looks_back else _cut(chance, told)

    def _state_of(self, rows: IntArray) -> State[Any, Any]:
        return State(take_rows(self._state.rows, rows), self._state.shared)


def _by_text(outcome: Outcome, wanted: IntArray, drafter: IntArray) -> _Fate:
    """What the verified text says of drafts from where the cycle began."""
    runs, row = outcome.runs, np.arange(wanted.size)
    assert runs is not None
    # Where the outcome comes late, the cycle began further on than was known when it was decided.
    column = runs.end - outcome.num_emitted_tokens - runs.position[:, 0]
    there = (column >= 0) & (column < runs.length.shape[2]) & (drafter != NO_DRAFTER)
    at = row, np.maximum(drafter, 0), np.clip(column, 0, runs.length.shape[2] - 1)
    length, proposes = runs.length[at], runs.proposes[at]
    drafted = np.where(proposes, wanted, 0)
    accepted = np.minimum(length, drafted)
    known = there & (runs.ended[at] | (runs.seen[at] & (length >= wanted)))
    return _Fate(drafted, accepted, accepted, known)


def _emitted(outcome: Outcome, accepted: IntArray) -> IntArray:
    """Tokens emitted if so many were accepted; no more than there were, where the text ended."""
    whole = outcome.num_emitted_tokens == outcome.num_accepted_tokens + 1
    most = np.where(whole, outcome.cycle.remaining_tokens, outcome.num_emitted_tokens)
    return np.minimum(accepted + 1, most)


def _cut(array: FloatArray, tokens: IntArray) -> FloatArray:
    """``[B, K]``, NaN beyond so many tokens of each row."""
    return np.where(np.arange(array.shape[1]) < tokens[:, None], array, np.nan)
