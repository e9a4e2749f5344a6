"""tau = the tested length of most utility for 16 cycles, then test again; 0 if utility < 1.

Source: Cascade, Saxena et al. 2025 (arXiv 2506.20675), per request. The utility of a draft length K
is ``U(K) = tokens per cycle / (time of a cycle / time of a plain one)``: what K gains over plain
decoding. In a *test* phase up to four lengths are run for 4 cycles each; if the first one's utility
is below 1, the test ends and drafting is off. In the *set* phase that follows, the best length runs
for 16 cycles. Then it is tested again. While drafting stays off, set phases grow.

Signals: emitted tokens and the times of whole cycles (measured when live, the cost model's in
replay). Weakness: every test pays for the poor lengths; four cycles are few (the share accepted in
them is a coarse number), and what one length shows of the others is thrown away.

Departures: the lengths to test are not known to us, 1, 2, 4, 8 stand in (1 comes first: where no
single token pays, none of a constant acceptance does, Leviathan et al. 2023); nor is the back-off:
each set phase without drafting is twice as long as the one before, up to 128 cycles. The time of a
plain cycle is the cost model's, and the price of a pass is added to all times.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._by_batch import require_taus
from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, Policy, State

_SETTLED = -1
"""In place of a test's arm: the cycle ran in a set phase."""


class Phase(NamedTuple):
    """Where each sequence stands; ``M`` lengths are tested.

    Attributes:
      testing: ``[B]`` whether it is in a test phase.
      cycles: ``[B]`` cycles of the phase seen so far.
      tokens: ``[B, M]`` tokens emitted in the test of each length.
      time: ``[B, M]`` time that took, in plain cycles.
      tau: ``[B]`` length of the set phase; 0 is off.
      pause: ``[B]`` cycles of the next set phase without drafting.
    """

    testing: BoolArray
    cycles: IntArray
    tokens: FloatArray
    time: FloatArray
    tau: IntArray
    pause: IntArray


class Trial(NamedTuple):
    """Which length the cycle tested, ``[B]``: index into ``taus``, -1 in a set phase."""

    arm: IntArray


@dataclass(frozen=True)
class Cascade(Policy[Phase, Empty]):
    """Cascade: tests a few draft lengths, keeps the one of most utility for a while, or none.

    Attributes:
      taus: lengths to test, in this order, 1 to 4 of them, 1 to 1024 each.
      test_cycles: cycles for which each is tested, >= 1.
      set_cycles: cycles of a set phase, >= 1.
      longest_pause: most cycles of a set phase without drafting, >= ``set_cycles``.
    """

    taus: tuple[int, ...] = (1, 2, 4, 8)
    test_cycles: int = 4
    set_cycles: int = 16
    longest_pause: int = 128

    learns = "per sequence"
    heeds_prices = True

    def __post_init__(self) -> None:
        require_taus("cascade", "taus", self.taus, least=1)
        if len(self.taus) > 4:
            raise PolicySpecError(f"cascade: taus = {self.taus}; at most 4 lengths are tested")
        for name in ("test_cycles", "set_cycles"):
            if getattr(self, name) < 1:
                raise PolicySpecError(
                    f"cascade: {name} = {getattr(self, name)}; it must be at least 1"
                )
        if self.longest_pause < self.set_cycles:
            raise PolicySpecError(
                f"cascade: longest_pause = {self.longest_pause}; it must be at least "
                f"set_cycles = {self.set_cycles}"
            )

    def init(self, num_sequences: int, seed: int) -> State[Phase, Empty]:
        none = np.zeros(num_sequences, np.int64)
        sums = np.zeros((num_sequences, len(self.taus)))
        testing = np.ones(num_sequences, np.bool_)
        return State(Phase(testing, none, sums, sums, none, none + self.set_cycles), Empty())

    def decide(self, state: State[Phase, Empty], cycle: Cycle) -> Decision:
        phase = state.rows
        arm = np.minimum(phase.cycles // self.test_cycles, len(self.taus) - 1)
        tau = np.where(phase.testing, np.asarray(self.taus)[arm], phase.tau)
        return Decision(cycle.clip(tau), Trial(np.where(phase.testing, arm, _SETTLED)))

    def update(self, state: State[Phase, Empty], outcome: Outcome) -> State[Phase, Empty]:
        phase = state.rows
        arm = outcome.decision.memo.arm
        # A late outcome of the phase before does not count for this one.
        counts = phase.testing == (arm != _SETTLED)
        credit = (phase.testing & counts)[:, None] & (arm[:, None] == np.arange(len(self.taus)))
        tokens = phase.tokens + credit * outcome.num_emitted_tokens[:, None]
        time = phase.time + credit * _plain_cycles(outcome)[:, None]
        cycles = phase.cycles + counts

        utility = tokens / np.maximum(time, 1e-9)
        hopeless = (cycles == self.test_cycles) & (utility[:, 0] < 1)
        all_tested = cycles >= self.test_cycles * len(self.taus)
        tested = phase.testing & (hopeless | all_tested)
        best = utility.argmax(axis=1)
        worth = utility[np.arange(best.size), best] >= 1
        chosen = np.where(worth & ~hopeless, np.asarray(self.taus)[best], 0)

        off = ~phase.testing & (phase.tau == 0)
        over = ~phase.testing & (cycles >= np.where(off, phase.pause, self.set_cycles))
        longer = np.minimum(2 * phase.pause, self.longest_pause)
        pause = np.where(over & off, longer, phase.pause)
        pause = np.where(tested & (chosen > 0), self.set_cycles, pause)

        again = tested | over
        running = ~again[:, None]
        return State(
            Phase(
                (phase.testing & ~tested) | over,
                np.where(again, 0, cycles),
                tokens * running,
                time * running,
                np.where(tested, chosen, phase.tau),
                pause,
            ),
            Empty(),
        )


def _plain_cycles(outcome: Outcome) -> FloatArray:
    """Priced time of each cycle, over that of a plain one, ``[B]``."""
    price = outcome.cycle.pass_price_ms
    plain = outcome.cycle.priced_ms()[:, 0]
    relative: FloatArray = (outcome.cycle_ms + price) / plain
    return relative
