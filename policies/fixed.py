"""tau = constant: the baseline that every adaptive rule has to beat.

The best constant, chosen on other prompts, is the bar (Leviathan, Kalman, Matias 2023, eq. 1 gives
the optimum for a known constant acceptance). It sees nothing, so it pays for drafts that are always
refused; with ``fallback`` it stops drafting while its own tau does not pay, on the evidence of the
same censoring-aware acceptance estimate that ``ewma`` uses.
"""

import functools
from dataclasses import dataclass

import numpy as np

from adaptive_spec.compiled_replay import CompiledReplay
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._acceptance import Acceptance, expected_tokens
from adaptive_spec.policies._compiled import replay_kernels
from adaptive_spec.policy import MAX_TAU, Cycle, Decision, Empty, Outcome, Policy, State


@dataclass(frozen=True)
class Fixed(Policy[Acceptance, Empty]):
    """The same number of draft tokens in every cycle; 0 is plain decoding.

    Attributes:
      tau: tokens to draft, 0 to 1024; capped by what a cycle allows.
      fallback: stop drafting while ``tau`` does not pay, and probe now and then for the way back.
    """

    tau: int = 3
    fallback: bool = False

    learns = "nothing (fallback=true: per sequence)"

    def __post_init__(self) -> None:
        if not 0 <= self.tau <= MAX_TAU:
            raise PolicySpecError(
                f"fixed: tau = {self.tau}; allowed are 0 (no drafting) to {MAX_TAU}"
            )

    def init(self, num_sequences: int, seed: int) -> State[Acceptance, Empty]:
        # Without fallback there is nothing to learn, so the state keeps no rows to gather.
        rows = Acceptance.fresh(num_sequences) if self.fallback else Empty()
        return State(rows, Empty())  # type: ignore[arg-type]

    def decide(self, state: State[Acceptance, Empty], cycle: Cycle) -> Decision:
        tau = np.full(cycle.max_tau.shape, self.tau, np.int64)
        if self.fallback and self.tau > 0:
            reach = np.minimum(self.tau, cycle.max_draft_tokens)
            priced = cycle.priced_ms()
            gain = expected_tokens(state.rows.rate, reach) / priced[:, reach]
            probe = np.minimum(state.rows.probe(), self.tau)
            tau = np.where(gain >= 1.0 / priced[:, 0], tau, probe)
        return Decision(cycle.clip(tau))

    def update(self, state: State[Acceptance, Empty], outcome: Outcome) -> State[Acceptance, Empty]:
        return State(state.rows.learn(outcome), Empty()) if self.fallback else state

    def compiled_replay(self, drafters: int) -> CompiledReplay | None:
        fast = replay_kernels()
        if fast is None or self.fallback:
            return None
        return functools.partial(fast.replay_fixed, tau=self.tau)
