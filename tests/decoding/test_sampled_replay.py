"""Coupled noise replays exactly whoever drafts: compositions, trimmed drafts, synthetic drafters.

With all that reads the text or narrows the vocabulary at once, and requests that share a prompt.
"""

import functools
from typing import Any

import numpy as np
import pytest
import torch

from adaptive_spec import ConstantCosts, Controller, make_policy
from adaptive_spec.decoding import (
    Completion,
    ComposedDrafter,
    CoupledNoise,
    DecodingEngine,
    Drafter,
    DraftModelDrafter,
    GreedyMatch,
    ModelRunner,
    PromptLookupDrafter,
    RejectionSampling,
    Request,
    SamplingParameters,
    VerificationRule,
)
from adaptive_spec.decoding.losslessness import distribution_test, repeated, token_ranks
from adaptive_spec.decoding.trimmed_draft import TrimmedDraft, new_draft, own_weights
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.simulations.validation import ShownCycle, validate_cycles
from tests.decoding.replayed import SEED, drafter_of, model, recorded
from tests.decoding.scripted import Scripted, Stopping, prompts
from tests.tiny_models import VOCABULARY, perturbed

COSTS = ConstantCosts(0.1)
MOST = 6
SAMPLING = SamplingParameters(temperature=0.8, top_k=30, top_p=0.95, repetition_penalty=1.1)
RULES = (
    CoupledNoise(SAMPLING, seed=3),
    GreedyMatch(SamplingParameters(repetition_penalty=1.3)),
)
SPECS = ("synthetic", "trimmed", "lookup+trimmed", "lookup+trimmed+synthetic-blocks")


@functools.cache
def trimmed() -> TrimmedDraft:
    """The first layers of a model much like the verifier, every other token, a short context."""
    like = perturbed(model())
    draft = new_draft(like, 2, range(0, VOCABULARY, 2))
    weights = like.state_dict()
    with torch.no_grad():
        for name, value in own_weights(draft).items():
            value.copy_(weights[name])
    draft.model.config.max_position_embeddings = 14  # whoever comes last drafts beyond
    return draft


def part(name: str, slots: int) -> Drafter:
    if name == "lookup":
        return PromptLookupDrafter(max_ngram=3, min_ngram=1)
    if name == "trimmed":
        draft = trimmed()
        runner = ModelRunner(draft.model, slots=slots)
        return DraftModelDrafter(runner, "trimmed", token_ids=draft.token_ids)
    return drafter_of(name, slots)


def drafter(spec: str, slots: int) -> Drafter:
    parts = [part(name, slots) for name in spec.split("+")]
    return ComposedDrafter(parts) if len(parts) > 1 else parts[0]


def requests() -> list[Request]:
    twice = [ids for ids in prompts(3, longest=25) for _ in range(2)]
    return [Request(f"r{i}", ids, 16 - i) for i, ids in enumerate(twice)]


def live(
    spec: str, policy: Any, rule: VerificationRule, wanted: list[Request], batch_size: int = 3
) -> list[Completion]:
    proposing = drafter(spec, batch_size)
    return DecodingEngine(
        ModelRunner(model(), slots=batch_size),
        proposing,
        Controller(policy, costs=COSTS, max_draft_tokens=MOST, seed=SEED, drafters=proposing.names),
        rule=rule,
        batch_size=batch_size,
        measured_times=False,
    ).complete(wanted)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("spec", SPECS)
def test_every_cycle_is_replayed(spec: str, rule: VerificationRule) -> None:
    proposing = drafter(spec, 1)
    plain = live(spec, make_policy("fixed:tau=0"), rule, requests())
    traces = recorded(proposing, requests(), plain, signal_depth=MOST, rule=rule)
    policies = [Scripted(), Stopping(MOST, threshold=0.05)]
    for policy in policies[: len(proposing.names)]:  # a synthetic drafter alone gives no signal
        completions = live(spec, policy, rule, requests())
        assert [c.token_ids for c in completions] == [c.token_ids for c in plain]
        log = replay(
            policy,
            traces,
            costs=COSTS,
            max_draft_tokens=MOST,
            seed=SEED,
            concurrency=3,
            log_cycles=True,
        ).log
        assert log is not None
        shown = {
            c.id: [ShownCycle(y.tau, y.num_accepted_tokens, y.drafter) for y in c.cycles]
            for c in completions
        }
        assert validate_cycles(shown, traces, log).differences == ()
        drafted = {share.name for c in completions for share in c.drafters}
        assert len(drafted) >= min(len(proposing.names), 2)


# Calls a correct rule wrong with probability 1e-3, over all choices of seeds.
def test_rejection_sampling_from_mixed_drafts_keeps_the_distribution() -> None:
    rule = RejectionSampling(SAMPLING, seed=1)
    many = repeated(requests()[::2], 4, rule)
    completions = live("lookup+trimmed", Scripted(), rule, many, 12)
    ranks = [
        token_ranks(model(), rule, request, completion.token_ids)
        for request, completion in zip(many, completions, strict=True)
    ]
    assert distribution_test(np.concatenate(ranks)).p_value > 1e-3
