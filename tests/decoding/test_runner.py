from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, MambaConfig, MambaForCausalLM, T5Config
from transformers import T5ForConditionalGeneration as T5Model

from adaptive_spec import ModelLoadError
from adaptive_spec.decoding import ModelRunner
from tests.tiny_models import VOCABULARY, tiny_gpt2, tiny_llama, tiny_mistral, tiny_qwen2

BUILDERS: list[Any] = [tiny_llama, tiny_gpt2, tiny_qwen2, tiny_mistral]


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_supported_models_pass_the_check(build: Any, dtype: torch.dtype, attention: str) -> None:
    model = build().to(dtype)
    model.set_attn_implementation(attention)
    ModelRunner.check(model)


def test_logits_are_given_for_the_last_token_only_when_asked() -> None:
    model = tiny_llama()
    whole, last = ModelRunner(model, slots=3), ModelRunner(model, slots=3)
    blocks = [[1, 2, 3], [4]]
    everything = whole.append([0, 2], blocks)
    ends = last.append([0, 2], blocks, last_only=True)
    assert everything.shape == (2, 3, VOCABULARY)
    assert ends.shape == (2, 1, VOCABULARY)
    torch.testing.assert_close(ends[:, 0], torch.stack([everything[0, 2], everything[1, 0]]))


def test_head_runs_only_over_the_positions_asked_for() -> None:
    model = tiny_llama()
    runner = ModelRunner(model, slots=2, prefill_chunk_tokens=4)
    seen: list[torch.Size] = []
    model.lm_head.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    runner.prefill(0, list(range(10)))
    assert seen == []
    assert runner.length(0) == 10
    runner.append([0, 1], [[1, 2, 3], [4, 5]], last_only=True)
    assert seen == [torch.Size([2, 1, 32])]


@pytest.mark.parametrize("build", BUILDERS)
def test_step_equals_append(build: Any) -> None:
    model = build()
    one, other = ModelRunner(model, slots=2), ModelRunner(model, slots=2)
    for runner in (one, other):
        runner.append([0, 1], [[1, 2, 3], [4]])
    stepped = one.step([0, 1], torch.tensor([7, 8]))
    torch.testing.assert_close(stepped, other.append([0, 1], [[7], [8]]))


def test_padding_stays_within_a_table_of_positions() -> None:
    runner = ModelRunner(tiny_gpt2(context=16), slots=2)
    runner.prefill(0, list(range(15)))
    logits = runner.append([0, 1], [[3], [1, 2, 3, 4, 5]])
    assert logits[0, 0].isfinite().all()
    assert runner.cache.lengths == [16, 5]


def test_dropout_is_switched_off() -> None:
    model = tiny_gpt2().train()
    ModelRunner.check(model)
    assert not model.training


def encoder_decoder() -> Any:
    sizes: dict[str, Any] = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    return T5Model(T5Config(vocab_size=VOCABULARY, **sizes))


def recurrent() -> Any:
    return MambaForCausalLM(
        MambaConfig(vocab_size=VOCABULARY, hidden_size=8, state_size=4, num_hidden_layers=1)
    )


def headless() -> Any:
    return BertModel(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
        )
    )


def hybrid() -> Any:
    model = tiny_qwen2()
    model.config.layer_types = ["full_attention", "sliding_attention", "full_attention"]
    return model


def long_rope() -> Any:
    model = tiny_llama()
    model.config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    return model


def other_attention() -> Any:
    model = tiny_llama()
    model.config._attn_implementation = "flash_attention_2"
    return model


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (encoder_decoder, "encoder-decoder"),
        (recurrent, "recurrent state"),
        (headless, "no language-model head"),
        (hybrid, "sliding_attention"),
        (lambda: tiny_mistral(sliding_window=8), "sliding_window = 8"),
        (long_rope, "rope_type dynamic"),
        (other_attention, "flash_attention_2.*sdpa"),
    ],
)
def test_unsupported_models_are_refused_with_the_reason(build: Any, match: str) -> None:
    model = build()
    for refuse in (ModelRunner, ModelRunner.check):
        with pytest.raises(ModelLoadError, match=match):
            refuse(model)


def test_window_as_long_as_the_context_is_no_limit() -> None:
    ModelRunner.check(tiny_mistral(sliding_window=256))


def test_models_that_come_out_wrong_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_llama()
    forward = model.model.rotary_emb.forward
    monkeypatch.setattr(  # a model that ignores the positions it is given
        model.model.rotary_emb,
        "forward",
        lambda x, position_ids: forward(x, torch.arange(x.shape[1])[None].expand(x.shape[0], -1)),
    )
    with pytest.raises(ModelLoadError, match=r"differ from a plain pass by .* \(allowed 0.001\)"):
        ModelRunner.check(model)


def test_models_that_fail_or_give_nan_are_refused() -> None:
    model = tiny_llama()
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ModelLoadError, match="differ"):
        ModelRunner.check(model)
    del model.model.layers[2]
    model.config.num_hidden_layers = 1
    model.model.layers[0].self_attn.layer_idx = 5
    with pytest.raises(ModelLoadError, match="IndexError"):
        ModelRunner.check(model)
