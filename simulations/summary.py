"""Totals of a replay, and the figures that people compare."""

import math
from typing import NamedTuple

from adaptive_spec._shares import DrafterShare
from adaptive_spec.simulations.hindsight import Optimum
from adaptive_spec.simulations.simulator import DrafterShares, Replay


class Summary(NamedTuple):
    """Totals over the sequences of a trace.

    Attributes:
      policy: spec of the policy, or what else was run.
      sequences: requests that took a pass; ``tokens``: emitted; ``cycles``: one verifier pass each.
      num_draft_tokens, num_accepted_tokens: drafted, and of these emitted.
      time_ms: time of all cycles, each sequence decoded alone.
      drafters: what each of them contributed, in default order.
    """

    policy: str
    sequences: int
    tokens: int
    cycles: int
    num_draft_tokens: int
    num_accepted_tokens: int
    time_ms: float
    drafters: tuple[DrafterShare, ...] = ()

    @staticmethod
    def of(policy: str, result: Replay | Optimum) -> "Summary":
        """Sums a replay, over the sequences that it ran."""
        return Summary(
            policy,
            int((result.cycles > 0).sum()),
            int(result.tokens.sum()),
            int(result.cycles.sum()),
            int(result.num_draft_tokens.sum()),
            int(result.num_accepted_tokens.sum()),
            float(result.time_ms.sum()),
            _drafter_shares(result.shares),
        )

    @property
    def tokens_per_cycle(self) -> float:
        """Mean emitted tokens of a verifier pass, >= 1; NaN where there was none."""
        return self.tokens / self.cycles if self.cycles else math.nan

    @property
    def passes_per_request(self) -> float:
        """Mean verifier passes of a request that took any; NaN where none did."""
        return self.cycles / self.sequences if self.sequences else math.nan

    @property
    def acceptance_rate(self) -> float:
        """Accepted over drafted tokens; NaN where nothing was drafted."""
        return (
            self.num_accepted_tokens / self.num_draft_tokens if self.num_draft_tokens else math.nan
        )

    @property
    def wasted_draft_tokens(self) -> int:
        """Drafted tokens that were not emitted."""
        return self.num_draft_tokens - self.num_accepted_tokens

    @property
    def tokens_per_ms(self) -> float:
        """Speed; NaN where no cycle was run."""
        return self.tokens / self.time_ms if self.time_ms else math.nan

    def as_dict(self) -> dict[str, object]:
        """The figures under the names of the JSON output; not-a-number becomes None."""
        return {
            "policy": self.policy,
            "time": self.time_ms,
            "tokens": self.tokens,
            "cycles": self.cycles,
            "tokens_per_cycle": _known(self.tokens_per_cycle),
            "passes_per_request": _known(self.passes_per_request),
            "acceptance_rate": _known(self.acceptance_rate),
            "num_draft_tokens": self.num_draft_tokens,
            "wasted_draft_tokens": self.wasted_draft_tokens,
            "drafters": [drafter._asdict() for drafter in self.drafters],
        }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _drafter_shares(shares: DrafterShares) -> tuple[DrafterShare, ...]:
    columns = (column.sum(axis=0).tolist() for column in shares[1:])
    return tuple(DrafterShare(*values) for values in zip(shares.names, *columns, strict=True))
