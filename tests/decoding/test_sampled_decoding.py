"""Sampled decoding through the engine: tau-invariant, reproducible, and the verifier's own."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from adaptive_spec import NumericsError
from adaptive_spec.decoding import Completion, Request
from adaptive_spec.decoding.losslessness import distribution_test, repeated, token_ranks
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.verification import (
    CoupledNoise,
    RejectionSampling,
    TypicalAcceptance,
    VerificationRule,
    make_rule,
)
from tests.decoding.scripted import (
    DRAFTERS,
    Scripted,
    Stopping,
    engine,
    generate,
    make_drafter,
    requests,
)
from tests.tiny_models import perturbed, tiny_llama

SAMPLING = SamplingParameters(temperature=0.7, top_k=20, top_p=0.95, repetition_penalty=1.05)


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_llama()


def texts(completions: list[Completion]) -> list[tuple[int, ...]]:
    return [completion.token_ids for completion in completions]


@pytest.fixture(scope="module")
def plain(model: Any) -> list[tuple[int, ...]]:
    """Plain decoding with coupled noise."""
    rule = CoupledNoise(SAMPLING, seed=3)
    return texts(engine(model, None, Scripted(tau=0), rule=rule).complete(requests(9)))


@pytest.mark.parametrize(
    ("policy", "batch_size"), [(Scripted(3), 1), (Scripted(8), 4), (Scripted(), 8)], ids=str
)
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_coupled_noise_writes_one_text_for_every_tau(
    model: Any, plain: list[tuple[int, ...]], drafter: str, policy: Scripted, batch_size: int
) -> None:
    rule = CoupledNoise(SAMPLING, seed=3)
    completions = engine(model, drafter, policy, batch_size, rule=rule).complete(requests(9))
    assert texts(completions) == plain
    cycles = [cycle for c in completions for cycle in c.cycles]
    assert any(cycle.num_accepted_tokens > 0 for cycle in cycles)
    assert any(cycle.num_accepted_tokens < cycle.num_draft_tokens for cycle in cycles)
    assert {c.rule for c in completions} == {rule.spec}
    assert all(c.lossless for c in completions)


def test_seeds_make_the_text(model: Any) -> None:
    rule = CoupledNoise(SamplingParameters(temperature=1.5))

    def decoded(*wanted: Request, seed: int = 0) -> list[tuple[int, ...]]:
        own = dataclasses.replace(rule, seed=seed)
        return texts(engine(model, "lookup", Scripted(2), 2, rule=own).complete(wanted))

    a, b = Request("a", [5, 6], 12), Request("b", [5, 6], 12)
    first, second = decoded(a, b)
    assert first != second, "requests have noise of their own"
    assert decoded(b) == [second], "whoever shares the batch"
    assert decoded(a, seed=1) != [first]
    same = [dataclasses.replace(request, seed=4) for request in (a, b)]
    assert len(set(decoded(*same))) == 1


@pytest.mark.parametrize("drafter", DRAFTERS)
def test_rejection_sampling_is_reproducible_at_any_batch_size(model: Any, drafter: str) -> None:
    rule = RejectionSampling(SAMPLING, seed=3)
    outputs = [
        texts(engine(model, drafter, Scripted(3), size, rule=rule).complete(requests(6)))
        for size in (1, 4)
    ]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("temperature", [0.0, 1e-9])
@pytest.mark.parametrize("name", ["coupled", "rejection"])
def test_temperature_zero_is_greedy(model: Any, name: str, temperature: float) -> None:
    rule = make_rule(name, SamplingParameters(temperature=temperature))
    for drafter in ("draft-model", "lookup"):
        wanted = requests(3)
        completions = engine(model, drafter, Scripted(), 2, rule=rule).complete(wanted)
        for request, completion in zip(wanted, completions, strict=True):
            expected = generate(model, request.prompt_ids, request.max_new_tokens)
            assert list(completion.token_ids) == expected


def ranks(model: Any, drafter: Any, rule: VerificationRule, policy: Scripted) -> Any:
    many = repeated(requests(6), 6, rule)
    completions = engine(model, drafter, policy, 12, rule=rule).complete(many)
    assert drafter is None or sum(c.num_accepted_tokens for c in completions) > 0
    return np.concatenate(
        [
            token_ranks(model, rule, request, completion.token_ids)
            for request, completion in zip(many, completions, strict=True)
        ]
    )


# Each test calls a correct rule wrong with probability 1e-3, over all choices of seeds.
@pytest.mark.parametrize("drafter", [None, *DRAFTERS])
@pytest.mark.parametrize("name", ["rejection", "coupled"])
def test_sampled_tokens_are_distributed_as_the_verifier_s(
    model: Any, drafter: str | None, name: str
) -> None:
    rule = make_rule(name, SAMPLING, seed=1)
    assert distribution_test(ranks(model, drafter, rule, Scripted())).p_value > 1e-3


def test_looking_inside_the_draft_does_not_bend_the_distribution(model: Any) -> None:
    rule = RejectionSampling(SamplingParameters(), seed=1)
    policy = Stopping(8, threshold=0.2)
    drafter = make_drafter("draft-model", model, 12)
    assert distribution_test(ranks(model, drafter, rule, policy)).p_value > 1e-3


def test_typical_acceptance_is_noticed_and_labelled(model: Any) -> None:
    rule = TypicalAcceptance(SAMPLING, seed=1)
    assert distribution_test(ranks(model, "draft-model", rule, Scripted())).p_value < 1e-6
    (completion,) = engine(model, None, Scripted(), rule=rule).complete(requests(1))
    assert not completion.lossless


@pytest.mark.parametrize("name", ["rejection", "coupled", "typical"])
def test_nan_logits_name_the_model(name: str) -> None:
    model = tiny_llama()
    broken = perturbed(model)
    with torch.no_grad():
        broken.lm_head.weight[7] = float("nan")
    rule = make_rule(name, SAMPLING)
    with pytest.raises(NumericsError, match="verifier"):
        engine(broken, None, Scripted(0), rule=rule).complete(requests(1))
    drafter = make_drafter("early-exit", broken, 1)
    with pytest.raises(NumericsError, match="draft model"):
        engine(model, drafter, Scripted(2), rule=rule).complete(requests(1))
