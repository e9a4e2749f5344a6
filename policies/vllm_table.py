"""tau = the entry of a table by batch size: vLLM's dynamic speculative decoding.

Source: ``num_speculative_tokens_per_batch_size`` of vLLM 0.32, rows ``[first, last, K]`` with
inclusive bounds, the first beginning at 1. Gaps between rows and batches beyond the last carry the
K before them, so that the first batch sizes alone define the table; these are the fields here.
vLLM has no default; ours is the example of its documentation for an EAGLE drafter,
``[1, 64, 3], [65, 128, 1], [129, 512, 0]``.

Signals: the batch size. Weakness: no acceptance, no costs but those that the table's author had in
mind, no hysteresis: a load that crosses a bound to and fro switches every time.

Departures: vLLM counts every request scheduled in the step, prompts being read among them, and the
K of a step holds for the drafts made in it, verified one step later; here the batch is the
sequences that share the coming verifier pass.
"""

import bisect
from dataclasses import dataclass

import numpy as np

from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._by_batch import require_table
from adaptive_spec.policy import Cycle, Decision, Empty, Outcome, Policy, State


@dataclass(frozen=True)
class VllmTable(Policy[Empty, Empty]):
    """vLLM's table: the draft length that the batch size asks for.

    Attributes:
      batch_sizes: where the table's rows begin, increasing, the first at 1.
      taus: draft length from there on, 0 to 1024 each; 0 is plain decoding.
    """

    batch_sizes: tuple[int, ...] = (1, 65, 129)
    taus: tuple[int, ...] = (3, 1, 0)

    def __post_init__(self) -> None:
        require_table("vllm-table", self.batch_sizes, self.taus)
        if self.batch_sizes[0] != 1:
            raise PolicySpecError(
                f"vllm-table: batch_sizes = {self.batch_sizes}; the first row must begin at 1"
            )

    def init(self, num_sequences: int, seed: int) -> State[Empty, Empty]:
        return State(Empty(), Empty())

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        row = bisect.bisect_right(self.batch_sizes, cycle.batch_size) - 1
        return Decision(cycle.clip(np.full(cycle.max_tau.shape, self.taus[max(row, 0)])))

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        return state
