"""What a policy decides is what is drafted, and what is booked is what happened."""

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import ConstantCosts, Controller, make_policy
from adaptive_spec.constraints import ByClass, Constraints
from adaptive_spec.integrations.driver import Driver
from adaptive_spec.integrations.vllm.ngram import NgramTexts
from adaptive_spec.integrations.vllm.steering import Steering, Wishes, read_wishes
from tests.controller.driven import Stubborn
from tests.integrations.vllm.stand_in import StandIn, StandInRequest

K = 5


def engine(
    *,
    drafts_ahead: bool,
    policy: Any = None,
    one_width: bool = False,
    late: bool = False,
    seed: int = 0,
    ngram: NgramTexts | None = None,
    **options: Any,
) -> StandIn:
    policy = policy or Stubborn(lambda cycle: cycle.clip((cycle.sequence_id + cycle.passes) % 4))
    controller = Controller(policy, costs=ConstantCosts(), max_draft_tokens=K, **options)
    steering = Steering(
        Driver(controller, drafts_ahead=drafts_ahead),
        placeholders=late,
        one_width=one_width,
        ngram=ngram,
        wall_clock=lambda: 1.0,
    )
    return StandIn(steering, np.random.default_rng(seed), K, late=late)


@given(
    drafts_ahead=st.booleans(),
    spec=st.sampled_from(["ewma", "hazard"]),
    seed=st.integers(0, 1000),
)
def test_the_books_are_right_whatever_the_engine_does(
    drafts_ahead: bool, spec: str, seed: int
) -> None:
    """Requests come, are read in pieces, left out, preempted and aborted at random."""
    rng = np.random.default_rng(seed)
    stand_in = engine(drafts_ahead=drafts_ahead, policy=make_policy(spec), seed=seed)
    for number in range(30):
        if rng.random() < 0.4:
            stand_in.add(
                StandInRequest(
                    f"r{number}",
                    max_tokens=int(rng.integers(1, 12)),
                    chunks=int(rng.integers(1, 3)),
                )
            )
        ids = list(stand_in.requests)
        skip = {one for one in ids if rng.random() < 0.2}
        preempt = {one for one in ids if rng.random() < 0.05}
        stand_in.step(skip=skip, preempt=preempt)
        if stand_in.requests and rng.random() < 0.1:
            stand_in.abort(str(rng.choice(list(stand_in.requests))))
    while stand_in.requests:
        stand_in.step()
    ledger, totals = stand_in.steering.driver.controller.ledger, stand_in.steering.totals
    done, all_of_them = stand_in.done, [*stand_in.done, *stand_in.aborted]
    assert ledger.requests == len(done)
    assert ledger.passes == sum(request.passes for request in done)
    assert ledger.tokens == sum(request.num_output_tokens for request in done)
    assert totals.draft_tokens == sum(sum(request.drafted) for request in all_of_them)
    assert totals.accepted_tokens == sum(request.accepted for request in all_of_them)
    assert totals.emitted_tokens == sum(request.num_output_tokens for request in all_of_them)
    assert stand_in.steering.driver.controller.running.size == 0


def test_a_draft_model_is_asked_for_the_longest_draft_and_the_others_are_cut() -> None:
    stand_in = engine(drafts_ahead=True)
    stand_in.add(StandInRequest("a"))
    stand_in.add(StandInRequest("b"))
    for _ in range(6):
        stand_in.step()
    # The first pass reads the prompt; of pass p sequence i gets (i + p) % 4 tokens.
    assert stand_in.requests["a"].drafted == [0, 1, 2, 3, 0, 1]
    assert stand_in.requests["b"].drafted == [0, 2, 3, 0, 1, 2]
    assert stand_in.widths == [2, 3, 3, 1, 2, 3]


def test_drafts_at_hand_are_cut_when_they_are_planned() -> None:
    stand_in = engine(drafts_ahead=False, policy=Stubborn(lambda cycle: cycle.clip(cycle.passes)))
    stand_in.add(StandInRequest("a", max_tokens=100))
    stand_in.step()
    for tau in range(1, 8):
        stand_in.requests["a"].spec_token_ids = [7] * K
        stand_in.step()
        assert stand_in.requests["a"].drafted[-1] == min(tau, K)
    assert set(stand_in.widths) == {K}


