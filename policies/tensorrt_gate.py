"""tau = a table by batch size, until the mean of accepted / drafted is too low: then 0 for good.

Source: TensorRT-LLM's ``draft_len_schedule`` ({largest batch: K}, 0 above the largest) and
``SpeculationGate``. In its documentation of 1.3.0rc29 the gate keeps accepted / drafted tokens of
the last ``acceptance_rate_window_size`` iterations that speculated, and once that many are there
and their mean is below ``acceptance_rate_threshold``, speculation is disabled permanently. Earlier
versions judged accepted tokens per iteration over the last completed requests instead; a policy is
not told when a request ends, so that form is not here.

The table defaults to the lengths of its automatic choice for n-gram drafters: 5 up to batch 4, 3
up to 32, none above. The gate is off by default there and has no default values: a window of 100
and a share of 0.1 stand in.

Signals: batch size, accepted counts. Weakness: no costs; one bad stretch ends drafting for all
that comes after, for there is no way back.
"""

import bisect
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._by_batch import require_table
from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, Policy, State

_MOST_ITERATIONS = 10_000


class Gate(NamedTuple):
    """What the gate remembers.

    Attributes:
      rates: ``[window]`` accepted / drafted of the latest iterations, a ring.
      iterations: ``[1]`` iterations that drafted so far.
      closed: ``[1]`` whether drafting has ended for good.
    """

    rates: FloatArray
    iterations: IntArray
    closed: BoolArray


@dataclass(frozen=True)
class TensorrtGate(Policy[Empty, Gate]):
    """TensorRT-LLM's table by batch size, with its gate that ends drafting for good.

    Attributes:
      batch_sizes: largest batch of each row of the table, increasing; larger ones draft nothing.
      taus: draft length of each row, 0 to 1024.
      window: iterations judged together, 1 to 10000.
      threshold: mean share of accepted tokens below which drafting ends, in [0, 1].
    """

    batch_sizes: tuple[int, ...] = (4, 32)
    taus: tuple[int, ...] = (5, 3)
    window: int = 100
    threshold: float = 0.1

    learns = "across sequences"

    def __post_init__(self) -> None:
        require_table("tensorrt-gate", self.batch_sizes, self.taus)
        if not 1 <= self.window <= _MOST_ITERATIONS:
            raise PolicySpecError(
                f"tensorrt-gate: window = {self.window}; it must be in 1..{_MOST_ITERATIONS}"
            )
        if not 0 <= self.threshold <= 1:
            raise PolicySpecError(
                f"tensorrt-gate: threshold = {self.threshold}; it must be in [0, 1]"
            )

    def init(self, num_sequences: int, seed: int) -> State[Empty, Gate]:
        gate = Gate(np.zeros(self.window), np.zeros(1, np.int64), np.zeros(1, np.bool_))
        return State(Empty(), gate)

    def decide(self, state: State[Empty, Gate], cycle: Cycle) -> Decision:
        row = bisect.bisect_left(self.batch_sizes, cycle.batch_size)
        open_ = row < len(self.taus) and not state.shared.closed[0]
        return Decision(cycle.clip(np.full(cycle.max_tau.shape, self.taus[row] if open_ else 0)))

    def update(self, state: State[Empty, Gate], outcome: Outcome) -> State[Empty, Gate]:
        drafted = outcome.num_draft_tokens.sum()
        if drafted == 0:
            return state
        rates, iterations, closed = state.shared
        rates = rates.copy()
        rates[iterations[0] % self.window] = outcome.num_accepted_tokens.sum() / drafted
        iterations = iterations + 1
        low = (iterations >= self.window) & (rates.mean() < self.threshold)
        return State(Empty(), Gate(rates, iterations, closed | low))
