"""A driver's books are right whatever the engine does with what was decided."""

from typing import Any

import pytest

from adaptive_spec import ConstantCosts, Controller
from adaptive_spec.constraints import Constraints, EndReason, PassBudget
from adaptive_spec.integrations.driver import Driver, Step, Verified
from adaptive_spec.randomness import request_key
from tests.controller.driven import Stubborn

COSTS = ConstantCosts(0.5, 0.0, plain_ms=10.0)


def make(*, drafts_ahead: bool = True, **options: Any) -> tuple[Driver, Stubborn]:
    policy = Stubborn(lambda cycle: cycle.clip(2 + cycle.sequence_id))
    controller = Controller(policy, costs=COSTS, max_draft_tokens=6, **options)
    driver = Driver(controller, drafts_ahead=drafts_ahead)
    for one in "ab":
        driver.admit(one, 5, 50)
    return driver, policy


def test_what_is_decided_waits_until_it_is_carried_out() -> None:
    driver, policy = make()
    tau, _ = driver.decide({"b": True, "a": True, "stranger": True})
    assert tau == {"a": 2, "b": 3}
    step = Step(driver.begin_step(["a"]))
    assert not driver.is_decided("a")
    assert driver.is_decided("b")
    driver.observe(step, {"a": Verified(2, 1, 2)}, 12.0)
    later = Step(driver.begin_step(["a", "b", "stranger"]))
    driver.observe(later, {"a": Verified(0, 0, 1), "b": Verified(3, 3, 4)}, 12.0)
    for one in "ab":
        driver.release(one, finished=True)
    ledger = driver.controller.ledger
    assert (ledger.requests, ledger.passes, ledger.tokens) == (2, 3, 7)
    assert [outcome.tau.size for outcome in policy.outcomes] == [1, 1, 1]


def test_an_undecided_request_is_verified_without_a_draft() -> None:
    driver, policy = make()
    step = Step(driver.begin_step(["a", "b"]))
    driver.observe(step, {"a": Verified(0, 0, 1), "b": Verified(0, 0, 1)}, 12.0)
    [outcome] = policy.outcomes
    assert not outcome.cycle.available.any()
    assert outcome.num_draft_tokens.tolist() == [0, 0]


def test_what_is_not_carried_out_does_not_count() -> None:
    driver, _ = make()
    driver.decide({"a": True, "b": True})
    driver.withdraw(["a", "stranger"])
    assert not driver.is_decided("a")
    lost = Step(driver.begin_step(["b"]))
    driver.observe(lost, {}, 12.0)  # the engine dropped it
    driver.decide({"a": True, "b": True})
    under_way = Step(driver.begin_step(["a"]))
    for one in "ab":
        driver.release(one, finished=True)
    driver.observe(under_way, {"a": Verified(2, 2, 3)}, 12.0)  # comes too late
    ledger = driver.controller.ledger
    assert (ledger.requests, ledger.passes, ledger.tokens) == (2, 0, 0)


def test_padding_and_the_end_of_a_text_are_left_out_of_what_the_policy_learns() -> None:
    driver, policy = make()
    driver.decide({"a": True, "b": True})
    step = Step(driver.begin_step(["a", "b"]))
    driver.observe(step, {"a": Verified(6, 5, 6), "b": Verified(3, 3, 2)}, 12.0)
    [outcome] = policy.outcomes
    assert outcome.num_draft_tokens.tolist() == [2, 3]
    assert outcome.num_accepted_tokens.tolist() == [2, 2]
    assert outcome.num_emitted_tokens.tolist() == [6, 2]


def test_a_step_s_time_is_split_between_its_pass_and_the_drafts_for_the_next() -> None:
    driver, policy = make()
    first = driver.begin_step(["a", "b"])
    _, decided = driver.decide({"a": True, "b": True})
    plain = {"a": Verified(0, 0, 1), "b": Verified(0, 0, 1)}
    driver.observe(Step(first, decided), plain, 50.0)
    driver.observe(
        Step(driver.begin_step(["a", "b"])), {"a": Verified(2, 0, 1), "b": Verified(3, 0, 1)}, 20.0
    )
    # By the cost model 10 ms of verifying and 15 ms of drafting three tokens.
    assert policy.outcomes[0].verify_ms.tolist() == pytest.approx([20.0, 20.0])
    assert policy.outcomes[1].draft_ms.tolist() == pytest.approx([30.0, 30.0])
    assert policy.outcomes[1].verify_ms.tolist() == pytest.approx([20.0, 20.0])


def test_drafts_at_hand_cost_no_time() -> None:
    driver, policy = make(drafts_ahead=False)
    driver.decide({"a": True})
    driver.observe(Step(driver.begin_step(["a"])), {"a": Verified(2, 1, 2)}, 20.0)
    [outcome] = policy.outcomes
    assert outcome.draft_ms.tolist() == [0.0]
    assert outcome.verify_ms.tolist() == [20.0]


def test_reading_prompts_is_no_cycle_s_time_but_counts_as_latency() -> None:
    driver, policy = make(drafts_ahead=False)
    driver.decide({"a": True})
    driver.observe(Step(driver.begin_step(["a"])), {"a": Verified(2, 1, 2)}, 20.0)
    driver.decide({"a": True})
    step = Step(driver.begin_step(["a"]), comparable=False)
    driver.observe(step, {"a": Verified(2, 1, 2)}, 500.0)
    assert policy.outcomes[-1].cycle_ms.tolist() == [20.0]
    driver.decide({"a": True})
    driver.observe(Step(driver.begin_step(["a"])), {"a": Verified(2, 1, 2)}, None)
    assert policy.outcomes[-1].cycle.elapsed_ms.tolist() == [520.0]


def test_requests_end_when_their_passes_are_spent_and_all_is_known() -> None:
    driver, _ = make(constraints=Constraints(PassBudget(max_passes=2)))
    first = Step(driver.begin_step(["a", "b"]))
    plain = {"a": Verified(0, 0, 1), "b": Verified(0, 0, 1)}
    tau, _ = driver.decide({"a": True, "b": True})
    assert set(tau) == {"a", "b"}
    driver.observe(first, plain, 12.0)
    second = Step(driver.begin_step(["a", "b"]))
    assert driver.decide({"a": True, "b": True}) == ({}, None)
    assert driver.spent() == {}
    driver.observe(second, plain, 12.0)
    assert driver.spent() == {"a": EndReason.BUDGET, "b": EndReason.BUDGET}


def test_requests_are_of_the_class_that_they_name() -> None:
    driver, _ = make(constraints={"paid": Constraints(), "free": Constraints()})
    driver.admit("c", 5, 50, "free", waited_ms=30.0)
    for one in "abc":
        driver.release(one, finished=True)
    ledgers = driver.controller.ledgers
    assert (ledgers["paid"].requests, ledgers["free"].requests) == (2, 1)
    assert "c" not in driver


def test_requests_are_known_by_their_ids() -> None:
    driver, policy = make()
    driver.admit("a request", 5, 50)
    driver.decide({"a request": True})
    driver.observe(Step(driver.begin_step(["a request"])), {"a request": Verified(1, 1, 2)}, None)
    assert policy.outcomes[-1].cycle.request_key.tolist() == [request_key("a request")]
