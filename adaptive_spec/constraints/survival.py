"""How far drafts are accepted: ``S_k``, the chance that the first k tokens all are.

The product-limit estimator (Kaplan and Meier, JASA 1958): of the tokens at depth d whose fate was
seen, the share that was accepted; ``S_k`` is the product of the shares up to k. A draft that was
accepted whole says nothing of the depth beyond it. It is the controller's own estimate, whatever
the policy knows, and tells what passes and time a longer or shorter draft would take.
"""

import math
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray

_MEMORY_CYCLES = 2000.0
"""Cycles after which a cycle counts for 1/e."""
_LEANING = 2.0
"""A depth leans on the one before it as on so many tokens; the first on an even chance."""


class Survival(NamedTuple):
    """Discounted counts by depth, ``[K]``; depth 1 comes first.

    Attributes:
      tested: draft tokens whose fate was seen.
      accepted: those that were accepted.
    """

    tested: FloatArray
    accepted: FloatArray

    @staticmethod
    def fresh(max_draft_tokens: int) -> "Survival":
        """Nothing seen."""
        return Survival(np.zeros(max_draft_tokens), np.zeros(max_draft_tokens))

    def after(self, accepted: IntArray, refused: IntArray) -> "Survival":
        """The counts after cycles in which ``accepted`` tokens were; ``[n]``.

        Args:
          accepted: ``[n]`` accepted draft tokens.
          refused: ``[n]`` 1 where the next one was refused, or none was proposed any more; 0 where
            nothing is known of it.
        """
        depths = self.tested.size
        if depths == 0 or accepted.size == 0:
            return self
        kept = (1.0 - 1.0 / _MEMORY_CYCLES) ** accepted.size
        reached = np.bincount(np.minimum(accepted, depths), minlength=depths + 1)
        tested = np.bincount(np.minimum(accepted + refused, depths), minlength=depths + 1)
        return Survival(
            kept * self.tested + tested[::-1].cumsum()[::-1][1:],
            kept * self.accepted + reached[::-1].cumsum()[::-1][1:],
        )

    def chances(self, errors: float = 0.0) -> FloatArray:
        """``S_0 = 1, S_1, ..., S_K``, ``[K + 1]``.

        Args:
          errors: standard errors by which the share at every depth is taken to be larger: what the
            chances may be for all that is known, where few drafts went that far.
        """
        survival, share = [1.0], 0.5
        for tested, accepted in zip(self.tested.tolist(), self.accepted.tolist(), strict=True):
            share = (accepted + _LEANING * share) / (tested + _LEANING)
            error = math.sqrt(share * (1.0 - share) / (tested + _LEANING))
            survival.append(survival[-1] * min(share + errors * error, 1.0))
        return np.array(survival)

    @property
    def seen(self) -> float:
        """First tokens of drafts whose fate was seen, discounted; infinite where none may be."""
        return float(self.tested[0]) if self.tested.size else math.inf
