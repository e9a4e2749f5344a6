"""Live runs of a tiny model that replay must match, its drafters, and traces of what they did."""

import functools
from collections.abc import Sequence
from typing import Any

from adaptive_spec import Constraints, Controller, CostModel, Policy
from adaptive_spec.decoding import (
    Completion,
    ComposedDrafter,
    DecodingEngine,
    Drafter,
    DraftModelDrafter,
    ModelRunner,
    Request,
    StopRules,
    SyntheticDrafter,
)
from adaptive_spec.decoding.recorder import Recorder
from adaptive_spec.decoding.verification import GREEDY, VerificationRule
from adaptive_spec.simulations.simulator import CycleLog
from adaptive_spec.traces import Component, Hazards, TraceInfo, TraceSet
from tests.decoding.scripted import make_drafter, prompts
from tests.tiny_models import VOCABULARY, perturbed, tiny_llama

SEED = 5
"""Of live runs; replays are to take the same."""

SYNTHETIC = {"synthetic": Hazards(0.3), "synthetic-blocks": Hazards(hazards=(0.2, 0.5))}


@functools.cache
def model() -> Any:
    return tiny_llama()


def drafter_of(names: str, slots: int) -> Drafter:
    """The drafter of that name, or a composition of several, joined by ``+``."""
    parts = [_part(name, slots) for name in names.split("+")]
    return parts[0] if len(parts) == 1 else ComposedDrafter(parts)


def _part(name: str, slots: int) -> Drafter:
    if name in SYNTHETIC:
        oracle = DraftModelDrafter(ModelRunner(model(), slots=slots), "verifier")
        return SyntheticDrafter(oracle, SYNTHETIC[name], VOCABULARY)
    if name == "short-context":
        small = perturbed(tiny_llama())
        small.config.max_position_embeddings = 30
        return DraftModelDrafter(ModelRunner(small, slots=slots), name)
    return make_drafter(name, model(), slots)


def requests(count: int, longest: int) -> list[Request]:
    """Requests for ``longest`` tokens, and for one less each."""
    return [Request(f"r{i}", ids, longest - i) for i, ids in enumerate(prompts(count, longest=25))]


def live_engine(
    drafter: Drafter,
    policy: Policy[Any, Any],
    batch_size: int = 1,
    *,
    costs: CostModel,
    most: int,
    constraints: Constraints | None = None,
    rule: VerificationRule = GREEDY,
    record_signals: bool = False,
    measured_times: bool = False,
) -> DecodingEngine:
    """An engine that decides on ``costs``, drafts up to ``most``, and ends in two ways."""
    controller = Controller(
        policy,
        costs=costs,
        max_draft_tokens=most,
        constraints=constraints,
        seed=SEED,
        drafters=drafter.names,
    )
    return DecodingEngine(
        ModelRunner(model(), slots=batch_size),
        drafter,
        controller,
        StopRules((3, 17)),
        rule=rule,
        batch_size=batch_size,
        record_signals=record_signals,
        measured_times=measured_times,
    )


def recorded(
    drafter: Drafter,
    requests: Sequence[Request],
    done: Sequence[Completion],
    *,
    signal_depth: int = 0,
    rule: VerificationRule = GREEDY,
    certainty: bool = False,
) -> TraceSet:
    """What ``drafter``, with one slot, would have done all along these completions.

    With ``certainty`` the trace says, too, how sure the verifier was of each token.
    """
    recorder = Recorder(
        drafter,
        256,
        signal_depth=signal_depth,
        rule=rule,
        vocab_size=VOCABULARY,
        verifier=model() if certainty else None,
    )
    parts = tuple(Component(c.spec, c.drafting) for c in drafter.components)
    info = TraceInfo(
        "tiny",
        drafter.spec,
        drafter.drafting,
        rule=rule.spec,
        signal_depth=signal_depth,
        components=parts if len(parts) > 1 else (),
    )
    return TraceSet(info, tuple(map(recorder.record, requests, done)))


def assert_same_cycles(completions: list[Completion], log: CycleLog) -> None:
    """Live cycles, request by request, are those of a replay of the same sequences."""
    for i, completion in enumerate(completions):
        rows = log.sequence == i
        columns = ("position", "tau", "num_draft_tokens", "num_accepted_tokens")
        for column in (*columns, "num_emitted_tokens", "batch_size"):
            ours = [getattr(cycle, column) for cycle in completion.cycles]
            assert ours == getattr(log, column)[rows].tolist(), (completion.id, column)
