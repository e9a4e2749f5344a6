"""Costs as they would be on a system whose drafter, or whose verification, is fast enough."""

from dataclasses import dataclass

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.costs import CostModel


@dataclass(frozen=True)
class InBatch(CostModel):
    """Costs in a batch of so many, whatever the batch in which something is replayed.

    Requests are then replayed each alone, as one of ``batch_size`` like it, none of which has to
    wait for another.
    """

    costs: CostModel
    batch_size: int

    @property
    def plain_ms(self) -> float:
        return float(self.verify_ms(np.zeros(1, np.int64), 1, np.ones(1, np.int64))[0])

    @property
    def time_unit(self) -> str:
        return self.costs.time_unit

    def draft_ms(self, tau: IntArray, batch_size: int, context_tokens: IntArray) -> FloatArray:
        return self.costs.draft_ms(tau, self.batch_size, context_tokens)

    def verify_ms(self, tau: IntArray, batch_size: int, context_tokens: IntArray) -> FloatArray:
        return self.costs.verify_ms(tau, self.batch_size, context_tokens)

    def table(self, max_draft_tokens: int, batch_size: int, context_tokens: IntArray) -> FloatArray:
        return self.costs.table(max_draft_tokens, self.batch_size, context_tokens)

    def of_drafter(self, name: str) -> "InBatch":
        return InBatch(self.costs.of_drafter(name), self.batch_size)

    def __str__(self) -> str:
        return f"{self.costs}, batch of {self.batch_size}"


@dataclass(frozen=True)
class Limited(CostModel):
    """Costs at which a token costs no more than some share of a plain pass of the same batch.

    Attributes:
      costs: as they are.
      draft: most that a drafted token may cost, in plain passes; ``verify``: a verified one.
    """

    costs: CostModel
    draft: float = np.inf
    verify: float = np.inf

    @property
    def plain_ms(self) -> float:
        return self.costs.plain_ms

    def draft_ms(self, tau: IntArray, batch_size: int, context_tokens: IntArray) -> FloatArray:
        as_is = self.costs.draft_ms(tau, batch_size, context_tokens)
        if np.isinf(self.draft):
            return as_is
        return np.minimum(as_is, self.draft * tau * self._plain_ms(batch_size, context_tokens))

    def verify_ms(self, tau: IntArray, batch_size: int, context_tokens: IntArray) -> FloatArray:
        as_is = self.costs.verify_ms(tau, batch_size, context_tokens)
        if np.isinf(self.verify):
            return as_is
        return np.minimum(
            as_is, (1.0 + self.verify * tau) * self._plain_ms(batch_size, context_tokens)
        )

    def table(self, max_draft_tokens: int, batch_size: int, context_tokens: IntArray) -> FloatArray:
        columns = [
            self.draft_ms(tau, batch_size, context_tokens)
            + self.verify_ms(tau, batch_size, context_tokens)
            for tau in (np.full_like(context_tokens, k) for k in range(max_draft_tokens + 1))
        ]
        return np.stack(columns, axis=1)

    def of_drafter(self, name: str) -> "Limited":
        return Limited(self.costs.of_drafter(name), self.draft, self.verify)

    def _plain_ms(self, batch_size: int, context_tokens: IntArray) -> FloatArray:
        return self.costs.verify_ms(np.zeros_like(context_tokens), batch_size, context_tokens)
