"""Constant draft lengths for engines that take no policy: what each is expected to bring.

With ``N(tau)`` tokens per verifier pass and ``T(tau, b)`` the time of a cycle in a batch of ``b``::

    speedup(tau, b) = N(tau) * T(0, b) / T(tau, b)
    N(tau) = 1 + S_1 + ... + S_tau

``S_k`` is the chance that the first k tokens of a draft all are accepted. Of a trace, N is counted
by replay; of counts by depth, S is their product-limit estimate between its two limits
(``traces.acceptance``); of averages, a chance a that is the same at every depth is what would have
brought the tokens that there were, ``N(d) - 1 = a + ... + a^d`` at the mean draft length d.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray
from adaptive_spec.costs import ConstantCosts, CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.policies.confidence import Confidence
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces import TraceSet
from adaptive_spec.traces.acceptance import Acceptance
from adaptive_spec.traces.imports import Totals

_STEPS = 60
"""Halvings of an interval: to the last digit of a float."""


class TokensPerPass(NamedTuple):
    """Tokens emitted per verifier pass at each constant tau, from 0, ``[K + 1]``.

    Attributes:
      least, most: limits; equal where it is known.
      rests_on: what it rests on, in words.
    """

    least: FloatArray
    most: FloatArray
    rests_on: str


@dataclass(frozen=True)
class Length:
    """A constant draft length, and what it is expected to bring.

    Attributes:
      tau: tokens drafted in every cycle.
      tokens_per_pass: least and most.
      cycle: time of a cycle, in plain passes of the same batch.
      speedup: over plain decoding, least and most.
    """

    tau: int
    tokens_per_pass: tuple[float, float]
    cycle: float
    speedup: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def of_trace(traces: TraceSet, max_draft_tokens: int) -> TokensPerPass:
    """Counted, by replaying every tau; it does not depend on costs.

    Raises:
      ConfigError: the trace does not tell of drafts that long.
    """
    traces.info.require_known(max_draft_tokens)
    flat, costs = traces.flat(), ConstantCosts(0.0, 0.0)
    counted = []
    for tau in range(max_draft_tokens + 1):
        run = replay(Fixed(tau), flat, costs=costs, max_draft_tokens=max_draft_tokens)
        counted.append(float(run.tokens.sum() / run.cycles.sum()))
    tokens = np.array(counted)
    return TokensPerPass(tokens, tokens, f"replay of a trace ({traces.info.exactness})")


def of_acceptance(acceptance: Acceptance, max_draft_tokens: int) -> TokensPerPass:
    """From counts by depth, up to the deepest of which anything is known."""
    depths = slice(min(acceptance.longest_draft, max_draft_tokens) + 1)
    return TokensPerPass(
        np.cumsum(acceptance.survival()[depths]),
        np.cumsum(acceptance.survival(most=True)[depths]),
        f"acceptance at each depth, up to {acceptance.longest_draft} tokens",
    )


def of_totals(totals: Totals, max_draft_tokens: int) -> TokensPerPass:
    """From averages, as if a token had the same chance at every depth.

    Raises:
      ConfigError: nothing was drafted, or no pass is known.
    """
    passes, drafted, accepted = totals.passes, totals.num_draft_tokens, totals.num_accepted_tokens
    if not passes or not drafted or accepted is None:
        raise ConfigError(
            "nothing was drafted, or passes are not known, so that nothing is known of drafts; "
            "give records of an engine that speculates"
        )
    chance = _constant_chance(drafted / passes, accepted / passes)
    tokens = np.cumsum(chance ** np.arange(max_draft_tokens + 1.0))
    assumed = f"an ASSUMED chance of {chance:.3f} at every depth, from averages alone"
    return TokensPerPass(tokens, tokens, assumed)


def lengths(
    tokens: TokensPerPass, costs: CostModel, batch_size: int, context_tokens: int
) -> list[Length]:
    """Every constant tau from 0 at one batch size.

    Args:
      tokens: tokens per pass.
      costs: what cycles cost.
      batch_size: sequences that share a pass, >= 1.
      context_tokens: text before a cycle, >= 1, which measured costs depend on.
    """
    times = costs.table(tokens.least.size - 1, batch_size, np.array([context_tokens]))[0]
    return [
        Length(tau, (least, most), cycle, (least / cycle, most / cycle))
        for tau, (least, most, cycle) in enumerate(
            zip(
                tokens.least.tolist(),
                tokens.most.tolist(),
                (times / times[0]).tolist(),
                strict=True,
            )
        )
    ]


def best(choices: Sequence[Length]) -> Length:
    """The fastest by what it brings at least; the shortest of those that are equal."""
    return max(choices, key=lambda one: (one.speedup[0], -one.tau))


class Threshold(NamedTuple):
    """A longest draft, and the probability below which a draft stops short of it.

    Attributes:
      tau: longest draft.
      p_min: least probability of a drafted token, in (0, 1).
      speedup: over plain decoding, in replay.
    """

    tau: int
    p_min: float
    speedup: float


def best_threshold(
    traces: TraceSet, costs: CostModel, taus: Sequence[int], max_draft_tokens: int
) -> Threshold | None:
    """The fastest of 9 thresholds with each of some longest drafts; None without probabilities.

    Replayed is a rule that drafts no more after a token below the threshold, and has that token
    verified; llama-server drops it, which saves a verified token and costs an accepted one at
    times.
    """
    if not all("top1_probability" in one.signals for one in traces):
        return None
    options: dict[str, Any] = {"costs": costs, "max_draft_tokens": max_draft_tokens}
    plain_ms = float(replay(Fixed(0), traces.flat(), **options).time_ms.sum())
    tried = []
    for tau in sorted(set(taus) - {0}):
        for p_min in np.arange(1, 10) / 10:
            rule = Confidence(threshold=float(p_min), tau=tau, adapt=False)
            speedup = plain_ms / float(replay(rule, traces, **options).time_ms.sum())
            tried.append(Threshold(tau, float(p_min), speedup))
    return max(tried, key=lambda one: one.speedup, default=None)


def served_costs(totals: Totals, plain_ms: float) -> ConstantCosts:
    """Costs from the time that served passes took, over that of plain ones.

    ``pass_ms = plain_ms * (1 + (draft + verify) * drafted tokens per pass)``; the sum is all that
    this tells, and is taken for ``draft``.

    Args:
      totals: of requests that speculated.
      plain_ms: time per token of the same requests without speculation, > 0.

    Raises:
      ConfigError: times, passes or drafts are not known.
    """
    passes = totals.passes
    if passes is None and totals.tokens is not None and totals.num_accepted_tokens is not None:
        passes = totals.tokens - totals.num_accepted_tokens
    if not passes or not totals.num_draft_tokens or totals.decode_ms is None:
        raise ConfigError(
            "plain_ms: these records hold no time of passes that drafted; give costs instead"
        )
    per_token = (totals.decode_ms / passes / plain_ms - 1.0) * passes / totals.num_draft_tokens
    return ConstantCosts(draft=max(per_token, 0.0), verify=0.0, plain_ms=plain_ms)


def _constant_chance(drafted: float, accepted: float) -> float:
    """The chance a with ``a + ... + a^d = accepted`` for d tokens drafted, per pass.

    Between whole numbers of tokens the last power counts in part.
    """

    def expected(chance: float) -> float:
        whole = int(drafted)
        powers = float(np.sum(chance ** np.arange(1.0, whole + 1)))
        return powers + (drafted - whole) * chance ** (whole + 1)

    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle) < accepted else (low, middle)
    return high
