import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from adaptive_spec.decoding import ModelRunner
from adaptive_spec.decoding.drafters import early_exit_model
from adaptive_spec.decoding.forward import linears, num_weights, packing, prepare
from adaptive_spec.decoding.forward.linears import PackedLinear, Part, PiecewiseLinear, can_pack
from tests.tiny_models import tiny_gpt2, tiny_llama, tiny_qwen2, tiny_qwen3

PROMPT = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture
def packs_small_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 weights are packed whatever their size."""
    monkeypatch.setattr(packing, "_LEAST_FLOAT32_WEIGHTS", 1)


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=PROMPT).logits
        return found


@pytest.mark.usefixtures("packs_small_weights")
@pytest.mark.parametrize(
    "build",
    [tiny_llama, tiny_qwen2, tiny_qwen3, lambda: tiny_llama(tie_word_embeddings=True)],
)
def test_prepared_models_give_the_same_logits_everywhere(build: Any) -> None:
    model, prepared = build(), prepare(build())
    assert isinstance(prepared.model.layers[0].self_attn.k_proj, Part)
    assert isinstance(prepared.model.layers[2].mlp.down_proj, PackedLinear)
    torch.testing.assert_close(logits(prepared), logits(model), atol=1e-4, rtol=1e-4)
    options: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False}
    assert (
        prepared.generate(PROMPT, **options).tolist() == model.generate(PROMPT, **options).tolist()
    )
    found = ModelRunner(prepared).append([0], PROMPT.tolist())
    torch.testing.assert_close(found, logits(model), atol=1e-4, rtol=1e-4)
    ModelRunner.check(prepared)


@pytest.mark.usefixtures("packs_small_weights")
def test_preparing_twice_changes_nothing_more() -> None:
    model = prepare(tiny_llama())
    modules = list(model.modules())
    assert list(prepare(model).modules()) == modules


@pytest.mark.usefixtures("packs_small_weights")
def test_early_exit_shares_packed_weights() -> None:
    model = prepare(tiny_llama())
    short = early_exit_model(model, 1)
    assert short.model.layers[0].mlp.down_proj is model.model.layers[0].mlp.down_proj
    expected = logits(early_exit_model(tiny_llama(), 1))
    torch.testing.assert_close(logits(short), expected, atol=1e-4, rtol=1e-4)


def test_small_float32_weights_stay_as_they_are() -> None:
    model = prepare(tiny_llama())
    assert not any(isinstance(module, PackedLinear) for module in model.modules())
    assert num_weights(model) == sum(p.numel() for p in tiny_llama().parameters())


def test_tied_heads_stay_tied() -> None:
    model = prepare(tiny_llama(tie_word_embeddings=True))
    assert isinstance(model.lm_head, PiecewiseLinear)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert prepare(model).lm_head is model.lm_head


@pytest.mark.usefixtures("packs_small_weights")
def test_untied_heads_are_packed() -> None:
    assert isinstance(prepare(tiny_llama(tie_word_embeddings=False)).lm_head, PackedLinear)


@pytest.mark.usefixtures("packs_small_weights")
@pytest.mark.parametrize("build", [tiny_gpt2, lambda: tiny_llama().to(torch.float16)])
def test_other_models_are_left_alone(build: Any) -> None:
    model = build()
    before = list(model.modules())
    assert list(prepare(model).modules()) == before


@pytest.mark.usefixtures("packs_small_weights")
def test_without_packed_kernels_models_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> torch.Tensor:
        raise AttributeError("no oneDNN")

    monkeypatch.setattr(linears, "pack", missing)
    assert not can_pack(torch.float32)
    assert isinstance(prepare(tiny_llama()).model.layers[0].mlp.down_proj, nn.Linear)


def test_packed_kernels_that_come_out_wrong_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linears, "packed_linear", lambda states, *_: states[..., :48] * 0)
    assert not can_pack(torch.float32)


@pytest.mark.usefixtures("packs_small_weights")
def test_no_weight_is_kept_twice() -> None:
    model = tiny_llama()
    before = num_weights(model)
    assert num_weights(prepare(model)) == before
    left = {name for name, _ in model.named_parameters()}
    assert not any("proj" in name for name in left)


@pytest.mark.parametrize("rows", [1, 4, 12, 13])
@pytest.mark.parametrize("outputs", [1500, 1024])
def test_pieces_make_up_the_whole(rows: int, outputs: int) -> None:
    linear = nn.Linear(16, outputs, bias=False)
    whole = copy.deepcopy(linear)
    states = torch.randn(2, rows, 16)[:1]
    pieces = PiecewiseLinear(linear)
    torch.testing.assert_close(pieces(states), F.linear(states, whole.weight))
    assert pieces.weight is linear.weight
