"""Two drafters on the same texts: who pays, for which requests, at which batch."""

import dataclasses

import numpy as np
import pytest

from adaptive_spec import ConstantCosts
from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.diagnosis import Rivalry, rivalry
from adaptive_spec.traces import TraceSet
from tests.simulations.diagnosis.planting import COSTS, of_rule, saturating_costs, texts


def named(traces: TraceSet, drafter: str) -> TraceSet:
    return TraceSet(dataclasses.replace(traces.info, drafter=drafter), traces.sequences)


GOOD, POOR = named(texts(0.1), "large"), named(texts(0.5), "small")


def winners(found: Rivalry) -> dict[tuple[str, int], str]:
    return {(c.group, c.batch_size): c.pays(found.names) for c in found.contests}


def test_the_one_that_is_accepted_more_often_pays_at_equal_cost() -> None:
    found = rivalry(GOOD, POOR, "fixed:tau=3", costs=COSTS)
    assert winners(found) == {("all requests", 1): "large"}
    [contest] = found.contests
    assert contest.second_over_first.high < 1 < contest.speedups[1].value
    assert winners(rivalry(POOR, GOOD, "fixed:tau=3", costs=COSTS)) == {
        ("all requests", 1): "large"
    }


def test_the_cheaper_one_pays_where_the_other_costs_too_much() -> None:
    costs = ConstantCosts(0.02, 0.02, drafts=(("large", 0.7),))
    assert winners(rivalry(GOOD, POOR, "fixed:tau=3", costs=costs)) == {
        ("all requests", 1): "small"
    }


def test_neither_pays_in_a_batch_that_is_full() -> None:
    found = rivalry(GOOD, POOR, "fixed:tau=3", costs=saturating_costs(), batch_sizes=(1, 32))
    assert winners(found)["all requests", 1] == "large"
    hard = named(texts(0.6), "other")
    found = rivalry(POOR, hard, "fixed:tau=3", costs=saturating_costs(), batch_sizes=(32,))
    assert winners(found) == {("all requests", 32): "neither"}


def test_categories_have_winners_of_their_own() -> None:
    kinds = ("code", "chat")
    one = named(texts(0.05, 0.6, categories=kinds), "one")
    other = named(texts(0.6, 0.05, categories=kinds), "other")
    found = winners(rivalry(one, other, "fixed:tau=3", costs=COSTS))
    assert found == {
        ("all requests", 1): "either",
        ("category code", 1): "one",
        ("category chat", 1): "other",
    }


def test_requests_in_one_trace_only_or_with_another_output_are_left_out() -> None:
    longer = dataclasses.replace(texts(0.5, tokens=41).sequences[3])
    shared = TraceSet(POOR.info, (*POOR.sequences[5:], longer))
    found = rivalry(GOOD, shared, "fixed:tau=3", costs=COSTS)
    assert found.requests == 25
    assert found.left_out == 5 + 1
    ids = [
        dataclasses.replace(one, output_ids=np.full(40, int(i == 2), np.int64))
        for i, one in enumerate(GOOD)
    ]
    same = [dataclasses.replace(one, output_ids=np.zeros(40, np.int64)) for one in POOR]
    found = rivalry(
        TraceSet(GOOD.info, tuple(ids)),
        TraceSet(POOR.info, tuple(same)),
        "fixed:tau=3",
        costs=COSTS,
    )
    assert found.left_out == 2


def test_drafters_of_one_name_are_told_apart() -> None:
    assert rivalry(GOOD, named(texts(0.5), "large"), "fixed:tau=3", costs=COSTS).names == (
        "large (first)",
        "large (second)",
    )
    specs = rivalry(named(GOOD, "a:x=1"), named(POOR, "a:x=2"), "fixed:tau=3", costs=COSTS).names
    assert specs == ("a:x=1", "a:x=2")


def test_what_cannot_be_compared_is_refused() -> None:
    drawn = TraceSet(dataclasses.replace(POOR.info, exactness="distribution"), POOR.sequences)
    strange = TraceSet(POOR.info, texts(0.2, 0.2).sequences[30:])
    for other, words in (
        (of_rule(POOR, "coupled"), "rule of the two traces is 'greedy' and 'coupled'"),
        (drawn, "one of the traces is a 'distribution'"),
        (strange, "no request in common"),
    ):
        with pytest.raises(ConfigError, match=words):
            rivalry(GOOD, other, "fixed:tau=3", costs=COSTS)
