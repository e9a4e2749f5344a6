"""How likely a drafted token is accepted, once the drafter has said how sure it is of it.

``log-odds = u_0 + u_1 * (those by history) + u_2 * word``; ``word`` is ``log(q / (1 - q))`` of
the drafter's top-1 probability ``q``, or of a prompt lookup the log of the tokens that it matched:
Platt's scaling (1999) with what history says beside it, learned online from the tokens that
verification judged. The entropy and the margin of the draft distribution say nothing beyond ``q``,
nor does the confidence of one token about the next.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray
from adaptive_spec.policies._compiled import kernels
from adaptive_spec.policies._inside import Judged
from adaptive_spec.policies._logistic import Weights, log_odds, probability
from adaptive_spec.policies._merging import each
from adaptive_spec.policy import MAX_DRAFTERS, DraftSignals, Outcome

_PRIOR = Weights.prior(np.array([-0.2, 0.3, 0.7]), 0.3, MAX_DRAFTERS)
_LEAST = 1e-4


class Confidence(NamedTuple):
    """What confidence has been worth.

    Attributes:
      weights: for each of ``M`` drafters.
      speaks: ``[M]`` whether it said how sure it was when it last drafted.
    """

    weights: Weights
    speaks: BoolArray

    @classmethod
    def fresh(cls) -> "Confidence":
        """Before any draft."""
        return cls(_PRIOR, np.zeros(MAX_DRAFTERS, np.bool_))

    @classmethod
    def merged(cls, parts: "Sequence[Confidence]", weights: FloatArray) -> "Confidence":
        """Of several replicas (``Policy.merge``)."""
        return cls(
            Weights.merged(each(parts, "weights"), weights, _PRIOR),
            np.logical_or.reduce(each(parts, "speaks")),
        )

    def accepted(self, drafter: int, signals: DraftSignals, by_history: FloatArray) -> FloatArray:
        """Chance of each drafted token, if those before it are accepted, ``[B, depth]``.

        Args:
          drafter: who drafted.
          signals: of the draft, ``[B, depth]``; where they are missing, history stands.
          by_history: ``[B, depth]`` the chance before the drafter said anything.
        """
        said, mean = word_of(signals), self.weights.mean[drafter]
        fast = kernels()
        if fast is not None:
            chance: FloatArray = fast.sure(said, by_history, mean, _LEAST)
            return chance
        by_word = probability(_features(said, by_history) @ mean)
        return np.where(np.isnan(said), by_history, by_word)

    def after(
        self, outcome: Outcome, drafter: int, by_history: FloatArray, memory: float
    ) -> "Confidence":
        """What is known after a cycle; ``by_history`` is ``[B, K]``."""
        if outcome.signals is None:
            return self
        said = word_of(outcome.signals)
        mine = (outcome.drafter == drafter) & (outcome.num_draft_tokens > 0)
        if not mine.any():
            return self
        judged = Judged.of(outcome)
        tested = (judged.accepted | judged.refused) & mine[:, None] & ~np.isnan(said)
        speaks = self.speaks.copy()
        speaks[drafter] = bool((~np.isnan(said[mine, 0])).all())
        fast = kernels()
        if fast is not None:
            weights = self.weights.copy()
            own = [part[drafter] for part in (*weights, *_PRIOR)]
            fast.weigh(said, by_history, tested, judged.accepted, *own, _LEAST, memory)
        else:
            features = _features(said[tested], by_history[tested])
            weights = self.weights.learn(
                np.full(features.shape[0], drafter),
                features,
                judged.accepted[tested].astype(np.float64),
                np.ones(features.shape[0]),
                prior=_PRIOR,
                memory=memory,
            )
        return Confidence(weights, speaks)


def word_of(signals: DraftSignals) -> FloatArray:
    """What the drafter says for each of its tokens, ``[B, depth]``; NaN where it says nothing."""
    sure = signals.top1_probability
    matched: FloatArray = np.log(np.maximum(signals.match_length, 1.0))
    return np.where(np.isnan(sure), matched, log_odds(np.clip(sure, _LEAST, 1.0 - _LEAST)))


def _features(word: FloatArray, by_history: FloatArray) -> FloatArray:
    history = np.clip(by_history, _LEAST, 1.0 - _LEAST)
    return np.stack([np.ones_like(word), log_odds(history), np.nan_to_num(word)], axis=-1)
