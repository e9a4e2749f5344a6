"""What a cycle costs, and shouldn't: a slow drafter, and tokens that are not verified for free."""

from adaptive_spec.simulations.diagnosis.findings import (
    Figure,
    Finding,
    Judgement,
    Loss,
    NotJudged,
)
from adaptive_spec.simulations.diagnosis.known import Known
from adaptive_spec.simulations.diagnosis.limits import Limited
from adaptive_spec.simulations.diagnosis.resamples import ratio

SLOW, NOT_PARALLEL, SATURATED = "drafter too slow", "verification not parallel", "batch saturated"

MOST_DRAFT = 0.25
"""Time of a drafted token, in plain passes, from which a drafter is slow: even with four of five
tokens accepted it then makes decoding 1.7 times as fast at best (``(1 - a**(t + 1)) / (1 - a) / (1
+ c t)``, Leviathan et al., ICML 2023, theorem 3.8)."""
MOST_VERIFY = 0.2
"""Time of one more verified token, in plain passes, from which a pass is hardly parallel: five of
them cost as much as the pass that they are to save."""
_DEPTH = 4
"""Length of the draft at which both are read off."""
_ASSUMED = "no costs were given; give --costs (a profile, or draft=...,verify=...)"


def drafter_too_slow(known: Known) -> Judgement:
    """A drafted token of some drafter takes more than ``MOST_DRAFT`` of a plain pass."""
    if known.costs_assumed:
        return NotJudged(SLOW, _ASSUMED)
    _, plain_ms = known.mean_prices(0)
    tokens = {
        name: known.mean_prices(_DEPTH, drafter)[0] / _DEPTH / plain_ms
        for drafter, name in enumerate(known.drafters)
    }
    slow = [
        Figure(f"drafting a token with {name}, in plain passes", cost)
        for name, cost in tokens.items()
        if cost > MOST_DRAFT
    ]
    if not slow:
        return None
    share = ratio(known.sums(known.prices_ms[0]), known.served_ms)
    return _found(
        known,
        SLOW,
        Limited(known.costs, draft=MOST_DRAFT),
        (*slow, Figure.of("share of the served time that went into drafting", share)),
        "take a smaller drafter, or make this one faster: on the verifier's device, its steps in "
        "one captured graph, without a read-back after each token, in the same precision; look "
        "first whether it runs where you think it does",
    )


def verification_not_parallel(known: Known) -> Judgement:
    """Already in the smallest batch a verified token takes more than ``MOST_VERIFY``."""
    if known.costs_assumed:
        return NotJudged(NOT_PARALLEL, _ASSUMED)
    alone = _verified_token_alone(known)
    if alone <= MOST_VERIFY:
        return None
    return _found(
        known,
        NOT_PARALLEL,
        Limited(known.costs, verify=MOST_VERIFY),
        (Figure("verifying one more token, in plain passes, in the smallest batch", alone),),
        "see that all drafted tokens go through the verifier in one pass: no loop over them, "
        "attention that takes several queries at once, the same kernels, graphs and precision as "
        "for one token; where the hardware has no time to spare, drafts should be short",
    )


def batch_saturated(known: Known) -> Judgement:
    """A verified token takes little in the smallest batch, too much in those that were served."""
    if known.costs_assumed:
        return NotJudged(SATURATED, _ASSUMED)
    plain_ms, deep_ms = (known.mean_prices(tau)[1] for tau in (0, _DEPTH))
    served = (deep_ms - plain_ms) / _DEPTH / plain_ms
    alone = _verified_token_alone(known)
    if not alone <= MOST_VERIFY < served:
        return None
    return _found(
        known,
        SATURATED,
        Limited(known.costs, verify=MOST_VERIFY),
        (
            Figure("mean batch of a cycle", float(known.cycles.batch_size.mean()), style=".1f"),
            Figure("verifying one more token in it, in plain passes", served),
            Figure("the same in the smallest batch", alone),
        ),
        "draft less the larger the batch is (a policy that sees costs by batch, or a table: "
        "`adaptive-spec recommend`), or spread the requests over more replicas",
    )


def _verified_token_alone(known: Known) -> float:
    """Time of one more verified token in the smallest batch, in plain passes of it."""
    cycles = known.cycles.sample().in_batch(1)
    plain_ms, deep_ms = (
        float(cycles.at(tau).prices(known.costs_alone, known.drafters)[1].mean())
        for tau in (0, _DEPTH)
    )
    return (deep_ms - plain_ms) / _DEPTH / plain_ms


def _found(
    known: Known, name: str, limited: Limited, evidence: tuple[Figure, ...], advice: str
) -> Finding | None:
    """What is lost to costs beyond a limit."""
    draft_ms, verify_ms = known.cycles.prices(limited, known.drafters)
    served_ms = known.sums(draft_ms + verify_ms)
    constant_ms = known.constants_at(limited).times(known.resamples)
    lost_ms = known.lost_to(served_ms, constant_ms)
    loss = Loss.worth_telling(lost_ms, float(known.served_ms[0]))
    return None if loss is None else Finding(name, loss, evidence, advice)
