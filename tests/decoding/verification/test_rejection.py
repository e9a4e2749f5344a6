"""Rejection sampling is lossless: by enumeration, and as the rule runs it."""

import itertools

import numpy as np
import pytest
import torch

from adaptive_spec import NumericsError
from adaptive_spec.decoding.draft import Draft
from adaptive_spec.decoding.sampling import Distribution, DraftDistributions, SamplingParameters
from adaptive_spec.decoding.verification import Block, RejectionSampling
from adaptive_spec.decoding.verification.rejection import (
    acceptance_probability,
    num_accepted,
    residual,
)
from tests.decoding.verification.naive import Tables, joint, one_step, p_value, sampled_blocks

DEPTH, VOCABULARY, PARTS = 2, 3, 4
# Probabilities are multiples of 1/4, so that p / q below 1 is 0, 1/4, 1/3, 1/2, 2/3 or 3/4. Between
# two multiples of 1/12 nothing changes, and these midpoints integrate over a uniform exactly.
GRID = (torch.arange(12) + 0.5) / 12


def quarters(generator: np.random.Generator, count: int) -> torch.Tensor:
    """Distributions over the vocabulary in quarters, one-hot and disjoint ones among them."""
    weights = generator.multinomial(PARTS, generator.dirichlet([0.4] * VOCABULARY), count)
    return torch.from_numpy(weights / PARTS)


