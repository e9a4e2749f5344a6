"""Requests that should be treated apart: by category, or by the length of their prompts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.simulations.diagnosis.findings import (
    Figure,
    Finding,
    Judgement,
    Loss,
    NotJudged,
)
from adaptive_spec.simulations.diagnosis.known import Known

CATEGORIES, LENGTHS = "category to be treated apart", "prompt length to be treated apart"

FEWEST_REQUESTS = 8
"""In a group; smaller ones count with the rest."""
_BANDS = 3
"""Bands of prompt lengths, with as many requests each."""


class Group(NamedTuple):
    """Some requests, ``[N]``, and what they have in common."""

    name: str
    some: BoolArray


def by_name(categories: Sequence[str]) -> tuple[Group, ...]:
    """The categories, ``[N]``, that have enough requests each."""
    names = np.array(categories)
    groups = (Group(f"category {name or '(none)'}", names == name) for name in np.unique(names))
    return tuple(group for group in groups if group.some.sum() >= FEWEST_REQUESTS)


def bands(prompt_tokens: IntArray) -> tuple[Group, ...]:
    """Bands of about as many requests each, by the length of their prompts, ``[N]``."""
    cuts = np.quantile(prompt_tokens, np.arange(1, _BANDS) / _BANDS, method="higher")
    band = np.searchsorted(np.unique(cuts), prompt_tokens, side="right")
    found = []
    for i in np.unique(band).tolist():
        some = band == i
        if some.sum() >= FEWEST_REQUESTS:
            low, high = int(prompt_tokens[some].min()), int(prompt_tokens[some].max())
            found.append(Group(f"prompts of {low} to {high} tokens", some))
    return tuple(found)


def category_apart(known: Known) -> Judgement:
    """A constant for each category would have been faster than one for all, and what was served."""
    if known.requests.categories is None:
        return NotJudged(CATEGORIES, "a log of cycles does not name categories")
    return _apart(known, CATEGORIES, by_name(known.requests.categories), "category")


def prompt_length_apart(known: Known) -> Judgement:
    """The same of bands of prompt lengths."""
    return _apart(known, LENGTHS, bands(known.requests.prompt_tokens), "length of the prompt")


def _apart(known: Known, name: str, groups: tuple[Group, ...], what: str) -> Finding | None:
    if len(groups) < 2:
        return None
    saved = np.zeros_like(known.served_ms)
    gains, chosen = [], []
    halves = _halves(groups)
    # Lengths are chosen on one half of the requests and judged on the other: groups that are alike
    # would seem to differ on the half that they are chosen on.
    overall = [int(np.argmin(_times(known, half)[0])) for half in halves]
    for group in groups:
        gain = np.zeros_like(saved)
        for choose, judge, tau in zip(halves, halves[::-1], overall, strict=True):
            own = int(np.argmin(_times(known, group.some & choose)[0]))
            judged = _times(known, group.some & judge)
            gain += np.nan_to_num(judged[:, tau] - judged[:, own])
        gains.append(float(gain[0]))
        chosen.append(int(np.argmin(_times(known, group.some)[0])))
        saved += gain
    # A policy that tells them apart already is held against the constants of the groups.
    ahead = np.maximum(known.best_ms - known.served_ms, 0.0)
    loss = Loss.worth_telling(saved - ahead, float(known.served_ms[0]))
    if loss is None or len(set(chosen)) == 1:
        return None
    order = np.argsort(gains)[::-1]
    return Finding(
        name,
        loss,
        (
            Figure("fastest constant tau of all", known.best_tau, style=".0f"),
            *(Figure(f"of {groups[i].name}", chosen[i], style=".0f") for i in order),
        ),
        f"choose tau by {what}: routes or classes of requests with lengths of their own, or a "
        "policy that learns from each request (`auto`)",
        (f"most is lost in {groups[order[0]].name}",),
    )


def _halves(groups: tuple[Group, ...]) -> tuple[BoolArray, BoolArray]:
    """Every other request of each group, whatever the order; those of no group are in neither."""
    first, second = np.zeros((2, groups[0].some.size), np.bool_)
    for group in groups:
        members = np.flatnonzero(group.some)
        first[members[::2]] = second[members[1::2]] = True
    return first, second


def _times(known: Known, some: BoolArray) -> FloatArray:
    return known.constants.times(known.resamples, some)
