"""tau = argmin of ``1 / g + [drafting was off] C / tau``: ms per token, by load, in bins.

Nightjar's ADA-BINGREEDY (Li et al. 2025, arXiv 2512.22420 v3, eq. 4). ``g`` is the mean of tokens
per ms that a tau brought at this load, ``C`` the time to bring a drafter back that missed some of
the text. One tau for the whole batch. For each load (two batch sizes each), cycles are counted in
blocks of 1, 2, 4, ... and a block of ``H`` is cut into bins of ``ceil(sqrt(H))`` cycles; the
``b``-th bin of a block is, with chance ``1 / b``, spent on a tau drawn at random, otherwise on the
best so far; tau is locked within a bin.

``C`` is a table in the paper, of which we know the ends: 17.87 ms for 128 skipped tokens at batch
32, 102.03 ms for 512 at batch 64, where a pass takes some 34 ms. A line through them gives our
defaults: 0.17 passes and 8.6e-5 for every skipped token. Other departures: only a tau that was
tried at this load can be the best so far; ``1 / b`` is the paper's, whose ``O(sqrt T)`` it gives
(the released code has ``1 / sqrt b``); the offloading of the draft model is not a policy's matter.

Signals: batch size, tokens per time of whole cycles. Weakness: no context but the load; each new
load starts from nothing, and one bin in every block is spent at random for ever.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._arms import Tally, priced_cycle_ms, was_played
from adaptive_spec.policy import MAX_TAU, Cycle, Decision, Outcome, Policy, State
from adaptive_spec.randomness import uniform

_LOADS = 128
_BATCH_SIZES_PER_LOAD = 2


class Skipped(NamedTuple):
    """``[B]`` tokens of each sequence that were emitted since a draft for it."""

    tokens: IntArray


class Loads(NamedTuple):
    """What was learned at each of ``G`` loads.

    Attributes:
      tally: of tokens per ms, ``[G, M]`` for tau = 0..M - 1.
      turns: ``[G]`` cycles seen.
      bin_start: ``[G]`` turn at which the bin began that ``bin_tau`` is locked in; -1 for none.
      bin_tau: ``[G]``.
      latest_tau: ``[1]`` tau of the latest cycle at any load.
      seed: ``[1]`` key of the draws.
    """

    tally: Tally
    turns: IntArray
    bin_start: IntArray
    bin_tau: IntArray
    latest_tau: IntArray
    seed: IntArray


class Bin(NamedTuple):
    """What was decided, ``[B]`` each, the same for all rows: tau, and when its bin began."""

    tau: IntArray
    start: IntArray


@dataclass(frozen=True)
class Nightjar(Policy[Skipped, Loads]):
    """Learns the fastest draft length for each batch size, and switches seldom (Nightjar).

    Attributes:
      longest: most tokens to draft, 1 to 1024.
      switch: time to bring the drafter back, in plain verifier passes, 0 to 1000.
      switch_per_token: what each token of the batch that it skipped adds, in plain verifier
        passes, 0 to 1000.
    """

    longest: int = 5
    switch: float = 0.17
    switch_per_token: float = 8.6e-5

    learns = "across sequences"

    def __post_init__(self) -> None:
        if not 1 <= self.longest <= MAX_TAU:
            raise PolicySpecError(f"nightjar: longest = {self.longest}; it must be in 1..{MAX_TAU}")
        for name in ("switch", "switch_per_token"):
            if not 0 <= getattr(self, name) <= 1000:
                raise PolicySpecError(
                    f"nightjar: {name} = {getattr(self, name)}; it must be in 0..1000"
                )

    def init(self, num_sequences: int, seed: int) -> State[Skipped, Loads]:
        loads = Loads(
            Tally.fresh(_LOADS, self.longest + 1),
            turns=np.zeros(_LOADS, np.int64),
            bin_start=np.full(_LOADS, -1, np.int64),
            bin_tau=np.zeros(_LOADS, np.int64),
            latest_tau=np.zeros(1, np.int64),
            seed=np.full(1, seed, np.int64),
        )
        return State(Skipped(np.zeros(num_sequences, np.int64)), loads)

    def decide(self, state: State[Skipped, Loads], cycle: Cycle) -> Decision:
        loads, load = state.shared, _load(cycle)
        start, number = bin_of(int(loads.turns[load]))
        if int(loads.bin_start[load]) == start:
            tau = int(loads.bin_tau[load])
        else:
            key = np.array([load]), np.array([start])
            explore, which = uniform(loads.seed, *key, 2)[0].tolist()
            longest = min(self.longest, cycle.max_draft_tokens)
            if explore < 1.0 / number:
                tau = int(which * (longest + 1))
            else:
                tau = self._best(state, cycle, longest)
        rows = cycle.max_tau.shape
        chosen = Bin(np.full(rows, tau), np.full(rows, start))
        return Decision(cycle.clip(chosen.tau), chosen)

    def update(self, state: State[Skipped, Loads], outcome: Outcome) -> State[Skipped, Loads]:
        chosen: Bin = outcome.decision.memo
        loads, load = state.shared, _load(outcome.cycle)
        tau, turn = int(chosen.tau[0]), int(loads.turns[load])
        turns, latest = loads.turns.copy(), np.full(1, tau)
        turns[load] += 1
        tally, played = loads.tally, was_played(outcome, chosen.tau)
        if played.any():
            rate = outcome.num_emitted_tokens[played] / priced_cycle_ms(outcome)[played]
            tally = Tally(tally.pulls.copy(), tally.rewards.copy())
            tally.pulls[load, tau] += 1.0
            tally.rewards[load, tau] += rate.mean()
        bin_start, bin_tau = loads.bin_start.copy(), loads.bin_tau.copy()
        # An outcome may come so late that its bin is over.
        if bin_of(turn)[0] == chosen.start[0]:
            bin_start[load], bin_tau[load] = chosen.start[0], tau
        drafted = outcome.num_draft_tokens > 0
        skipped = np.where(drafted, 0, state.rows.tokens + outcome.num_emitted_tokens)
        return State(Skipped(skipped), Loads(tally, turns, bin_start, bin_tau, latest, loads.seed))

    def _best(self, state: State[Skipped, Loads], cycle: Cycle, longest: int) -> int:
        """The tau with the least time per token, among those tried at this load."""
        loads, load = state.shared, _load(cycle)
        pulls, rewards = (part[load, : longest + 1] for part in loads.tally)
        some = np.maximum(rewards, 1e-300)
        loss = np.where(pulls > 0, np.minimum(pulls / some, 1e300), math.inf)
        if int(loads.latest_tau[0]) == 0:
            skipped = cycle.batch_size * int(state.rows.tokens.max(initial=0))
            passes = self.switch + self.switch_per_token * skipped
            loss[1:] += passes * cycle.costs.plain_ms / np.arange(1, longest + 1)
        return int(loss.argmin())


def bin_of(turn: int) -> tuple[int, int]:
    """The bin that a turn, counted from 0, falls into: its first turn, and its number from 1."""
    block = 1 << ((turn + 1).bit_length() - 1)
    width = math.isqrt(block - 1) + 1  # the root, rounded up
    number, within = divmod(turn + 1 - block, width)
    return turn - within, number + 1


def _load(cycle: Cycle) -> int:
    """Which load a batch size is: 0 for 1 and 2, 1 for 3 and 4; all beyond 256 are one."""
    return min((cycle.batch_size - 1) // _BATCH_SIZES_PER_LOAD, _LOADS - 1)