def test_a_policy_that_looks_back_is_told_what_a_lookup_would_have_proposed() -> None:
    class LooksBack(Stubborn):
        looks_back = True

    policy = LooksBack(lambda cycle: cycle.min_tau)
    stand_in = engine(drafts_ahead=False, policy=policy, ngram=NgramTexts(1, 3, K))
    stand_in.add(StandInRequest("a", max_tokens=100))
    stand_in.add(StandInRequest("b", max_tokens=100))
    for _ in range(5):
        stand_in.step()
    runs = policy.outcomes[-1].runs
    assert runs is not None
    # 0 1 2 3 4, then 7 over and over, by fallback: from the second on there is one to copy.
    assert runs.end.tolist() == [5, 5]
    assert runs.known.tolist() == [[5], [5]]
    assert runs.proposes[:, 0, -5:].tolist() == [[False, False, True, True, True]] * 2
    assert runs.length[:, 0, -5:].tolist() == [[0, 0, 1, 1, 1]] * 2
    stand_in.abort("a")
    stand_in.step()
    runs = policy.outcomes[-1].runs
    assert runs is not None
    assert runs.end.tolist() == [6]


def test_a_lookup_copies_no_more_than_some_request_may_use() -> None:
    texts = NgramTexts(1, 3, K)
    stand_in = engine(drafts_ahead=False, ngram=texts, policy=make_policy("fixed:tau=5"))
    wish = {"adaptive_spec": {"max_draft_tokens": 0}}
    stand_in.add(StandInRequest("a", extra_args=wish, max_tokens=100))
    stand_in.step()
    stand_in.add(StandInRequest("b", max_tokens=100, chunks=2))
    stand_in.step()
    stand_in.step()
    stand_in.add(StandInRequest("session", resumable=True))
    stand_in.abort("b")
    stand_in.step()
    stand_in.step()
    assert stand_in.widths == [0, 0, K, K, K]
    assert not any(stand_in.requests["a"].drafted)


def test_at_one_width_all_get_the_same() -> None:
    stand_in = engine(drafts_ahead=True, one_width=True, uniform_widths=(0, 2, 4))
    for one in "abc":
        stand_in.add(StandInRequest(one, max_tokens=100))
    for _ in range(8):
        stand_in.step()
    lengths = [request.drafted for request in stand_in.requests.values()]
    assert lengths[0] == lengths[1] == lengths[2]
    assert set(lengths[0]) <= {0, 2, 4}


def test_placeholders_are_each_request_s_own() -> None:
    """A step is planned before the outcome of the one before is known."""
    stand_in = engine(drafts_ahead=True, late=True)
    stand_in.add(StandInRequest("a", max_tokens=100))
    stand_in.add(StandInRequest("b", max_tokens=100))
    stand_in.add(StandInRequest("session", resumable=True, max_tokens=100))
    for _ in range(6):
        stand_in.step()
        lists = [request.spec_token_ids for request in stand_in.requests.values()]
        assert len({id(one) for one in lists}) == 3
        assert max(map(len, lists)) == stand_in.widths[-1]
    assert stand_in.requests["a"].drafted == [0, 1, 2, 3, 0]
    assert stand_in.requests["b"].drafted == [0, 2, 3, 0, 1]


def test_a_request_may_wish_for_short_drafts() -> None:
    stand_in = engine(drafts_ahead=True, policy=Stubborn(lambda cycle: cycle.max_tau))
    wish = {"adaptive_spec": {"max_draft_tokens": 2}}
    stand_in.add(StandInRequest("a", max_tokens=100, extra_args=wish))
    stand_in.step()
    stand_in.step()
    assert stand_in.widths == [2, 2]
    stand_in.add(StandInRequest("b", max_tokens=100))
    for _ in range(3):
        stand_in.step()
    assert max(stand_in.requests["a"].drafted) == 2
    assert max(stand_in.requests["b"].drafted) == K


def test_a_request_may_have_a_budget_of_its_own() -> None:
    stand_in = engine(drafts_ahead=True, policy=Stubborn(lambda cycle: cycle.min_tau))
    wish = {"adaptive_spec": {"max_passes": 4}}
    stand_in.add(StandInRequest("a", max_tokens=12, extra_args=wish))
    stand_in.add(StandInRequest("b", max_tokens=12))
    driver = stand_in.steering.driver
    while "a" in stand_in.requests and "a" not in driver.spent():
        stand_in.step()
        stand_in.steering.before_schedule(stand_in.requests.values())
    passes = {one.request_id: one.passes for one in (*stand_in.requests.values(), *stand_in.done)}
    assert passes["a"] <= 4
    first = stand_in.requests.get("a") or stand_in.done[0]
    assert max(first.drafted) > 0  # the policy asks for none, and could not be done in four passes
    assert not any(stand_in.requests["b"].drafted)


