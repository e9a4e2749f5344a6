"""A hard budget is never exceeded by more than its burst, whatever happens."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import ConstantCosts, Constraints, Controller, EndReason, PassBudget, make_policy
from adaptive_spec.constraints import bucket
from tests.controller.driven import greedy_controller, ints

ADVERSARIES = {
    "random": lambda i, rng: int(rng.integers(0, 11)),
    "alternating": lambda i, rng: 10 * (i % 2),
    "collapsing": lambda i, rng: 10 if i < 300 else 0,
    "never": lambda i, rng: 0,
}


def serve(controller: Controller, count: int, accepted_at: Any, limit: int = 30) -> list[Any]:
    """Serves requests one after the other; how each ended, with its passes and tokens."""
    rng, ends, cycle = np.random.default_rng(0), [], 0
    for _ in range(count):
        row, left, passes = controller.admit(ints(5), ints(limit)), limit, 0
        while left and controller.ended(row)[0] == EndReason.NONE:
            plan = controller.decide(row)
            accepted = np.minimum(plan.tau, accepted_at(cycle, rng))
            emitted = np.minimum(accepted + 1, left)
            controller.observe(plan, plan.tau, accepted, emitted)
            left, passes, cycle = left - int(emitted[0]), passes + 1, cycle + 1
        ends.append((EndReason(int(controller.ended(row)[0])), passes, limit - left))
        controller.release(row)
    return ends


def keep(average: float, burst: float, **fields: Any) -> Constraints:
    return Constraints(PassBudget(average, hard=True, burst_passes=burst, **fields))


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize("count", [300, pytest.param(100_000, marks=pytest.mark.slow, id="100k")])
def test_passes_never_exceed_the_budget_by_more_than_the_burst(adversary: str, count: int) -> None:
    average, burst = 2.5, 12.0
    controller = greedy_controller(constraints=keep(average, burst))
    ends = serve(controller, count, ADVERSARIES[adversary])
    spent = np.cumsum([passes for _, passes, _ in ends])
    assert (spent <= average * np.arange(1, count + 1) + burst + 1e-6).all()
    # Over any stretch, too: credit left unspent long ago is not kept beyond the burst.
    excess = np.concatenate(([0.0], spent - average * np.arange(1, count + 1)))
    assert (excess[1:] - np.minimum.accumulate(excess[:-1])).max() <= burst + 1e-6
    assert all(passes >= 1 for _, passes, _ in ends)  # nobody starves
    if adversary == "never":
        assert ends[-1][0] == EndReason.BUDGET


def test_going_on_over_budget_takes_the_longest_drafts() -> None:
    promised = keep(1.0, 0.0, when_spent="carry-on")
    plain = make_policy("fixed:tau=0")
    controller = Controller(plain, costs=ConstantCosts(), constraints=promised)
    ends = serve(controller, 3, lambda i, rng: 1, limit=12)
    assert [reason for reason, *_ in ends] == [EndReason.NONE] * 3
    assert [(passes, tokens) for _, passes, tokens in ends] == [(6, 12)] * 3
    assert controller.decide(controller.admit(ints(5), ints(12))).tau.tolist() == [10]


def test_what_was_never_paid_for_is_not_given_back() -> None:
    controller = greedy_controller(constraints=keep(1.0, 2.0, when_spent="carry-on"))
    row = controller.admit(ints(5), ints(99))
    plans = [controller.decide(row) for _ in range(5)]  # one of its own, two of the pool, two over
    assert [(*plan.paid.own, *plan.paid.pool) for plan in plans] == [
        (1.0, 0.0),
        (0.0, 1.0),
        (0.0, 1.0),
        (0.0, 0.0),
        (0.0, 0.0),
    ]
    controller.change_constraints(keep(1.0, 2.0))
    for plan, may_run in [(4, False), (3, False), (1, True)]:
        controller.withdraw(plans[plan])
        assert controller.may_run(row).tolist() == [may_run]
    controller.decide(row)
    assert controller.may_run(row).tolist() == [False]


def test_changing_back_and_forth_gives_running_requests_their_share_once() -> None:
    controller = greedy_controller(constraints=Constraints(PassBudget(9.0, burst_passes=50.0)))
    row = controller.admit(ints(5), ints(99))

    def passes_until_spent() -> int:
        before = controller.passes(row)[0]
        while controller.may_run(row)[0]:
            controller.decide(row)
        return int(controller.passes(row)[0] - before)

    for _ in range(4):
        controller.decide(row)  # before anything hard is promised: free
    taken = []
    for promised in (
        keep(2.0, 3.0),
        keep(2.0, 3.0),
        keep(3.0, 8.0),
        keep(1.0, 0.0),
        keep(3.0, 8.0),
    ):
        controller.change_constraints(promised)
        taken.append(passes_until_spent())
        controller.change_constraints(Constraints())
        controller.decide(row)
    assert taken == [2 + 3, 0, 1, 0, 0]


def test_a_pool_is_shared_by_those_that_came_first() -> None:
    wanted = np.array([1.0, 0.0, 1.0, 0.5])
    assert bucket.granted(1.0, wanted, ints(3, 9, 1, 2)).tolist() == [False, True, True, False]
    assert bucket.granted(1.5, wanted, ints(3, 9, 1, 2)).tolist() == [False, True, True, True]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["admit", "cycle", "leave", "cancel", "withdraw"]),
            st.integers(0, 5),
            st.integers(0, 1),
        ),
        max_size=80,
    ),
    st.floats(1, 4),
    st.floats(0, 10),
)
def test_classes_keep_to_themselves_in_any_order_of_events(
    events: list[tuple[str, int, int]], average: float, burst: float
) -> None:
    promised = {"own": keep(average, burst), "other": keep(1.0, 3.0)}
    controller = greedy_controller(constraints=promised)
    admitted, passes = [0, 0], [0, 0]
    kind: dict[int, int] = {}
    for event, which, number in events:
        running = controller.running
        if event == "admit":
            row = controller.admit(ints(5), ints(1000), request_class=ints(number))
            kind[int(row[0])] = number
            admitted[number] += 1
        elif event in ("cycle", "withdraw"):
            rows = running[controller.ended(running) == EndReason.NONE]
            plan = controller.decide(rows)
            if event == "withdraw":
                controller.withdraw(plan)
                continue
            none = np.zeros(rows.size, np.int64)
            controller.observe(plan, plan.tau, none, none + 1)
            for row in rows.tolist():
                passes[kind[row]] += 1
        elif running.size:
            row = running[[which % running.size]]
            controller.release(row, finished=event == "leave")
        assert passes[0] <= average * admitted[0] + burst + 1e-6
        assert passes[1] <= admitted[1] + 3 + 1e-6
    starving = controller.running[controller.passes(controller.running) == 0]
    assert (controller.ended(starving) == EndReason.NONE).all()
