"""Coupled noise: the verifier's distribution, one text for every draft."""

import numpy as np
import pytest
import torch

from adaptive_spec.decoding.draft import Draft
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.verification import Block, CoupledNoise
from tests.decoding.verification.naive import Tables, p_value, sampled_blocks


def test_blocks_have_the_verifier_s_distribution() -> None:
    p, q = Tables.random(5, 1), Tables.random(5, 2)
    blocks, accepted = sampled_blocks(CoupledNoise(), p, q, 4000)
    assert p_value(blocks, p) > 1e-3  # called wrong by chance with probability 1e-3
    assert set(accepted.tolist()) == {0, 1, 2}


def test_tokens_emitted_do_not_depend_on_the_draft() -> None:
    p = Tables.random(5, 1)
    drafted, _ = sampled_blocks(CoupledNoise(), p, Tables.random(5, 2), 300)
    fixed, accepted = sampled_blocks(CoupledNoise(), p, p, 300, certain=True)
    assert (drafted[:, 0] == fixed[:, 0]).all()
    both = accepted > 0
    assert 0 < both.sum() < 300


def test_equal_models_accept_everything() -> None:
    p = Tables.random(5, 1)
    _, accepted = sampled_blocks(CoupledNoise(), p, p, 500)
    assert (accepted == 2).all()


def test_acceptance_is_at_least_what_the_theory_says() -> None:
    p, q = Tables.random(5, 1), Tables.random(5, 2)
    _, accepted = sampled_blocks(CoupledNoise(), p, q, 4000)
    distance = float((p.logits[0].softmax(-1) - q.logits[0].softmax(-1)).abs().sum() / 2)
    assert (accepted > 0).mean() > (1 - distance) / (1 + distance) - 0.02


@pytest.mark.parametrize("given", [{"top_k": 2}, {"top_p": 0.6}, {"min_p": 0.5}])
def test_excluded_tokens_are_never_drawn(given: dict[str, float]) -> None:
    rule = CoupledNoise(SamplingParameters(**given))  # type: ignore[arg-type]
    logits = torch.tensor([0.0, 3.0, 2.8, -1.0]).expand(2000, 1, 4)
    block = Block([[0]] * 2000, Draft([[]] * 2000), np.arange(2000).astype(np.uint64))
    drawn = [tokens[0] for tokens in rule.verify(logits, block).token_ids]
    assert set(drawn) == {1, 2}
