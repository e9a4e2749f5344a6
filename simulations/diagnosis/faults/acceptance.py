"""A drafter that does not fit: already its first token is mostly wrong."""

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.simulations.diagnosis.findings import (
    Figure,
    Finding,
    Judgement,
    Loss,
    NotJudged,
)
from adaptive_spec.simulations.diagnosis.known import Known
from adaptive_spec.simulations.diagnosis.resamples import ratio

NAME = "drafter mismatched"

LEAST_ACCEPTANCE = 0.4
"""First tokens that a drafter which fits has right, at least: draft models a hundred times smaller
than their verifiers have 0.5 to 0.9 accepted, a bigram model 0.2 (Leviathan et al., Fast Inference
from Transformers via Speculative Decoding, ICML 2023, section 4.2)."""
_FEWEST_TOKENS = 30


def drafter_mismatched(known: Known) -> Judgement:
    """The share of right first tokens is surely below ``LEAST_ACCEPTANCE``.

    What that costs is the time beyond that of a drafter which has this share right at every depth,
    and proposes as often (``Known.lost_to``).
    """
    requests = known.requests
    proposed = known.resamples.sums(requests.proposed)
    if proposed[0] < _FEWEST_TOKENS:
        return NotJudged(NAME, f"the drafter proposed something {proposed[0]:.0f} times only")
    right = ratio(known.resamples.sums(requests.agreed), proposed)
    first = Figure.of("share of first tokens that were right", right)
    assert first.interval is not None
    if first.interval.high >= LEAST_ACCEPTANCE:
        return None
    lost_ms = known.lost_to(_at_served_lengths(known), _at_constants(known))
    loss = Loss.worth_telling(lost_ms, float(known.served_ms[0]))
    if loss is None:
        return None
    return Finding(
        NAME,
        loss,
        (first, Figure("what fits has, at least", LEAST_ACCEPTANCE)),
        "check that the drafter was made for this verifier: the same tokenizer and chat template, "
        "the same fine-tuning and language, the right checkpoint, sampling parameters on both "
        "sides. If all are right, distil one (`adaptive-spec distill`) or take another drafter",
    )


def _at_served_lengths(known: Known) -> FloatArray:
    """Time if the drafts that were made had been those of a drafter that fits, ``[1 + R]``."""
    drafted = known.cycles.drafted
    would_emit = _emitted(np.arange(int(drafted.max(initial=0)) + 1))[drafted]
    tokens = known.resamples.sums(known.requests.tokens)
    # As many tokens in fewer cycles, each as long as those that were served.
    return known.served_ms * ratio(tokens, known.sums(would_emit))


def _at_constants(known: Known) -> FloatArray:
    """Time of every constant tau of a drafter that fits, ``[1 + R, K + 1]``."""
    requests, asked = known.requests, np.count_nonzero(known.cycles.tau)
    chances = asked if known.traces is None else int(requests.tokens.sum())
    often = min(float(requests.proposed.sum()) / max(chances, 1), 1.0)
    cost_ms = np.array([sum(known.mean_prices(tau)) for tau in range(known.longest_known + 1)])
    emitted = 1.0 + often * (_emitted(np.arange(cost_ms.size)) - 1.0)
    each_ms = (cost_ms[0] + often * (cost_ms - cost_ms[0])) / emitted
    whole: FloatArray = known.resamples.sums(requests.tokens)[:, None] * each_ms
    return whole


def _emitted(tau: IntArray) -> FloatArray:
    """Mean tokens of a cycle at a chance of ``LEAST_ACCEPTANCE`` at every depth."""
    powers: FloatArray = np.power(LEAST_ACCEPTANCE, tau + 1.0)
    return (1.0 - powers) / (1.0 - LEAST_ACCEPTANCE)
