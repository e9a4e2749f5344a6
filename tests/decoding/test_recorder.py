import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adaptive_spec import ConfigError, NumericsError
from adaptive_spec.decoding import (
    ComposedDrafter,
    Drafter,
    DraftModelDrafter,
    ModelRunner,
    PromptLookupDrafter,
)
from adaptive_spec.decoding.drafters import DraftRequest, KnownOutputs, early_exit_drafter
from adaptive_spec.decoding.recorder import Recorder
from adaptive_spec.decoding.requests import Completion, FinishReason, Request
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.verification import make_rule
from adaptive_spec.simulations.signals import SignalSource
from adaptive_spec.traces import (
    Component,
    SequenceTrace,
    TraceInfo,
    TraceSet,
    read_trace,
    write_trace,
)
from tests.decoding.scripted import Scripted, engine, requests
from tests.tiny_models import perturbed, tiny_llama
from tests.traces.examples import same_trace

DEPTH = 6
DRAFTERS = ("lookup", "early-exit", "draft-model", "short-context")


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_llama()


@pytest.fixture(scope="module")
def decoded(model: Any) -> list[tuple[Request, Completion]]:
    wanted = [dataclasses.replace(r, max_new_tokens=26) for r in requests(6)]
    completions = {c.id: c for c in engine(model, None, Scripted(0), 3).complete(wanted)}
    return [(request, completions[request.id]) for request in wanted]


def make(name: str, model: Any) -> Drafter:
    if name == "lookup":
        return PromptLookupDrafter(max_ngram=3)
    if name == "early-exit":
        return early_exit_drafter(model, 2, slots=1)
    twin = perturbed(model, 0.1)
    if name == "short-context":
        twin.config.max_position_embeddings = 40
    return DraftModelDrafter(ModelRunner(twin, slots=1), name)


def propose(drafter: Drafter, text: list[int], tau: int) -> tuple[list[int], Any]:
    """What a drafter says live after a text, tokens and signals ``[tau]``."""
    drafter.begin(0, text)
    draft = drafter.propose(DraftRequest([0], [text], np.array([tau]), want_signals=True))
    drafter.end(0)
    return draft.token_ids[0], draft.signals


@pytest.mark.parametrize("name", DRAFTERS)
def test_a_trace_is_what_the_drafter_says_live_at_every_position(
    model: Any, decoded: list[tuple[Request, Completion]], name: str
) -> None:
    drafter = make(name, model)
    recorder = Recorder(drafter, 256, signal_depth=DEPTH)
    compared = reached = 0
    for request, completion in decoded:
        sequence = recorder.record(request, completion)
        info = TraceInfo("v", name, drafter.drafting, signal_depth=DEPTH)
        source = SignalSource.of(TraceSet(info, (sequence,)))
        prompt, output = list(request.prompt_ids), list(completion.token_ids)
        reach = len(output) if drafter.context_limit is None else sequence.draftable_tokens
        assert reach is not None
        for p in range(min(len(output), reach)):
            # Beyond the output's end the drafter goes on alone: run lengths end there.
            tokens, signals = propose(drafter, prompt + output[:p], min(DEPTH, reach - p))
            matching = [a == b for a, b in zip(tokens, output[p:], strict=False)]
            run = matching.index(False) if False in matching else len(matching)
            assert min(int(sequence.run_lengths[p]), len(tokens)) == run
            assert bool(sequence.proposes[p]) == bool(tokens)
            if not tokens:
                continue
            replayed = source.at(np.array([0]), np.array([p]), len(tokens))
            for live, kept in zip(signals, replayed, strict=True):
                np.testing.assert_allclose(kept[0], live[0, : len(tokens)], atol=1e-4)
                compared += int(np.isfinite(kept).sum())
        reached += len(output) > reach
    assert compared > 100
    assert (reached > 0) == (name == "short-context")


def test_a_drafter_of_a_composed_trace_is_as_if_recorded_alone(
    model: Any, decoded: list[tuple[Request, Completion]], tmp_path: Path
) -> None:
    def recorded(drafter: Drafter) -> TraceSet:
        recorder = Recorder(drafter, 256, signal_depth=DEPTH)
        parts = tuple(Component(c.spec, c.drafting) for c in drafter.components)
        info = TraceInfo(
            *("v", drafter.spec, drafter.drafting),
            signal_depth=DEPTH,
            components=parts if len(parts) > 1 else (),
        )
        path = tmp_path / "trace.parquet"
        path.unlink(missing_ok=True)
        write_trace(TraceSet(info, tuple(recorder.record(*pair) for pair in decoded)), path)
        return read_trace(path)

    names = ("lookup", "early-exit", "short-context")
    composed = recorded(ComposedDrafter([make(name, model) for name in names]))
    for name, other in zip(names, composed.info.drafter_names, strict=True):
        alone = recorded(make(name, model))
        assert all(sequence.signals for sequence in alone)
        assert same_trace(composed.only(other), alone)


