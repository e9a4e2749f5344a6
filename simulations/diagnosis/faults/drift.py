"""A drafter that fits less and less: acceptance that falls in the course of the requests.

Pettitt's test for a change point that is not known (A Non-Parametric Approach to the Change-Point
Problem, Applied Statistics 28(2), 1979, 126-135): with ``R_i`` the rank of request i by its share
of right first tokens,

    K = max over t of |U_t|,    U_t = 2 (R_1 + ... + R_t) - t (T + 1)

and the change is where the maximum is. Ranks are taken within each category, so that categories
that follow each other are no change. How large K gets by chance is found by permutations within
each category, instead of by Pettitt's approximation: where the requests of a category come in no
order, a change is found with a chance of ``FALSE_ALARM_RATE`` at most.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.simulations.diagnosis.findings import (
    Figure,
    Finding,
    Judgement,
    Loss,
    NotJudged,
)
from adaptive_spec.simulations.diagnosis.known import Known
from adaptive_spec.simulations.diagnosis.resamples import ratio

NAME = "drafter due for replacement"

FALSE_ALARM_RATE = 0.01
FEWEST_REQUESTS = 20
_PERMUTATIONS = 399
"""With the order as it was 400: the least that can tell one in a hundred with some room."""


class Change(NamedTuple):
    """The likeliest change point.

    Attributes:
      first_after: the first request of what comes after it.
      p_value: of there being none.
    """

    first_after: int
    p_value: float


def change_point(values: FloatArray, stratum: IntArray, generator: np.random.Generator) -> Change:
    """Where numbers in order change, if they do.

    Args:
      values: ``[T]``, at least two.
      stratum: ``[T]`` what is compared only among itself, numbered from 0.
      generator: of the permutations.
    """
    members = [np.flatnonzero(stratum == s) for s in np.unique(stratum)]
    ranks = np.zeros(values.size)
    for index in members:
        # Of mean zero and alike in spread, whatever the size of the stratum.
        ranks[index] = (rankdata(values[index]) - (index.size + 1) / 2) / index.size

    def excursion() -> FloatArray:
        gone: FloatArray = np.abs(np.cumsum(ranks))[:-1]
        return gone

    seen = excursion()
    at, most = int(np.argmax(seen)), float(seen.max())
    as_large = 1
    for _ in range(_PERMUTATIONS):
        for index in members:
            ranks[index] = generator.permutation(ranks[index])
        as_large += excursion().max() >= most * (1.0 - 1e-9)
    return Change(at + 1, as_large / (_PERMUTATIONS + 1))


def drafter_due(known: Known) -> Judgement:
    """Acceptance changed for the worse, and what came after took longer per token."""
    requests = known.requests
    told = np.flatnonzero(requests.proposed > 0)
    if told.size < FEWEST_REQUESTS:
        return NotJudged(
            NAME, f"{told.size} requests say something of the drafter; it takes {FEWEST_REQUESTS}"
        )
    right = requests.agreed[told] / requests.proposed[told]
    _, stratum = np.unique(
        np.array(requests.categories or [""] * requests.tokens.size), return_inverse=True
    )
    change = change_point(right, stratum[told], np.random.default_rng(known.seed))
    if change.p_value > FALSE_ALARM_RATE:
        return None
    first = int(told[change.first_after])
    late = np.arange(requests.tokens.size) >= first
    lost_ms = sum(
        (_lost(known, stratum == s, late) for s in np.unique(stratum)),
        np.zeros_like(known.served_ms),
    )
    loss = Loss.worth_telling(lost_ms, float(known.served_ms[0]))
    if loss is None:
        return None
    before, after = (_share_right(known, some) for some in (~late, late))
    return Finding(
        NAME,
        loss,
        (
            Figure("requests before the change", first, style=".0f"),
            Figure("requests after it", requests.tokens.size - first, style=".0f"),
            Figure.of("share of first tokens that were right, before", before),
            Figure.of("and after", after),
            Figure("chance of such a change where there is none", change.p_value, style=".3f"),
        ),
        "see what changed there: the verifier (a new checkpoint or fine-tuning), the prompts or "
        "their template, the language. If that is to stay, distil the drafter anew on texts of "
        "today (`adaptive-spec distill`)",
    )


def _lost(known: Known, some: BoolArray, late: BoolArray) -> FloatArray:
    """Time that requests took after the change beyond what as many tokens took before it."""
    ms, tokens, sums = known.request_ms, known.requests.tokens, known.resamples.sums
    before, after = some & ~late, some & late
    pace = ratio(sums(ms * before), sums(tokens * before))
    lost: FloatArray = np.nan_to_num(sums(ms * after) - pace * sums(tokens * after))
    return lost


def _share_right(known: Known, some: BoolArray) -> FloatArray:
    requests, sums = known.requests, known.resamples.sums
    return ratio(sums(requests.agreed * some), sums(requests.proposed * some))
