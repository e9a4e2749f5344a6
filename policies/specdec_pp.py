"""Stop after token i when 1 - P_2 P_3 ... P_i > 0.3, P_j the estimated chance of acceptance.

SpecDec++ (Huang, Guo, Wang 2024, arXiv 2405.19715): where the choice is to draft on or to verify,
stopping is optimal once the chance that some drafted token is refused exceeds a constant. As in the
authors' code the first token counts as accepted, 2 tokens at least and 20 at most are drafted, and
the threshold is 0.3.

Theirs is a head on the draft's hidden states, trained offline for each pair. Ours is a logistic
model of what every drafter can say, ``P = sigmoid(w . (1, log-odds of q, entropy, log(1 + margin),
log depth))``, learned online from every token that was judged, across sequences: after each outcome
one Newton step on the log-likelihood, old tokens discounted by 0.999 each, with a Gaussian prior
of precision 10 around ``P = q``, the draft's own probability. It is calibrated, whereas theirs
weighs refusals six times; 0.7, said to be the best threshold in the paper, is there what 0.28 is
here: odds of 0.7 / 0.3 over 6.

Signals: ``top1_probability``, ``entropy``, ``margin``. Weakness: the constant says nothing of what
drafting costs; a first token is always drafted, so that it never falls back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._inside import Judged, draft_upto, require_tau, require_within
from adaptive_spec.policies._merging import each, sums
from adaptive_spec.policies._signal_features import FEATURES, SIGNALS, signal_features
from adaptive_spec.policy import (
    MAX_TAU,
    Cycle,
    Decision,
    DraftSignals,
    Empty,
    Outcome,
    Policy,
    State,
)

_PRIOR = np.array((0.0, 1.0, 0.0, 0.0, 0.0))
"""Weights of the intercept and of each of ``FEATURES`` for which P is the draft's probability."""

_LEAST_CURVATURE = 0.02
"""Of a token's log-likelihood: keeps a step that begins at certainty from going too far."""


class Estimate(NamedTuple):
    """The logistic model; ``W`` weights, the intercept first.

    Attributes:
      weights: ``[W]``.
      curvature: ``[W, W]`` discounted sum over tokens of ``P (1 - P) x x^T``.
    """

    weights: FloatArray
    curvature: FloatArray

    def acceptance(self, features: FloatArray) -> FloatArray:
        """Chance of acceptance, ``[..., F] -> [...]``; 1 where a feature is missing."""
        chance = _sigmoid(self.weights[0] + features @ self.weights[1:])
        return np.where(np.isnan(chance), 1.0, chance)

    def learn(
        self, features: FloatArray, accepted: BoolArray, discount: float, prior: float
    ) -> "Estimate":
        """The model after ``n`` more tokens, ``[n, F]`` and ``[n]``.

        The weights given are taken to be those of least loss so far, so that of the old tokens
        only their curvature enters, and of the prior what the discount gives back to it.
        """
        x = np.column_stack((np.ones(accepted.size), features))
        chance = _sigmoid(x @ self.weights)
        fade = discount**accepted.size
        spread = np.maximum(chance * (1.0 - chance), _LEAST_CURVATURE)
        curvature = fade * self.curvature + (x.T * spread) @ x
        slope = x.T @ (accepted - chance) - (1.0 - fade) * prior * (self.weights - _PRIOR)
        step = np.linalg.solve(curvature + prior * np.eye(_PRIOR.size), slope)
        return Estimate(self.weights + step, curvature)


@dataclass(frozen=True)
class SpecDecPp(Policy[Empty, Estimate]):
    """Stops when some drafted token is likely to be refused, by a model learned online (SpecDec++).

    Attributes:
      threshold: largest chance of a refusal to draft on at, in [0, 1].
      tau: most tokens to draft, 0 to 1024.
      least_tau: tokens drafted before it may stop, 1 to 1024.
      discount: weight of old evidence per token judged, in [0.5, 1].
      prior: precision of the prior, in (0, 1e6].
    """

    threshold: float = 0.3
    tau: int = 20
    least_tau: int = 2
    discount: float = 0.999
    prior: float = 10.0

    learns = "across sequences"
    signals = SIGNALS

    def __post_init__(self) -> None:
        require_within("specdec-pp", "threshold", self.threshold, 0, 1)
        require_tau("specdec-pp", self.tau)
        require_within("specdec-pp", "least_tau", self.least_tau, 1, MAX_TAU)
        require_within("specdec-pp", "discount", self.discount, 0.5, 1)
        if not 0 < self.prior <= 1e6:
            raise PolicySpecError(f"specdec-pp: prior = {self.prior}; it must be in (0, 1e6]")

    def init(self, num_sequences: int, seed: int) -> State[Empty, Estimate]:
        width = 1 + len(FEATURES)
        return State(Empty(), Estimate(_PRIOR.copy(), np.zeros((width, width))))

    def decide(self, state: State[Empty, Estimate], cycle: Cycle) -> Decision:
        return draft_upto(cycle, self.tau)

    def keep_drafting(
        self,
        state: State[Empty, Estimate],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        if depth < self.least_tau:
            return np.ones(cycle.max_tau.shape, np.bool_)
        later = state.shared.acceptance(signal_features(signals)[:, 1:])
        on: BoolArray = 1.0 - later.prod(axis=1) <= self.threshold
        return on

    def update(self, state: State[Empty, Estimate], outcome: Outcome) -> State[Empty, Estimate]:
        if outcome.signals is None:
            return state
        features, judged = signal_features(outcome.signals), Judged.of(outcome)
        seen = (judged.accepted | judged.refused) & ~np.isnan(features[..., 0])
        if not seen.any():
            return state
        learned = state.shared.learn(
            features[seen], judged.accepted[seen], self.discount, self.prior
        )
        return State(state.rows, learned)

    def merge(self, shared: Sequence[Estimate], weights: FloatArray) -> Estimate:
        # The product of what their tokens say, a normal distribution each, and of one prior.
        prior = self.prior * np.eye(_PRIOR.size)
        curvature, slope = sums(each(shared, "curvature"), weights), np.zeros(_PRIOR.size)
        for own, weight in zip(shared, weights.tolist(), strict=True):
            slope += weight * (own.curvature + prior) @ (own.weights - _PRIOR)
        return Estimate(_PRIOR + np.linalg.solve(curvature + prior, slope), curvature)


def _sigmoid(x: FloatArray) -> FloatArray:
    chance: FloatArray = 0.5 * (1.0 + np.tanh(0.5 * x))
    return chance
