"""The synthetic drafter: exact output, exact replay, and just the rejections prescribed."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConfigError, ConstantCosts, Controller, Policy, make_policy
from adaptive_spec.decoding import (
    Completion,
    DecodingEngine,
    DraftModelDrafter,
    KnownOutputs,
    ModelRunner,
    Request,
    SyntheticDrafter,
)
from adaptive_spec.decoding.drafters import DraftRequest
from adaptive_spec.decoding.recorder import Recorder
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces import Hazards, TraceInfo, TraceSet
from tests.decoding.scripted import Scripted, prompts
from tests.tiny_models import VOCABULARY, tiny_llama

KINDS = [
    Hazards(0.3),
    Hazards(hazards=(0.5, 0.3, 0.2)),
    Hazards(0.1, burst=0.8, enter=0.1),
]
COSTS = ConstantCosts(0.1)


@functools.cache
def model() -> Any:
    return tiny_llama(layers=2)


def requests() -> list[Request]:
    return [Request(f"r{i}", ids, 24 - i) for i, ids in enumerate(prompts(6, longest=20))]


def decode(drafter: Any, policy: Policy[Any, Any], batch_size: int = 1) -> list[Completion]:
    controller = Controller(policy, costs=COSTS, max_draft_tokens=8, seed=2)
    runner = ModelRunner(model(), slots=batch_size)
    engine = DecodingEngine(
        runner, drafter, controller, batch_size=batch_size, measured_times=False
    )
    return engine.complete(requests())


@functools.cache
def plain() -> Mapping[tuple[int, ...], tuple[int, ...]]:
    done = decode(None, make_policy("fixed:tau=0"))
    return {tuple(r.prompt_ids): c.token_ids for r, c in zip(requests(), done, strict=True)}


def synthetic(hazards: Hazards, oracle: str, slots: int = 1) -> SyntheticDrafter:
    told = KnownOutputs(plain()) if oracle == "told" else None
    asked = told or DraftModelDrafter(ModelRunner(model(), slots=slots), "verifier")
    return SyntheticDrafter(asked, hazards, VOCABULARY)


@pytest.mark.parametrize("oracle", ["told", "verifier"])
@pytest.mark.parametrize("hazards", KINDS, ids=str)
def test_output_is_plain_and_every_cycle_replays(hazards: Hazards, oracle: str) -> None:
    drafter = synthetic(hazards, oracle, slots=3)
    recorder = Recorder(drafter, 256)
    completions = decode(drafter, Scripted(), 3)
    for request, completion in zip(requests(), completions, strict=True):
        assert completion.token_ids == plain()[tuple(request.prompt_ids)]
    sequences = tuple(map(recorder.record, requests(), completions))
    traces = TraceSet(TraceInfo("tiny", drafter.spec, drafter.drafting), sequences)
    assert traces.info.drafter.startswith("synthetic:")
    log = replay(
        Scripted(), traces, costs=COSTS, max_draft_tokens=8, seed=2, concurrency=3, log_cycles=True
    ).log
    assert log is not None
    for i, completion in enumerate(completions):
        rows = log.sequence == i
        columns = ("position", "tau", "num_draft_tokens", "num_accepted_tokens")
        for column in columns:
            ours = [getattr(cycle, column) for cycle in completion.cycles]
            assert ours == getattr(log, column)[rows].tolist()
    assert {cycle.drafter for c in completions for cycle in c.cycles} == {"synthetic", None}


@pytest.mark.parametrize("hazards", KINDS, ids=str)
def test_a_token_is_right_or_certainly_wrong(hazards: Hazards) -> None:
    drafter = synthetic(hazards, "told")
    for prompt, output in plain().items():
        drafter.begin(0, prompt)
        for position in range(len(output) - 1):
            text = [*prompt, *output[:position]]
            tau = min(8, len(output) - position)
            (block,) = drafter.propose(DraftRequest([0], [text], np.array([tau]))).token_ids
            wanted = output[position : position + tau]
            same = [a == b for a, b in zip(block, wanted, strict=True)]
            number, _ = drafter._prompts[0]
            assert same == hazards.accepts(number, position, tau).tolist()
            assert all(0 <= token < VOCABULARY for token in block)


def test_a_policy_may_stop_a_synthetic_draft() -> None:
    drafter = synthetic(Hazards(0.0), "told")
    prompt = next(iter(plain()))
    drafter.begin(0, prompt)
    draft = drafter.propose(
        DraftRequest(
            [0],
            [list(prompt)],
            np.array([5]),
            keep_drafting=lambda depth, signals: np.array([depth < 2]),
        )
    )
    assert draft.num_tokens.tolist() == [2]
    assert draft.signals is not None
    assert np.isnan(np.stack(draft.signals)).all()


def test_an_output_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="none for the prompt of 3 tokens"):
        KnownOutputs({}).begin(0, [1, 2, 3])