@pytest.mark.parametrize("seed", range(25))
def test_emitted_blocks_have_exactly_the_verifier_s_distribution(seed: int) -> None:
    generator = np.random.default_rng(seed)
    p = [quarters(generator, VOCABULARY**k).view(*(VOCABULARY,) * (k + 1)) for k in range(3)]
    q = [quarters(generator, VOCABULARY**k).view(*(VOCABULARY,) * (k + 1)) for k in range(2)]
    emitted = torch.zeros((VOCABULARY,) * 3, dtype=torch.float64)
    uniforms = torch.cartesian_prod(GRID, GRID).double()
    cases = len(uniforms)
    for draft in itertools.product(range(VOCABULARY), repeat=DEPTH):
        p_drafted = torch.tensor([p[k][draft[: k + 1]] for k in range(DEPTH)])
        q_drafted = torch.tensor([q[k][draft[: k + 1]] for k in range(DEPTH)])
        accepted = num_accepted(
            p_drafted.expand(cases, -1),
            q_drafted.expand(cases, -1),
            uniforms,
            torch.full((cases,), DEPTH),
        )
        for stop in range(DEPTH + 1):
            weight = q_drafted.prod() * (accepted == stop).double().mean()
            own = p[stop][draft[:stop]]
            proposed = q[stop][draft[:stop]] if stop < DEPTH else torch.zeros(VOCABULARY)
            left = residual(own[None], proposed[None])[0]
            rest = left / left.sum()
            for after in range(stop, DEPTH):  # what the cycle leaves open, the verifier writes
                rest = rest[..., None] * p[after + 1][draft[:stop]]
            emitted[draft[:stop]] += weight * rest
    expected = p[0][:, None, None] * p[1][:, :, None] * p[2]
    torch.testing.assert_close(emitted, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("seed", range(25))
def test_the_mean_of_the_chance_told_is_the_rate_of_acceptance(seed: int) -> None:
    generator = np.random.default_rng(seed)
    p, q = quarters(generator, 1)[0], quarters(generator, 1)[0]
    chance = acceptance_probability(p, q)
    assert ((chance >= 0) & (chance <= 1)).all()
    # By token, the share of uniforms that accept it; over tokens drawn, what p and q share.
    for token in range(VOCABULARY):
        told, drawn = p[token].expand(12, 1), q[token].expand(12, 1)
        ones = torch.ones(12, dtype=torch.int64)
        accepted = num_accepted(told, drawn, GRID[:, None].double(), ones)
        assert chance[token].item() == pytest.approx(accepted.double().mean().item(), abs=1e-12)
    assert (q * chance).sum().item() == pytest.approx(torch.minimum(p, q).sum().item(), abs=1e-12)


@pytest.mark.parametrize("wants_certainty", [False, True])
def test_chances_are_told_as_far_as_tokens_are_tested(wants_certainty: bool) -> None:
    # The verifier gives every place 1/2, 1/4, 1/4. The first row's drafts are certain: accepted by
    # 1/2. The second's are drawn from 1/5, 4/5, 0: token 1 is accepted by 5/16, token 0 for sure.
    logits = torch.tensor([0.5, 0.25, 0.25]).log().expand(3, 3, 3)
    q = torch.tensor([0.2, 0.8, 0.0]).log().expand(1, 2, 3)
    draft = Draft([[0, 0], [0, 1], []], drawn_from=(DraftDistributions(np.array([1]), q),))
    seen = set()
    for seed in range(20):
        block = Block(
            [[1]] * 3,
            draft,
            np.array([seed] * 3, np.uint64),
            wants_certainty,
            wants_acceptance=True,
        )
        verdict = RejectionSampling().verify(logits, block)
        assert (verdict.certainty is not None) == wants_certainty
        told, count = verdict.acceptance_probability, verdict.num_accepted_tokens
        assert told is not None
        first = [0.5, 0.5] if count[0] > 0 else [0.5, np.nan]
        np.testing.assert_allclose(told, [first, [1.0, 0.3125], [np.nan] * 2], rtol=1e-6)
        seen.add((int(count[0]) > 0, int(count[1])))
    assert seen == {(one, two) for one in (False, True) for two in (1, 2)}


# Chi-square at fixed seeds, each called wrong by chance with probability 1e-3.
@pytest.mark.parametrize("certain", [False, True], ids=["drawn", "one-hot"])
@pytest.mark.parametrize("top_k", [0, 3])
def test_cycles_have_the_verifier_s_distribution(certain: bool, top_k: int) -> None:
    p, q = Tables.random(5, 1), Tables.random(5, 2)
    rule = RejectionSampling(SamplingParameters(top_k=top_k))
    if top_k:  # the tables' own top-k, made as generate makes it
        cut = [t.masked_fill(t < t.topk(top_k).values[..., -1:], -torch.inf) for t in p.logits]
        blocks, accepted = sampled_blocks(rule, Tables(tuple(cut)), q, 4000, certain=certain)
        assert p_value(blocks, Tables(tuple(cut))) > 1e-3
    else:
        blocks, accepted = sampled_blocks(rule, p, q, 4000, certain=certain)
        assert p_value(blocks, p) > 1e-3
    assert set(accepted.tolist()) == {0, 1, 2}


def test_drafter_that_knows_some_tokens_only() -> None:
    p, q = Tables.random(5, 1), Tables.random(5, 2)
    token_ids = torch.tensor([4, 0, 2])
    blocks, accepted = sampled_blocks(RejectionSampling(), p, q, 4000, token_ids=token_ids)
    assert p_value(blocks, p) > 1e-3
    assert accepted.mean() > 0.3


def test_wrong_distributions_are_noticed() -> None:
    p, q = Tables.random(5, 1), Tables.random(5, 2)
    blocks, _ = sampled_blocks(RejectionSampling(), q, q, 4000)
    assert p_value(blocks, q) > 1e-3
    assert p_value(blocks, p) < 1e-9
    assert joint(p).sum() == pytest.approx(1)


def test_equal_models_accept_everything() -> None:
    p = Tables.random(5, 1)
    _, accepted = sampled_blocks(RejectionSampling(), p, p, 500)
    assert (accepted == 2).all()


def test_no_residual_is_the_verifier_s_own_distribution() -> None:
    p = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    q = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert residual(p, q).tolist() == [[0.25, 0.75], [0.0, 0.5]]


def test_impossible_drafts_divide_by_nothing() -> None:
    p, q = torch.tensor([[0.5], [0.0]]), torch.zeros(2, 1)
    count = num_accepted(p, q, torch.full((2, 1), 0.9), torch.ones(2, dtype=torch.int64))
    assert count.tolist() == [1, 0]


def test_nothing_is_accepted_beyond_the_draft() -> None:
    ones = torch.ones(3, 4)
    count = num_accepted(ones, ones, ones * 0.5, torch.tensor([0, 2, 4]))
    assert count.tolist() == [0, 2, 4]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("top_k", [0, 2])
def test_logits_that_are_not_numbers_are_refused_where_they_count(bad: float, top_k: int) -> None:
    rule = RejectionSampling(SamplingParameters(top_k=top_k))
    logits = torch.zeros(2, 3, 200)
    logits[0, 2, 1] = bad
    seeds = np.zeros(2, np.uint64)
    with pytest.raises(NumericsError, match="verifier"):
        rule.verify(logits, Block([[1], [1]], Draft([[1, 2], []]), seeds))
    verdict = rule.verify(logits, Block([[1], [1]], Draft([[1], [0]]), seeds))
    assert len(verdict.token_ids) == 2


def test_temperature_zero_is_greedy() -> None:
    rule = RejectionSampling(SamplingParameters(temperature=0.0))
    logits = torch.tensor([[[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]]] * 2)
    q = one_step(Distribution(torch.zeros(2, 1), torch.tensor([[1], [2]])), 2)
    verdict = rule.verify(
        logits, Block([[0], [0]], Draft([[1], [2]], drawn_from=q), np.zeros(2, np.uint64))
    )
    assert verdict.token_ids == [[1, 0], [1]]
    assert verdict.num_accepted_tokens.tolist() == [1, 0]
