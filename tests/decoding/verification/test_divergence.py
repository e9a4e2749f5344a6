import pytest
import torch

from adaptive_spec.decoding import Request, explain_divergence
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.verification import CoupledNoise
from tests.decoding.scripted import Scripted, engine, generate
from tests.tiny_models import VOCABULARY, tiny_llama


def test_divergence_tells_ties_from_errors() -> None:
    model = tiny_llama()
    plain = generate(model, [5, 6], 8)
    assert explain_divergence(model, [5, 6], plain, list(plain)) is None
    with torch.inference_mode():
        logits = model(torch.tensor([[5, 6, *plain[:3]]])).logits[0, -1]
    second = int(logits.topk(2).indices[1])
    margin = float(logits.max() - logits[second])
    other = [*plain[:3], second, *plain[4:]]
    found = explain_divergence(model, [5, 6], plain, other)
    assert found is not None
    assert (found.position, found.plain_id, found.other_id) == (3, plain[3], second)
    assert found.margin == pytest.approx(margin, rel=1e-5)
    assert not found.is_tie
    assert found.top2_margin == pytest.approx(margin, rel=1e-5)
    block = explain_divergence(model, [5, 6], plain, other, block=(1, 4))
    assert block is not None
    assert block.block_top2_margin == pytest.approx(margin, abs=1e-4)
    swapped = explain_divergence(model, [5, 6], other, plain, tolerance=margin * 1.01)
    assert swapped is not None
    assert swapped.is_tie


def test_output_that_ends_early_is_no_tie() -> None:
    found = explain_divergence(tiny_llama(), [5], [1, 2, 3], [1, 2])
    assert found is not None
    assert (found.position, found.plain_id, found.other_id) == (2, 3, None)
    assert not found.is_tie


def test_tie_between_two_that_are_not_the_largest_is_an_error() -> None:
    model = tiny_llama()
    with torch.no_grad():
        model.lm_head.weight[1] = model.lm_head.weight[0]
    with torch.inference_mode():
        best = int(model(torch.tensor([[5]])).logits[0, -1].argmax())
    assert best > 1
    found = explain_divergence(model, [5], [0], [1])
    assert found is not None
    assert not found.is_tie


def test_scores_of_coupled_noise_are_those_it_chooses_by() -> None:
    model = tiny_llama()
    rule = CoupledNoise(SamplingParameters(temperature=0.5, top_k=8), seed=2)
    request = Request("a", [5, 6], 8)
    (completion,) = engine(model, None, Scripted(), rule=rule).complete([request])
    plain = list(completion.token_ids)
    seed = request.noise_seed(2)
    margins = []
    for token in range(VOCABULARY):
        if token != plain[3]:
            other = [*plain[:3], token]
            found = explain_divergence(model, [5, 6], plain[:4], other, rule=rule, seed=seed)
            assert found is not None
            assert found.margin > 0, "no token beats the one that was drawn"
            margins.append(found.margin)
    assert min(margins) == pytest.approx(found.top2_margin)
    assert margins.count(float("inf")) == VOCABULARY - 8, "top-k excludes the others"
