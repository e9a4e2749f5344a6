"""Hard budgets through the whole machine: real policies, many requests at once, hostile drafters.

``tests/constraints/test_bucket.py`` has a drafter that watches what is decided; here acceptance is
a property of the text, as in a trace, and requests of seven classes run beside each other.
"""

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Constraints, PassBudget
from adaptive_spec._arrays import BoolArray
from adaptive_spec.simulations import least_passes
from adaptive_spec.simulations.serving import ClosedLoop, Requests, Served, serve
from adaptive_spec.traces import (
    SequenceTrace,
    TraceInfo,
    TraceSet,
    WindowedTrace,
    Windows,
    run_lengths_of,
)

PROMISED = {
    "free": Constraints(),
    "end-0": Constraints(PassBudget(2.5, hard=True, burst_passes=0.0)),
    "end-3": Constraints(PassBudget(1.0, hard=True, burst_passes=3.0)),
    "end-200": Constraints(PassBudget(4.0, hard=True, burst_passes=200.0, max_passes=9)),
    "on-0": Constraints(PassBudget(2.5, hard=True, burst_passes=0.0, when_spent="carry-on")),
    "on-3": Constraints(PassBudget(1.0, hard=True, burst_passes=3.0, when_spent="carry-on")),
    "on-200": Constraints(PassBudget(4.0, hard=True, burst_passes=200.0, when_spent="carry-on")),
}
MOST_TOKENS = 30
TEXT = 4000


def agreement(adversary: str, rng: np.random.Generator) -> list[BoolArray]:
    """Agreement bits of the texts that requests are drawn from, by how late in the run they are."""
    if adversary == "random":  # any chance of acceptance, for fifty tokens each
        return [rng.random(TEXT) < np.repeat(rng.random(TEXT // 50), 50)]
    if adversary == "alternating":  # accepted as far as a draft goes, and then not at all
        return [np.arange(TEXT) % 21 < 10]
    assert adversary == "collapsing"  # what was learned of the first tenth is wrong ever after
    return [np.ones(TEXT, np.bool_), *[np.zeros(TEXT, np.bool_)] * 9]


def served(policy: str, adversary: str, count: int) -> tuple[Served, WindowedTrace]:
    """Requests of all classes, up to 256 at a time, every cycle logged."""
    rng = np.random.default_rng(0)
    runs = [run_lengths_of(bits) for bits in agreement(adversary, rng)]
    texts = tuple(
        SequenceTrace(f"text/{i}", "", 5, own, np.ones(TEXT, np.bool_))
        for i, own in enumerate(runs)
    )
    sequence = np.arange(count) * len(texts) // count
    tokens = rng.integers(1, MOST_TOKENS + 1, count)
    begin = rng.integers(0, TEXT - MOST_TOKENS, count)
    traces = TraceSet(TraceInfo("verifier", "drafter", "token"), texts)
    windows = WindowedTrace(traces, Windows(sequence, begin, tokens, tokens))
    number = rng.integers(0, len(PROMISED), count)
    requests = Requests(np.arange(count), ClosedLoop(256), number, tuple(PROMISED))
    found = serve(
        policy,
        windows,
        requests,
        costs=ConstantCosts(0.1),
        max_batch=256,
        constraints=PROMISED,
        log_cycles=True,
    )
    return found, windows


def worst(found: Served, windows: WindowedTrace) -> dict[str, float]:
    """Passes taken beyond what is allowed, at the worst step of the engine, by class; below 0.

    Allowed are the average for every request admitted, and the burst. Where requests carry on, the
    fewest passes of each of them come on top: docs/control-policy.md.
    """
    assert found.log is not None
    requests, sequence, batch = found.requests, found.log.sequence, found.steps.batch_size
    step = np.repeat(np.arange(batch.size), batch)
    begun = np.full(requests.passes.size, batch.size)
    np.minimum.at(begun, sequence, step)  # the step of a request's first pass
    least, most = least_passes(windows), {}
    for number, (name, promised) in enumerate(PROMISED.items()):
        own, budget = requests.request_class == number, promised.budget
        if budget is None or budget.average_passes is None:
            continue
        granted = np.full(requests.passes.size, budget.average_passes)
        if budget.when_spent == "carry-on":
            granted = granted + least
        allowed = np.bincount(begun[own], granted[own], batch.size).cumsum() + budget.burst_passes
        taken = np.bincount(step[own[sequence]], minlength=batch.size).cumsum()
        most[name] = float((taken - allowed).max())
    return most


def check(policy: str, adversary: str, count: int) -> None:
    """No class is over what it is allowed at any step, and what was taken is in the books."""
    found, windows = served(policy, adversary, count)
    requests, excess = found.requests, worst(found, windows)
    assert len(excess) == 6
    assert max(excess.values()) <= 1e-6, excess
    assert (requests.passes >= 1).all()  # nobody starves
    for number, name in enumerate(PROMISED):
        own = requests.of_class(number)
        assert found.ledgers[name].passes == own.passes.sum()
        if not name.startswith("end-"):
            assert own.complete.all()


ADVERSARIES = pytest.mark.parametrize("adversary", ["random", "alternating", "collapsing"])


@ADVERSARIES
@pytest.mark.parametrize("policy", ["fixed:tau=2", "ewma"])
def test_no_class_takes_more_than_its_budget_and_its_burst(policy: str, adversary: str) -> None:
    check(policy, adversary, 1000)


@pytest.mark.slow
@ADVERSARIES
@pytest.mark.parametrize(
    ("policy", "count"),
    [("fixed:tau=2", 100_000), ("ewma", 100_000), ("marginal", 100_000), ("auto", 5000)],
)
def test_nor_do_a_hundred_thousand_requests(policy: str, count: int, adversary: str) -> None:
    check(policy, adversary, count)


def test_the_adversaries_do_spend_all_that_there_is() -> None:
    found, _ = served("fixed:tau=0", "collapsing", 1000)
    for number, name in enumerate(PROMISED):
        requests = found.requests.of_class(number)
        cut_short = float((~requests.complete).mean())
        assert (cut_short > 0.5) == name.startswith("end-"), name
