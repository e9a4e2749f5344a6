"""Budgets and deadlines end a text where it stands."""

import threading
from typing import Any

import pytest

from adaptive_spec import ConstantCosts, Constraints, LatencyTarget, PassBudget
from adaptive_spec.integrations.transformers import adaptive, adaptive_generate
from tests.integrations.transformers.pair import (
    DRAFTERS,
    NEW_TOKENS,
    PROMPT,
    draft,
    drafts_by,
    generate,
    model,
    tokens,
)


@pytest.mark.parametrize("drafter", DRAFTERS)
def test_a_request_ends_when_its_passes_are_spent(drafter: str) -> None:
    constraints = Constraints(PassBudget(max_passes=4))
    options = {"constraints": constraints, "keep_cycles": True}
    with adaptive(model(), "fixed:tau=2", **options) as run:  # type: ignore[arg-type]
        text = tokens(generate(**drafts_by(drafter), max_new_tokens=40))
    [done] = run.completions
    assert done.finish_reason == "budget"
    assert run.statistics.finish_reasons == {"budget": 1}
    assert run.statistics.passes == run.statistics.ledger.passes == 4
    assert text == tokens(generate(max_new_tokens=40))[: len(text)]
    assert len(text) == len(PROMPT) + run.statistics.emitted


def test_a_text_that_ends_in_its_last_pass_was_not_cut_short() -> None:
    with adaptive(model(), "fixed:tau=0", constraints=Constraints(PassBudget(max_passes=5))) as run:
        generate(assistant_model=draft(), max_new_tokens=5)
    assert run.statistics.finish_reasons == {"length": 1}


def test_a_request_ends_when_its_time_is_over() -> None:
    # In the cost model's time, so that the machine's doesn't matter: 1 ms a pass.
    given = adaptive_generate(
        "fixed:tau=0",
        assistant_model=draft(),
        costs=ConstantCosts(),
        measured_times=False,
        constraints=Constraints(latency=LatencyTarget(deadline_ms=6.0)),
    )
    text = tokens(generate(custom_generate=given))
    assert given.run.statistics.finish_reasons == {"deadline": 1}
    assert given.run.statistics.passes == 6
    assert text == tokens(generate())[: len(text)]


def test_what_was_read_counts_towards_the_deadline() -> None:
    with adaptive(
        model(), "fixed:tau=0", constraints=Constraints(latency=LatencyTarget(deadline_ms=0.01))
    ) as run:
        generate(assistant_model=draft())
    assert run.statistics.finish_reasons == {"deadline": 1}
    assert run.statistics.passes == 1


def test_plans_that_are_not_carried_out_cost_nothing() -> None:
    budget = PassBudget(average_passes=3, hard=True, burst_passes=2)
    with adaptive(model(), "fixed:tau=0", constraints=Constraints(budget)) as run:
        for _ in range(3):
            generate(assistant_model=draft(), max_new_tokens=2)
        generate(assistant_model=draft())
    # Three times one pass was left over, and the pool holds two.
    assert run.statistics.ledger.passes == run.statistics.passes == 3 * 2 + 3 + 2


def test_threads_cannot_spend_the_same_credit() -> None:
    budget, requests = PassBudget(average_passes=3, hard=True, burst_passes=4), 5
    texts: list[Any] = []
    assert draft() is not None
    with adaptive(model(), "fixed:tau=0", constraints=Constraints(budget)) as run:
        threads = [
            threading.Thread(target=lambda: texts.append(tokens(generate(assistant_model=draft()))))
            for _ in range(requests)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = run.statistics
    assert found.passes == found.ledger.passes <= 3 * requests + 4
    assert found.requests == len(texts) == requests
    plain = tokens(generate())
    assert all(text == plain[: len(text)] for text in texts)


def test_requests_belong_to_classes() -> None:
    constraints = {
        "chat": Constraints(PassBudget(max_passes=2)),
        "batch": Constraints(),
    }
    with adaptive(model(), "fixed:tau=0", constraints=constraints) as run:
        generate(assistant_model=draft())
        run.request_class = "batch"
        generate(assistant_model=draft())
    ledgers = run.controller.ledgers
    assert ledgers["chat"].passes == 2
    assert ledgers["batch"].passes == NEW_TOKENS