def test_what_is_recorded_of_a_request(
    model: Any, decoded: list[tuple[Request, Completion]]
) -> None:
    request, completion = decoded[3]
    sequence = Recorder(make("lookup", model), 60).record(request, completion)
    assert (sequence.id, sequence.category) == (request.id, request.category)
    assert sequence.prompt_tokens == len(request.prompt_ids)
    assert sequence.limit_tokens == min(26, 60 - len(request.prompt_ids))
    assert sequence.draftable_tokens is None
    assert sequence.finish_reason == completion.finish_reason
    assert sequence.prompt_ids is not None
    assert sequence.prompt_ids.tolist() == list(request.prompt_ids)
    assert sequence.output_ids is not None
    assert sequence.output_ids.tolist() == list(completion.token_ids)


def test_beyond_the_drafter_s_context_nothing_is_drafted(
    model: Any, decoded: list[tuple[Request, Completion]]
) -> None:
    recorder = Recorder(make("short-context", model), 256)
    for request, completion in decoded:
        sequence = recorder.record(request, completion)
        assert sequence.draftable_tokens == max(40 - len(request.prompt_ids), 0)
        assert not sequence.run_lengths[sequence.draftable_tokens :].any()


@pytest.mark.parametrize("name", DRAFTERS)
@pytest.mark.parametrize("depth", [0, 1])
def test_signals_are_kept_as_deep_as_asked(
    model: Any, decoded: list[tuple[Request, Completion]], name: str, depth: int
) -> None:
    request, completion = decoded[1]
    drafter = make(name, model)
    shallow = Recorder(drafter, 256, signal_depth=depth).record(request, completion)
    deep = Recorder(drafter, 256, signal_depth=DEPTH).record(request, completion)
    assert np.array_equal(shallow.run_lengths, deep.run_lengths)
    if depth == 0:
        assert shallow.signals == {}
        return
    for key, signal in shallow.signals.items():
        assert signal.later.shape[1] == 0
        np.testing.assert_array_equal(signal.first, deep.signals[key].first)


def test_the_order_of_requests_does_not_matter(
    model: Any, decoded: list[tuple[Request, Completion]]
) -> None:
    def record(pairs: list[tuple[Request, Completion]]) -> dict[str, SequenceTrace]:
        recorder = Recorder(make("draft-model", model), 256)
        return {request.id: recorder.record(request, done) for request, done in pairs}

    forth, back = record(decoded), record(decoded[::-1])
    for name, sequence in forth.items():
        assert np.array_equal(sequence.run_lengths, back[name].run_lengths)


def test_broken_logits_are_told(model: Any, decoded: list[tuple[Request, Completion]]) -> None:
    broken = perturbed(model)
    with torch.no_grad():
        broken.lm_head.weight.fill_(torch.nan)
    recorder = Recorder(DraftModelDrafter(ModelRunner(broken), "broken"), 256)
    with pytest.raises(NumericsError, match="not finite"):
        recorder.record(*decoded[1])


def test_unknown_drafters_are_refused() -> None:
    class Other(PromptLookupDrafter):
        pass

    Recorder(Other(), 256)  # a kind of a known one
    with pytest.raises(ConfigError, match="drafters of type KnownOutputs are not known"):
        Recorder(KnownOutputs({}), 256)


@pytest.mark.parametrize("rule", ["rejection", "typical"])
def test_rules_whose_outputs_depend_on_tau_are_refused(rule: str) -> None:
    with pytest.raises(ConfigError, match=f"{rule}.*use the rule 'coupled'"):
        Recorder(PromptLookupDrafter(), 32, rule=make_rule(rule))


def test_rules_that_read_the_text_need_the_vocabulary() -> None:
    rule = make_rule("coupled", SamplingParameters(repetition_penalty=1.1))
    with pytest.raises(ConfigError, match="vocab_size"):
        Recorder(PromptLookupDrafter(), 256, rule=rule)


@pytest.mark.parametrize("reason", ["budget", "cancelled"])
def test_outputs_that_were_cut_short_are_refused(
    decoded: list[tuple[Request, Completion]], reason: FinishReason
) -> None:
    request, completion = decoded[0]
    cut = dataclasses.replace(completion, finish_reason=reason)
    with pytest.raises(ConfigError, match=rf"ended early \({reason}\)"):
        Recorder(PromptLookupDrafter(), 256).record(request, cut)
