from typing import Any

import pytest
import torch
from torch import nn

from adaptive_spec import DrafterSpecError
from adaptive_spec.decoding import ModelRunner, early_exit_drafter, early_exit_model
from tests.tiny_models import tiny_gpt2, tiny_llama, tiny_qwen2

IDS = torch.tensor([[5, 6, 7, 8]])


@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2, tiny_qwen2])
def test_runs_the_first_layers_and_leaves_the_verifier_alone(build: Any) -> None:
    model = build()
    with torch.inference_mode():
        before = model(IDS).logits
        short = early_exit_model(model, 2)
        states = model(IDS, output_hidden_states=True).hidden_states
        norm = getattr(model.base_model, "norm", None) or model.base_model.ln_f
        torch.testing.assert_close(short(IDS).logits, model.lm_head(norm(states[2])))
        torch.testing.assert_close(model(IDS).logits, before)
    assert model.config.num_hidden_layers == 3
    assert short.config.num_hidden_layers == 2
    owned = {id(parameter) for parameter in model.parameters()}
    assert {id(parameter) for parameter in short.parameters()} < owned
    ModelRunner.check(short)


@pytest.mark.parametrize("layers", [0, 3, -1])
def test_layer_counts_out_of_range_are_refused(layers: int) -> None:
    with pytest.raises(DrafterSpecError, match="allowed are 1 to 2"):
        early_exit_model(tiny_llama(), layers)


def test_models_without_one_list_of_layers_are_refused() -> None:
    model = tiny_llama()
    model.model.adapters = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    with pytest.raises(DrafterSpecError, match="no single list of 3 layers"):
        early_exit_model(model, 1)


def test_drafter_names_itself() -> None:
    drafter = early_exit_drafter(tiny_llama(), 1, slots=2)
    assert drafter.spec == "early-exit:layers=1"
    assert drafter.runner.slots == 2
    assert drafter.drafting == "token"
