"""What came of the requests that a policy drove."""

import math
from dataclasses import dataclass, field

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.constraints import Ledger
from adaptive_spec.decoding.requests import CycleRecord, FinishReason


@dataclass(frozen=True)
class Statistics:
    """Sums over all requests of a run so far.

    Attributes:
      requests: requests that finished; ``finish_reasons``: how many by which reason.
      failed: requests that an exception ended; their cycles count, they themselves don't.
      passes: forward passes of the verifier, each with its cycle.
      fallback_passes: those of them that had no draft to verify.
      drafted, accepted, emitted: tokens.
      drafted_by_position, accepted_by_position: ``[K]`` drafted tokens by their place in the draft.
      known_agreement: emitted tokens of which drafting showed whether the drafter agreed.
      draft_ms: time of drafting; ``verify_ms``: of the rest of each cycle.
      prefill_ms: time of reading prompts, as far as it can be told from that of first cycles.
      policy_ms: time that the policy took to decide and to learn.
      ledger: what finished requests took, as the promises have it.
      policy_failed: whether the policy failed, so that drafts have a static length since.
    """

    requests: int
    finish_reasons: dict[FinishReason, int]
    failed: int
    passes: int
    fallback_passes: int
    drafted: int
    accepted: int
    emitted: int
    drafted_by_position: IntArray
    accepted_by_position: IntArray
    known_agreement: int
    draft_ms: float
    verify_ms: float
    prefill_ms: float
    policy_ms: float
    ledger: Ledger
    policy_failed: bool

    @property
    def mean_acceptance_length(self) -> float:
        """Tokens per verifier pass; NaN before the first."""
        return self.emitted / self.passes if self.passes else math.nan

    @property
    def acceptance_rate(self) -> float:
        """Drafted tokens that were accepted, as a share; NaN where none was drafted."""
        return self.accepted / self.drafted if self.drafted else math.nan


@dataclass
class Tally:
    """Sums as they grow."""

    max_draft_tokens: int
    finish_reasons: dict[FinishReason, int] = field(default_factory=dict)
    failed: int = 0
    passes: int = 0
    fallback_passes: int = 0
    emitted: int = 0
    known_agreement: int = 0
    draft_ms: float = 0.0
    verify_ms: float = 0.0
    prefill_ms: float = 0.0
    policy_ms: float = 0.0
    _drafted: IntArray = field(init=False)
    _accepted: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self._drafted, self._accepted = np.zeros((2, self.max_draft_tokens), np.int64)

    def add(self, cycle: CycleRecord) -> None:
        """A cycle."""
        self.passes += 1
        self.fallback_passes += cycle.num_draft_tokens == 0
        self.emitted += cycle.num_emitted_tokens
        self.known_agreement += sum(bit >= 0 for bit in cycle.agreement)
        self.draft_ms += cycle.draft_ms
        self.verify_ms += cycle.verify_ms
        self._drafted[: cycle.num_draft_tokens] += 1
        self._accepted[: cycle.num_accepted_tokens] += 1

    def end(self, reason: FinishReason | None) -> None:
        """A request that finished, or failed (None)."""
        if reason is None:
            self.failed += 1
        else:
            self.finish_reasons[reason] = self.finish_reasons.get(reason, 0) + 1

    def statistics(self, ledger: Ledger, *, policy_failed: bool) -> Statistics:
        """The sums as they stand."""
        return Statistics(
            requests=sum(self.finish_reasons.values()),
            finish_reasons=dict(self.finish_reasons),
            failed=self.failed,
            passes=self.passes,
            fallback_passes=self.fallback_passes,
            drafted=int(self._drafted.sum()),
            accepted=int(self._accepted.sum()),
            emitted=self.emitted,
            drafted_by_position=self._drafted.copy(),
            accepted_by_position=self._accepted.copy(),
            known_agreement=self.known_agreement,
            draft_ms=self.draft_ms,
            verify_ms=self.verify_ms,
            prefill_ms=self.prefill_ms,
            policy_ms=self.policy_ms,
            ledger=ledger,
            policy_failed=policy_failed,
        )