def test_a_budget_of_its_own_is_left_out_where_the_next_pass_has_begun(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stand_in = engine(drafts_ahead=True, late=True)
    wish = {"adaptive_spec": {"max_passes": 1}}
    stand_in.add(StandInRequest("a", max_tokens=100, extra_args=wish))
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            stand_in.step()
    assert "--no-async-scheduling" in caplog.text
    assert stand_in.requests["a"].passes > 1


def test_padding_is_no_draft() -> None:
    """vLLM may plan -1 for a request whose prompt was cached, as if it had a draft."""
    stand_in = engine(drafts_ahead=False)
    request = StandInRequest("a", is_prefill_chunk=False, spec_token_ids=[-1] * K)
    stand_in.add(request)
    output = SimpleNamespace(
        num_scheduled_tokens={"a": 1 + K},
        total_num_scheduled_tokens=1 + K,
        scheduled_spec_decode_tokens={"a": [-1] * K},
        preempted_req_ids=None,
        num_spec_tokens_to_schedule=K,
        num_invalid_spec_tokens=None,
    )
    stand_in.steering.after_schedule(output, stand_in.requests)
    stand_in.steering.learn(output, {"a": (0, [7])}, {})
    assert stand_in.steering.totals.draft_tokens == 0


def test_drafts_that_a_grammar_refused_do_not_count() -> None:
    stand_in = engine(drafts_ahead=True, policy=Stubborn(lambda cycle: cycle.max_tau))
    stand_in.add(StandInRequest("a"))
    stand_in.step()
    output = SimpleNamespace(
        num_scheduled_tokens={"a": 1 + K},
        total_num_scheduled_tokens=1 + K,
        scheduled_spec_decode_tokens={"a": [7] * K},
        preempted_req_ids=None,
        num_spec_tokens_to_schedule=K,
        num_invalid_spec_tokens={"a": 3},
    )
    stand_in.steering.after_schedule(output, stand_in.requests)
    stand_in.steering.learn(output, {"a": (1, [7, 7])}, {})
    assert stand_in.steering.totals.draft_tokens == K - 3


def test_streaming_sessions_are_left_as_they_are() -> None:
    stand_in = engine(drafts_ahead=True)
    stand_in.add(StandInRequest("a", resumable=True))
    stand_in.step()
    assert "a" not in stand_in.steering.driver
    assert stand_in.widths == [K]


def test_a_step_that_was_not_planned_here_is_left_alone() -> None:
    stand_in = engine(drafts_ahead=True)
    output = SimpleNamespace()
    assert stand_in.steering.carried_out(output) == ()
    stand_in.steering.learn(output, {}, {})


@pytest.mark.parametrize(
    ("given_", "found"),
    [
        (None, Wishes()),
        ({"kv_transfer_params": {}}, Wishes()),
        ({"adaptive_spec": {"request_class": "free"}}, Wishes("free")),
        ({"adaptive_spec": {"max_draft_tokens": 0}}, Wishes(None, 0)),
        ({"adaptive_spec.max_passes": 7}, Wishes(max_passes=7)),
        ({"adaptive_spec.request_class": "free", "other": 1}, Wishes("free")),
    ],
)
def test_wishes_are_read(given_: Any, found: Wishes) -> None:
    assert read_wishes(given_, ByClass(("paid", "free"), (Constraints(),) * 2)) == found


@pytest.mark.parametrize(
    "wish",
    [
        "free",
        {"class": "free"},
        {"request_class": "nobody"},
        {"max_draft_tokens": -1},
        {"max_passes": 0},
        {"max_passes": True},
        {"max_passes": 2**70},
    ],
)
def test_wishes_that_cannot_be_had_are_logged(wish: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_wishes({"adaptive_spec": wish}, ByClass()) == Wishes()
    assert "extra_args" in caplog.text


def test_a_step_takes_from_its_planning_or_the_last_outcome_until_its_own() -> None:
    policy = Stubborn(lambda cycle: cycle.clip(cycle.max_tau))
    stand_in = engine(drafts_ahead=False, policy=policy)
    now = iter([10.0, 10.5, 20.0, 20.25])  # seconds at which steps are planned, and known
    stand_in.steering._clock = lambda: next(now)
    stand_in.add(StandInRequest("a", max_tokens=100))
    stand_in.step()
    stand_in.step()
    assert policy.outcomes[1].verify_ms.tolist() == pytest.approx([250.0])
