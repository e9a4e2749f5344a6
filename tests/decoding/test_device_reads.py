"""What the host waits for, on a device that has no values to give it."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from adaptive_spec import ConstantCosts, Controller
from adaptive_spec.decoding import (
    ComposedDrafter,
    DecodingEngine,
    Drafter,
    DraftModelDrafter,
    Finished,
    ModelRunner,
    PromptLookupDrafter,
    TokensEmitted,
)
from adaptive_spec.decoding.forward import LlamaForward, StaticShapes
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.verification import RULES, make_rule
from tests.decoding.devices import STAND_IN, OneDoor, one_door
from tests.decoding.scripted import Scripted, Stopping, requests
from tests.tiny_models import tiny_gpt2, tiny_llama

SHAPES = StaticShapes((1, 2, 4, 8), 64)


def on_stand_in(model: Any) -> Any:
    """A model on the stand-in, of which the core has seen before what it is like."""
    ModelRunner(model)
    return model.to(STAND_IN)


@pytest.fixture(scope="module")
def llama() -> Any:
    return on_stand_in(tiny_llama(layers=2))


@pytest.fixture(scope="module")
def gpt2() -> Any:
    return on_stand_in(tiny_gpt2(layers=2))


def make_drafter(name: str | None, model: Any, shapes: StaticShapes | None) -> Drafter | None:
    if name is None:
        return None
    if name == "lookup":
        return PromptLookupDrafter(max_ngram=3)
    drafter = DraftModelDrafter(ModelRunner(model, slots=2, shapes=shapes), "twin")
    return drafter if name == "draft-model" else ComposedDrafter([PromptLookupDrafter(3), drafter])


def most_reads(
    door: OneDoor, model: Any, drafter: str | None, policy: Any, shapes: Any = None, **options: Any
) -> int:
    """Most reads of a cycle, over a run in which requests come and end."""
    drafts = make_drafter(drafter, model, shapes)
    names = drafts.names if drafts is not None else ("none",)
    run = DecodingEngine(
        ModelRunner(model, slots=2, capacity_tokens=64, shapes=shapes),
        drafts,
        Controller(policy, costs=ConstantCosts(), max_draft_tokens=5, drafters=names),
        batch_size=2,
        **options,
    )
    most = finished = 0
    for event in run.run(requests(3, new_tokens=11)):
        if isinstance(event, TokensEmitted):
            most = max(most, len(door.reads))
            door.reads.clear()
        finished += isinstance(event, Finished)
    assert finished == 3
    return most


@pytest.mark.parametrize("rule", RULES)
def test_device_is_read_once_a_cycle(
    llama: Any, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make_rule(rule)
    penalised = make_rule(rule, SamplingParameters(repetition_penalty=1.1))
    with one_door(monkeypatch) as door:
        for drafter in ("both", None):
            assert most_reads(door, llama, drafter, Scripted(), rule=plain) == 1
        assert most_reads(door, llama, "both", Scripted(), rule=penalised) == 1


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_static_shapes_cost_no_reads(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = request.getfixturevalue(name)
    with one_door(monkeypatch) as door:
        assert most_reads(door, model, "both", Scripted(), SHAPES) == 1
        assert most_reads(door, model, "draft-model", Scripted(2)) == 1


def test_truncated_distributions_cost_no_reads(llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = make_rule("rejection", SamplingParameters(0.7, top_k=5, top_p=0.9, min_p=0.05))
    with one_door(monkeypatch) as door:
        assert most_reads(door, llama, "both", Scripted(), rule=rule) == 1


@dataclass(frozen=True)
class Hinted(Scripted):
    takes_hints = True


@dataclass(frozen=True)
class LooksBack(Scripted):
    looks_back = True


@pytest.mark.parametrize("policy", [Hinted(), LooksBack()], ids=["hints", "looking-back"])
@pytest.mark.parametrize("rule", RULES)
def test_what_policies_are_shown_besides_takes_no_reads_of_its_own(
    llama: Any, rule: str, policy: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with one_door(monkeypatch) as door:
        for drafter in ("both", "draft-model", None):
            assert most_reads(door, llama, drafter, policy, rule=make_rule(rule)) == 1


def test_looking_at_signals_takes_reads_of_their_own(
    llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with one_door(monkeypatch) as door:
        assert most_reads(door, llama, "draft-model", Scripted(3), record_signals=True) == 1
        # Once for each token but the last, after which there is nothing to decide.
        assert most_reads(door, llama, "draft-model", Stopping(3, threshold=-1.0)) == 4


@pytest.mark.parametrize(
    "waits",
    [
        lambda t: bool(t.sum() > 0),
        lambda t: t.nonzero(),
        lambda t: t[t > 0],
        lambda t: t.cpu(),
        lambda t: t + torch.ones(3),
    ],
)
def test_hidden_reads_and_copies_are_noticed(waits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.ones(3, device=STAND_IN)
    with one_door(monkeypatch), pytest.raises((AssertionError, RuntimeError, NotImplementedError)):
        waits(values)


def test_stand_in_runs_the_lean_pass(llama: Any) -> None:
    assert isinstance(ModelRunner(llama)._forward, LlamaForward)
