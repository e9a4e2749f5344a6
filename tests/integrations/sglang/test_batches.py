"""Rounds of a pretended SGLang: batches come and go, outcomes come late, and ranks agree."""

import logging
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec.errors import ConfigError, PolicySpecError
from adaptive_spec.integrations.configuration import Configuration
from adaptive_spec.integrations.reading import read_record
from adaptive_spec.integrations.sglang.batches import BatchSteps
from adaptive_spec.integrations.sglang.policy import attach, controller_for
from adaptive_spec.operations.operation import Operation
from adaptive_spec.operations.prometheus import common_exporter

STEPS = (0, 1, 3, 5)


class Clock:
    """Moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def batches(
    policy: str = "hazard", *, timed: bool = False, clock: Any = None, steps: Any = STEPS
) -> BatchSteps:
    controller = controller_for(Configuration(policy, costs="draft=0.1,verify=0.02"), steps, 3)
    return BatchSteps(controller, steps, 3, timed=timed, clock=clock or Clock())


def serve(
    engine: BatchSteps, sizes: list[int], chance: float, *, late: int = 0, seed: int = 0
) -> list[int]:
    """Steps of each round, whose outcomes come ``late`` rounds later."""
    random = np.random.default_rng(seed)
    waiting: deque[list[int]] = deque()
    taken = []
    for size in sizes:
        taken.append(engine.get_steps_for_batch(size))
        runs = random.geometric(1 - chance, size) - 1
        waiting.append(np.minimum(runs, taken[-1]).tolist())
        if len(waiting) > late:
            told = waiting.popleft()
            assert engine.on_verify_complete(told, len(told)) is None
    return taken


@pytest.mark.parametrize("late", [0, 1])
def test_steps_follow_acceptance(late: int) -> None:
    good = serve(batches(), [8] * 200, 0.95, late=late)
    bad = serve(batches(), [8] * 200, 0.02, late=late)
    assert np.mean(good[-50:]) > 4
    assert np.mean(bad[-50:]) < 0.5


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=30),
    st.integers(0, 2),
    st.sampled_from(["ewma", "fixed:tau=4", "hazard"]),
)
def test_any_batches_get_candidate_steps(sizes: list[int], late: int, policy: str) -> None:
    engine = batches(policy)
    assert set(serve(engine, sizes, 0.6, late=late)) <= set(STEPS)
    assert not engine.gave_up


def test_the_default_policy_serves() -> None:
    engine = batches("auto")
    assert set(serve(engine, [3] * 20, 0.6, late=1)) <= set(STEPS)
    assert not engine.gave_up


@given(st.lists(st.integers(1, 6), min_size=5, max_size=30), st.integers(0, 99))
def test_ranks_decide_alike_whatever_their_clocks(sizes: list[int], seed: int) -> None:
    first, second = Clock(), Clock()
    second.now = 1e6
    one, two = (batches("hazard", clock=clock) for clock in (first, second))
    assert serve(one, sizes, 0.7, seed=seed) == serve(two, sizes, 0.7, seed=seed)


def test_rounds_are_timed_from_when_the_one_before_was_done() -> None:
    clock, told = Clock(), []
    engine = batches("fixed:tau=3", timed=True, clock=clock)
    observe = engine._controller.observe

    def spy(*arguments: Any, **times: Any) -> Any:
        told.append(times["draft_ms"] + times["verify_ms"])
        return observe(*arguments, **times)

    engine._controller.observe = spy  # type: ignore[method-assign]
    engine.get_steps_for_batch(2)
    for _ in range(5):
        clock.now += 0.004
        engine.get_steps_for_batch(2)  # before the one before is done
        clock.now += 0.006
        engine.on_verify_complete([1, 2], 2)
    assert told == pytest.approx([10.0] * 5)
    clock.now += 5.0  # prompts were read
    engine.get_steps_for_batch(2)
    engine.on_verify_complete([1, 2], 2)
    assert told[-1] == pytest.approx(10.0, rel=0.2)
    for _ in range(20):  # not prompts, then: rounds have become slow
        clock.now += 0.2
        engine.get_steps_for_batch(2)
        engine.on_verify_complete([1, 2], 2)
    assert told[-1] == pytest.approx(200.0)


def test_rounds_without_an_outcome_do_not_count() -> None:
    engine = batches("fixed:tau=3")
    engine.get_steps_for_batch(3)
    engine.get_steps_for_batch(4)
    engine.on_verify_complete([1, 1, 0, 3], 4)
    rows = engine._controller.running
    assert engine._controller.passes(rows).tolist() == [1, 1, 1, 1]
    engine.on_verify_complete([1], 1)  # of no round that is known
    assert not engine.gave_up


def test_places_are_taken_anew() -> None:
    engine = batches("fixed:tau=5")
    serve(engine, [2] * 200, 1 - 1e-9)
    assert engine._controller.running.tolist() == [0, 1]
    assert (engine._controller.passes(engine._controller.running) < 175).all()
    serve(engine, [1], 0.5)
    assert engine._controller.running.tolist() == [0]


def test_a_failing_policy_costs_no_round(caplog: pytest.LogCaptureFixture) -> None:
    engine = batches("ewma")
    engine._controller.policy.policy = None  # type: ignore[attr-defined]
    with caplog.at_level(logging.ERROR):
        assert serve(engine, [2] * 10, 0.5) == [3] * 10
    assert len(caplog.records) == 1


def test_a_failing_controller_costs_no_round(caplog: pytest.LogCaptureFixture) -> None:
    engine = batches("ewma")
    engine._controller = None  # type: ignore[assignment]
    with caplog.at_level(logging.ERROR):
        assert serve(engine, [2] * 10, 0.5) == [3] * 10
    assert engine.gave_up
    assert [record.getMessage() for record in caplog.records] == [
        "adaptive_spec failed; SGLang goes on with 3 draft steps"
    ]


def test_sizes_of_graphs() -> None:
    engine = batches()
    assert engine.cuda_graph_bs_for_step(3) is None
    engine.set_cuda_graph_bs([8, 1, 4])
    assert engine.cuda_graph_bs_for_step(3) == [1, 4, 8]
    engine.set_cuda_graph_bs(None)
    assert engine.cuda_graph_bs_for_step(3) is None


@pytest.mark.parametrize(
    ("fields", "steps", "words"),
    [
        ({}, (1, 3), "candidate_steps = [1, 3]: 0 and"),
        ({}, (0, 1), "--speculative-num-steps = 3 must be among them"),
        ({"widths": [0, 2]}, STEPS, "[2] beyond candidate_steps"),
        ({"policy": "svip:tau=5"}, STEPS, "looks inside the draft"),
        ({"policy": "fixed:tau=9"}, STEPS, "tau = 9"),
        ({"books": "x.json"}, STEPS, "leave them out"),
        ({"constraints": {"budget": {"average_passes": 9}}}, STEPS, "which requests are in a"),
        ({"operation": {"trial": "ewma"}}, STEPS, "there is none to try, log or trace"),
        ({"operation": {"spans": True}}, STEPS, "there is none to try, log or trace"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_at_start(
    fields: dict[str, Any], steps: tuple[int, ...], words: str
) -> None:
    configuration = read_record(Configuration, fields, "test")
    with pytest.raises(ConfigError) as raised:
        controller_for(configuration, steps, 3)
    assert words in str(raised.value)


def test_an_unknown_policy_is_refused_at_start() -> None:
    with pytest.raises(PolicySpecError):
        controller_for(Configuration("no-such"), STEPS, 3)


def test_what_goes_around_a_policy_goes_around_it_here(tmp_path: Path) -> None:
    registry = pytest.importorskip("prometheus_client").REGISTRY
    file = tmp_path / "learned.npz"
    operation = Operation(metrics=True, checkpoint=str(file), save_every_s=1e-9, shadow="ewma")
    engine = batches()
    try:
        attach(operation, engine._controller, rank=0, alone=True)
        serve(engine, [4] * 30 + [2], 0.7)  # places are given back, and what was learned is kept
        name = "adaptive_spec:spec_decode_num_passes_total"
        assert registry.get_sample_value(name, {"engine": "sglang"}) == 4 * 30 + 2
    finally:
        common_exporter().forget("sglang")
    restored = batches()
    attach(Operation(checkpoint=str(file)), restored._controller, rank=0, alone=True)
    assert restored._controller.state.shared.tested.sum() > 0


def test_of_several_ranks_one_is_watched_and_all_begin_alike(tmp_path: Path) -> None:
    first, second = batches()._controller, batches()._controller
    for rank, controller in enumerate((first, second)):
        attach(Operation(shadow="ewma"), controller, rank=rank, alone=False)
    assert len(first._observers._all) == 1
    assert second._observers._all == ()
    with pytest.raises(ConfigError, match="ranks must begin alike"):
        attach(Operation(checkpoint=str(tmp_path / "x.npz")), second, rank=1, alone=False)


def test_widths_narrow_the_choice(tmp_path: Path) -> None:
    controller = controller_for(Configuration("fixed:tau=5", widths=(0, 3)), STEPS, 3)
    engine = BatchSteps(controller, STEPS, 3, timed=False)
    assert set(serve(engine, [4] * 5, 0.5)) == {3}
