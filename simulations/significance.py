"""Whether a ratio of speeds differs from 1, or is 1 as far as it matters, by its resamples.

*Difference*: the two-sided bootstrap p-value, ``2 (1 + the resamples on the rarer side of 1) / (1 +
resamples)`` (Davison and Hinkley 1997, ch. 4), corrected for the number of policies compared by
Holm's step-down procedure (Scand. J. Statist. 6, 1979): of all policies that are no different, none
is called so but with chance ``LEVEL``. *Equivalence*: two one-sided tests (Schuirmann, J.
Pharmacokin. Biopharm. 15, 1987), whether the central interval of ``1 - 2 LEVEL`` lies within 1 % of
1; each policy is tested by itself. Neither says anything of prompts unlike those of the trace.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray
from adaptive_spec.simulations.bootstrap import percentile_interval

LEVEL = 0.05
"""Chance of a false alarm."""

MARGIN = 0.01
"""Ratios within so much of 1 are as good as 1."""


class Significance(NamedTuple):
    """What can be said of a ratio of speeds.

    Attributes:
      p_value: of no difference, corrected for all that were tested together.
      faster: the ratio, as measured, is above 1.
      equivalent: it is within ``MARGIN`` of 1.
    """

    p_value: float
    faster: bool
    equivalent: bool

    def __str__(self) -> str:
        """In a word or two: "faster", "slower", "same" or "open"; with "<1%" where it is little."""
        if self.p_value >= LEVEL:
            return "same" if self.equivalent else "open"
        return ("faster" if self.faster else "slower") + (" <1%" if self.equivalent else "")

    def as_dict(self) -> dict[str, object]:
        """Under the names of the JSON output."""
        return {"p_value": self.p_value, "equivalent": self.equivalent, "verdict": str(self)}


def significance(ratios: Sequence[FloatArray]) -> list[Significance | None]:
    """What can be said of each of several ratios, tested together.

    Args:
      ratios: of each the value as measured, then its resamples, ``[1 + resamples]``. One whose
        value is NaN is not tested.

    Returns:
      In the same order; None where nothing was tested.
    """
    tested = [i for i, ratio in enumerate(ratios) if not math.isnan(ratio[0])]
    found: list[Significance | None] = [None] * len(ratios)
    for i, corrected in zip(tested, holm([_p_value(ratios[i]) for i in tested]), strict=True):
        low, high = percentile_interval(_drawn(ratios[i]), 1.0 - 2.0 * LEVEL)
        equivalent = low > 1.0 - MARGIN and high < 1.0 + MARGIN
        found[i] = Significance(corrected, bool(ratios[i][0] > 1.0), equivalent)
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the same order; each is compared with the level."""
    order = np.argsort(p_values, kind="stable")
    remaining = len(p_values) - np.arange(len(p_values))
    corrected = np.maximum.accumulate(np.asarray(p_values)[order] * remaining)
    result = np.empty(len(p_values))
    result[order] = np.minimum(corrected, 1.0)
    return [float(p) for p in result]


def _p_value(ratio: FloatArray) -> float:
    """Two-sided, of no difference from 1."""
    drawn = _drawn(ratio)
    rarer = min(np.count_nonzero(drawn <= 1.0), np.count_nonzero(drawn >= 1.0))
    return min(2.0 * (1.0 + rarer) / (1.0 + drawn.size), 1.0)


def _drawn(ratio: FloatArray) -> FloatArray:
    """The resamples of a ratio, as far as they emitted anything."""
    drawn: FloatArray = ratio[1:][~np.isnan(ratio[1:])]
    return drawn if drawn.size else ratio[:1]
