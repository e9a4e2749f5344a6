"""tau = argmax of ``E[N | tau] - rate * time(tau)``, with hazards drawn from what censoring leaves.

``E[N | tau] = 1 + sum over j <= tau of h_1 ... h_j``, where ``h_i`` is the chance that the ``i``-th
draft token is accepted if those before it were. A cycle that drafted ``tau`` tokens and had ``A``
accepted tests the depths 1 to ``min(A + 1, tau)``, and no others: a run length censored at tau
(product-limit estimator: Kaplan and Meier, JASA 1958; the same feedback as in cascading bandits,
Kveton et al., ICML 2015)::

    n_i <- d n_i + 1,  s_i <- d s_i + [i <= A]           at each depth tested
    h_i ~ Beta(a + s_i, b + n_i - s_i)                   a draw for each decision (Thompson 1933)

Drawn is from the normal distribution of the Beta's mean and variance, cut off at 0 and 1: exact
quantiles of the Beta take some seventy times as long and decide no better.

``rate``, tokens per priced time, is what a unit of time is worth (Dinkelbach, Management Science
1967): the fixed point maximises the ratio of sums. It follows served cycles, from that of plain
decoding on. Token ``j`` pays while ``h_1 ... h_j`` exceeds ``rate`` times its cost (the marginal
rule: monotone stopping, Chow and Robbins 1963); the argmax says the same where costs are convex,
and is right where they come in steps. Where tau is 0 nothing is seen, so that one cycle in
``probe``, drawn at random, drafts a token.

Signals: accepted counts, costs, prices. Nobody published this rule for tau; the prior (3 imagined
tests at 0.7) suits drafters that condition on the verifier's features. Weakness: no context: where
acceptance comes in bursts, an average hazard is wrong in and between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import ndtri

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._arms import priced_cycle_ms
from adaptive_spec.policies._merging import each, means, sums
from adaptive_spec.policy import MAX_TAU, Cycle, Decision, Empty, Outcome, Policy, State
from adaptive_spec.randomness import uniform

_RATE_MEMORY = 0.99
"""Weight of old cycles in the rate, per cycle."""


class Hazards(NamedTuple):
    """What was seen at each of ``D`` depths: a row per sequence, or one row for all (``G`` rows).

    Attributes:
      tested: ``[G, D]`` discounted count of draft tokens tested; ``accepted``: of these, accepted.
      tokens: ``[G]`` discounted tokens emitted; ``passes``: ``[G]`` their priced time, in plain
        verifier passes.
      seed: ``[G]`` key of the draws.
    """

    tested: FloatArray
    accepted: FloatArray
    tokens: FloatArray
    passes: FloatArray
    seed: IntArray


@dataclass(frozen=True)
class Hazard(Policy[Any, Any]):
    """Drafts on while the chance of acceptance at each depth, drawn from the evidence, is worth it.

    Attributes:
      discount: weight of old evidence per test, in (0, 1]; 1 forgets nothing.
      prior: chance of acceptance before any evidence, in (0, 1).
      prior_weight: tests that the prior counts for, in (0, 1000].
      depths: depths that have a hazard of their own, 1 to 1024; deeper tokens share the last.
      probe: one in so many cycles drafts a token where drafting does not pay, at least 1.
      scope: "shared" learns across sequences, "sequence" starts afresh with each.
    """

    discount: float = 0.99
    prior: float = 0.7
    prior_weight: float = 3.0
    depths: int = 10
    probe: int = 32
    scope: Literal["shared", "sequence"] = "shared"

    learns = "across sequences (scope=sequence: per sequence)"
    heeds_prices = True

    def __post_init__(self) -> None:
        if not 0 < self.discount <= 1:
            raise PolicySpecError(f"hazard: discount = {self.discount}; it must be in (0, 1]")
        if not 0 < self.prior < 1:
            raise PolicySpecError(f"hazard: prior = {self.prior}; it must be in (0, 1)")
        if not 0 < self.prior_weight <= 1000:
            raise PolicySpecError(
                f"hazard: prior_weight = {self.prior_weight}; it must be in (0, 1000]"
            )
        if not 1 <= self.depths <= MAX_TAU:
            raise PolicySpecError(f"hazard: depths = {self.depths}; it must be in 1..{MAX_TAU}")
        if self.probe < 1:
            raise PolicySpecError(f"hazard: probe = {self.probe}; it must be at least 1")

    def init(self, num_sequences: int, seed: int) -> State[Any, Any]:
        groups = 1 if self.scope == "shared" else num_sequences
        tested, accepted = np.zeros((2, groups, self.depths))
        # The rate begins with one imagined cycle of plain decoding.
        tokens, passes = np.ones((2, groups))
        fresh = Hazards(tested, accepted, tokens, passes, np.full(groups, seed, np.int64))
        return State(Empty(), fresh) if self.scope == "shared" else State(fresh, Empty())

    def decide(self, state: State[Any, Any], cycle: Cycle) -> Decision:
        seen = self._seen(state)
        chance = uniform(seen.seed, cycle.sequence_id, cycle.cycle_index, self.depths + 1)
        tests = self.prior_weight + seen.tested
        mean = (self.prior * self.prior_weight + seen.accepted) / tests
        spread = np.sqrt(mean * (1.0 - mean) / (tests + 1.0))
        hazard = np.clip(mean + spread * ndtri(chance[:, :-1]), 0.0, 1.0)
        depth = np.minimum(np.arange(cycle.max_draft_tokens), self.depths - 1)
        gain = np.zeros((chance.shape[0], depth.size + 1))
        gain[:, 1:] = hazard[:, depth].cumprod(axis=1).cumsum(axis=1)
        rate = seen.tokens / np.maximum(seen.passes, 1e-9) / cycle.costs.plain_ms
        gain = gain - rate[:, None] * cycle.priced_ms()
        gain[np.arange(depth.size + 1) > cycle.max_tau[:, None]] = -np.inf
        best = gain.argmax(axis=1)
        probes = (best == 0) & (chance[:, -1] < 1.0 / self.probe)
        return Decision(cycle.clip(np.where(probes, 1, best)))

    def update(self, state: State[Any, Any], outcome: Outcome) -> State[Any, Any]:
        seen = self._seen(state)
        accepted = self._by_depth(outcome.num_accepted_tokens)
        tested = self._by_depth(outcome.num_accepted_tokens + outcome.rejected)
        tokens = outcome.num_emitted_tokens.astype(np.float64)
        passes = priced_cycle_ms(outcome) / outcome.cycle.costs.plain_ms
        memory = _RATE_MEMORY
        if self.scope == "shared":
            memory **= tokens.size
            tested, accepted = (x.sum(axis=0, keepdims=True) for x in (tested, accepted))
            tokens, passes = (x.sum(keepdims=True) for x in (tokens, passes))
        fade = self.discount**tested
        learned = Hazards(
            seen.tested * fade + tested,
            seen.accepted * fade + accepted,
            seen.tokens * memory + tokens,
            seen.passes * memory + passes,
            seen.seed,
        )
        if self.scope == "shared":
            return State(state.rows, learned)
        return State(learned, state.shared)

    def merge(self, shared: Sequence[Any], weights: FloatArray) -> Any:
        if self.scope == "sequence":
            return shared[0]
        return Hazards(
            sums(each(shared, "tested"), weights),
            sums(each(shared, "accepted"), weights),
            means(each(shared, "tokens"), weights),
            means(each(shared, "passes"), weights),
            shared[0].seed,
        )

    def _seen(self, state: State[Any, Any]) -> Hazards:
        seen: Hazards = state.shared if self.scope == "shared" else state.rows
        return seen

    def _by_depth(self, tokens: IntArray) -> FloatArray:
        """How many of the first ``tokens`` of a draft were at each depth, ``[B, D]``."""
        beyond = np.maximum(tokens[:, None] - np.arange(self.depths), 0)
        counts: FloatArray = np.minimum(beyond, 1).astype(np.float64)
        counts[:, -1] = beyond[:, -1]
        return counts
