"""Distributions are those from which ``generate`` of transformers draws."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import SuppressTokensLogitsProcessor

from adaptive_spec import ConfigError
from adaptive_spec.decoding.sampling import Contexts, SamplingParameters, over_vocabulary
from tests.tiny_models import VOCABULARY, tiny_llama

SETTINGS: list[dict[str, Any]] = [
    {"temperature": 0.7},
    {"temperature": 1.3, "top_k": 5},
    {"temperature": 0.7, "top_p": 0.8},
    {"temperature": 2.0, "min_p": 0.1},
    {"repetition_penalty": 1.5},
    {"temperature": 0.6, "top_k": 20, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.2},
]


def contexts(texts: list[list[int]], vocab_size: int = VOCABULARY) -> Contexts:
    count = len(texts)
    zeros = np.zeros(count, np.int64)
    seeds = np.arange(count).astype(np.uint64)
    device = torch.device("cpu")
    return Contexts(texts, seeds, np.arange(count), zeros, None, vocab_size, device)


@pytest.mark.parametrize("processors", [(), (SuppressTokensLogitsProcessor([3, 5]),)])
@pytest.mark.parametrize("given", SETTINGS)
def test_distributions_are_those_of_generate(
    given: dict[str, Any], processors: tuple[Any, ...]
) -> None:
    model = tiny_llama()
    prompt = [5, 6, 7, 5, 6]
    torch.manual_seed(0)
    output = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones((1, len(prompt)), dtype=torch.int64),
        do_sample=True,
        max_new_tokens=6,
        pad_token_id=0,
        logits_processor=list(processors),
        output_scores=True,
        output_logits=True,
        return_dict_in_generate=True,
        **{"top_k": 0, **given},
    )
    text = output.sequences[0].tolist()
    texts = [text[: len(prompt) + i] for i in range(len(output.scores))]
    parameters = SamplingParameters(**given, processors=processors)
    distribution = parameters.distribution(torch.cat(output.logits), contexts(texts))
    ours = over_vocabulary(distribution.probabilities(), distribution.token_ids, VOCABULARY, 0.0)
    torch.testing.assert_close(ours, torch.cat(output.scores).softmax(-1), atol=1e-6, rtol=1e-5)


def test_candidates_of_top_k_are_those_of_the_whole_vocabulary() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 2000, generator=generator).mul(3).bfloat16()  # many ties
    parameters = SamplingParameters(temperature=0.7, top_k=50, top_p=0.9, min_p=0.01)
    texts = contexts([[1]] * 4, 2000)
    narrow = parameters.distribution(logits, texts)
    assert narrow.scores.shape[1] < 200
    ours = over_vocabulary(narrow.probabilities(), narrow.token_ids, 2000, 0.0)
    scores = logits.float()
    for warper in parameters._warpers:
        scores = warper(None, scores)
    torch.testing.assert_close(ours, scores.softmax(-1), atol=1e-6, rtol=1e-5)
    assert ((ours > 0) == (scores > -torch.inf)).all()


def test_temperature_goes_to_zero() -> None:
    logits = torch.tensor([[1.0, 4.0, 3.9, 4.0]])
    for temperature in (1e-3, 1e-12, 1e-29):
        parameters = SamplingParameters(temperature=temperature)
        p = parameters.distribution(logits, contexts([[1]])).probabilities()
        assert p.tolist() == [[0, 0.5, 0, 0.5]]
    for temperature in (0.0, 1e-44):
        parameters = SamplingParameters(temperature=temperature, top_k=2)
        certain = parameters.distribution(logits, contexts([[1]]))
        assert certain.ids().tolist() in ([[1]], [[3]])
        assert certain.probabilities().tolist() == [[1.0]]


def test_logits_of_some_tokens() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    ids = torch.tensor([9, 4, 6])
    for given in ({}, {"top_k": 2}, {"temperature": 0.0}, {"repetition_penalty": 1.5}):
        distribution = SamplingParameters(**given).distribution(  # type: ignore[arg-type]
            logits, contexts([[4, 8]], 12), ids
        )
        p = over_vocabulary(distribution.probabilities(), distribution.token_ids, 12, 0.0)
        assert p.shape == (1, 12)
        assert set(p.nonzero()[:, 1].tolist()) <= {9, 4, 6}
        assert int(p.argmax()) == 6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 1.5),
        ("repetition_penalty", 0.0),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} = .*; it must be "):
        SamplingParameters(**{name: value})  # type: ignore[arg-type]
