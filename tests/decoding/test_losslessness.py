"""The check finds what is wrong, and only that."""

from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConfigError
from adaptive_spec.decoding import ModelRunner
from adaptive_spec.decoding.losslessness import (
    BINS,
    Divergent,
    distribution_test,
    divergences,
    repeated,
    token_ranks,
)
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.verification import (
    GREEDY,
    CoupledNoise,
    GreedyMatch,
    RejectionSampling,
    Verdict,
    VerificationRule,
)
from adaptive_spec.decoding.verification.base import Block, verdict
from tests.decoding.scripted import Scripted, engine, requests
from tests.tiny_models import tiny_llama

RULES = (GREEDY, CoupledNoise(SamplingParameters(temperature=0.6, top_k=20), seed=2))


class Credulous(GreedyMatch):
    """A deliberately wrong rule: accepts every draft."""

    def verify(self, logits: Any, block: Block) -> Verdict:
        own = super().verify(logits, block)
        last = np.array([tokens[-1] for tokens in own.token_ids])
        return verdict(block.draft.num_tokens, last, block.draft.token_ids)


def found(model: Any, rule: VerificationRule, used: VerificationRule) -> list[Divergent]:
    wanted = requests(4)
    plain = {c.id: c for c in engine(model, None, Scripted(0), rule=rule).complete(wanted)}
    run = engine(model, "draft-model", Scripted(4), 2, rule=used)
    return divergences(model, rule, wanted, plain, {c.id: c for c in run.complete(wanted)})


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_nothing_is_found_where_nothing_is_wrong(rule: VerificationRule) -> None:
    assert found(tiny_llama(), rule, rule) == []


def test_a_wrong_rule_is_caught() -> None:
    caught = found(tiny_llama(), GREEDY, Credulous())
    assert caught
    for entry in caught:
        assert not entry.divergence.is_tie
        assert entry.rule == "greedy"
        assert entry.divergence.top2_margin == pytest.approx(
            entry.divergence.block_top2_margin, abs=1e-3
        )


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_wrong_cache_is_caught(rule: VerificationRule, monkeypatch: pytest.MonkeyPatch) -> None:
    def keeps_one_too_many(self: ModelRunner, rows: Any, lengths: Any) -> None:
        some = [
            min(length + 1, self.length(row)) if length else 0
            for row, length in zip(rows, lengths, strict=True)
        ]
        self.cache.truncate(rows, some)

    monkeypatch.setattr(ModelRunner, "truncate", keeps_one_too_many)
    caught = found(tiny_llama(), rule, rule)
    assert caught
    assert not any(entry.divergence.is_tie for entry in caught)


def test_another_seed_is_caught() -> None:
    rule = RULES[1]
    assert isinstance(rule, CoupledNoise)
    assert found(tiny_llama(), rule, CoupledNoise(rule.sampling, seed=3))


def test_rules_whose_outputs_depend_on_tau_are_not_compared() -> None:
    with pytest.raises(ConfigError, match="check its distribution"):
        divergences(tiny_llama(), RejectionSampling(), [], {}, {})


def test_ranks_are_uniform_for_the_right_distribution_only() -> None:
    model = tiny_llama()
    rule = RejectionSampling(SamplingParameters(temperature=0.8))
    many = repeated(requests(5), 8, rule)
    assert len({request.seed for request in many}) == 40
    completions = engine(model, None, Scripted(0), 20, rule=rule).complete(many)

    def p_value(judged_by: VerificationRule) -> float:
        ranks = [
            token_ranks(model, judged_by, request, completion.token_ids)
            for request, completion in zip(many, completions, strict=True)
        ]
        assert all(((r >= 0) & (r <= 1)).all() for r in ranks)
        return distribution_test(np.concatenate(ranks)).p_value

    assert p_value(rule) > 1e-3
    assert p_value(RejectionSampling(SamplingParameters(temperature=1.6))) < 1e-3
    assert p_value(RejectionSampling(SamplingParameters(temperature=0.8, top_k=3))) < 1e-9


def test_too_few_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 100"):
        distribution_test(np.linspace(0, 1, 5 * BINS - 1))
    assert distribution_test(np.linspace(0, 1, 5 * BINS)).p_value > 0.9
