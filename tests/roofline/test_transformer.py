"""Shapes of models."""

import json
from pathlib import Path
from typing import Any

import pytest

from adaptive_spec import CostsError
from adaptive_spec.roofline import Transformer
from tests.roofline.examples import LLAMA_8B
from tests.tiny_models import tiny_llama


def test_a_known_model_by_its_config() -> None:
    shape = Transformer.of_config(LLAMA_8B)
    # 8.03e9 parameters, of which 128256 * 4096 are the embedding of the input, and norms.
    assert shape.weights == pytest.approx(8_030_261_248 - 128256 * 4096, rel=1e-4)
    assert shape.kv_numbers == 2 * 32 * 8 * 128
    assert (shape.query_width, shape.kv_width, shape.inner) == (4096, 1024, 3 * 14336)


def test_weights_are_those_that_a_model_multiplies_by(tmp_path: Path) -> None:
    model: Any = tiny_llama(layers=2)
    model.save_pretrained(tmp_path)
    shape = Transformer.of_file(tmp_path)
    matrices = [p.numel() for name, p in model.named_parameters() if p.dim() == 2]
    tied = model.config.tie_word_embeddings
    embedding = 0 if tied else model.get_input_embeddings().weight.numel()
    assert shape.weights == sum(matrices) - embedding
    assert Transformer.of_file(tmp_path / "config.json") == shape


@pytest.mark.parametrize(
    ("weights", "layers", "hidden", "kv_width"),
    [(8e9, 32, 4096, 1024), (70e9, 80, 8192, 1024), (1.2e9, 16, 2048, 512)],
    ids=["Llama 3.1 8B", "Llama 3.1 70B", "Llama 3.2 1B"],
)
def test_usual_shapes_are_near_known_ones(
    weights: float, layers: int, hidden: int, kv_width: int
) -> None:
    shape = Transformer.of_size(weights)
    assert shape.weights == weights
    assert shape.layers == pytest.approx(layers, rel=0.2)
    assert shape.hidden == pytest.approx(hidden, rel=0.2)
    assert shape.kv_width <= 2 * kv_width
    assert 12 * shape.layers * shape.hidden**2 == pytest.approx(weights, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": None}, "hidden_size = None; expected an integer"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0"),
        ({"vocab_size": "many"}, "vocab_size = 'many'"),
        ({"intermediate_size": 2.5}, "intermediate_size = 2.5"),
        ({"num_local_experts": 8}, "num_local_experts = 8; how many experts"),
    ],
)
def test_configs_of_other_models_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CostsError, match=words):
        Transformer.of_config(LLAMA_8B | changes)


def test_sizes_and_files_that_are_none(tmp_path: Path) -> None:
    for weights in (0.0, -1.0, 1e20, float("nan")):
        with pytest.raises(CostsError, match="allowed are 1000 to 1e\\+14"):
            Transformer.of_size(weights)
    file = tmp_path / "config.json"
    with pytest.raises(CostsError, match="cannot be read"):
        Transformer.of_file(file)
    for text, words in (("{", "not JSON"), ("[1]", "not a JSON object")):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(CostsError, match=words):
            Transformer.of_file(tmp_path)
    file.write_text(json.dumps(LLAMA_8B), encoding="utf-8")
    assert Transformer.of_file(tmp_path).layers == 32
