"""What cannot be served is refused before anything is generated, with the reason and the fix."""

import copy
import logging
from typing import Any

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.generation import candidate_generator

from adaptive_spec import ConfigError, PolicySpecError
from adaptive_spec.integrations.transformers import Run, adaptive, adaptive_generate
from adaptive_spec.integrations.transformers.compatibility import CANDIDATES, require_attributes
from tests.decoding.scripted import Scripted
from tests.integrations.test_safety import Faulty
from tests.integrations.transformers.pair import draft, drafts_by, generate, model, tokens
from tests.tiny_models import byte_level_tokenizer, tiny_gpt2, tiny_llama


def test_an_unknown_policy_is_refused_at_once() -> None:
    with pytest.raises(PolicySpecError, match="no-such-policy"):
        adaptive(model(), "no-such-policy")


def test_drafts_longer_than_the_positions_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 255"):
        adaptive(model(), max_draft_tokens=256)


def test_what_does_not_generate_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a transformers model"):
        adaptive(torch.nn.Linear(1, 1))


def test_another_transformers_is_refused_by_its_signature() -> None:
    class Newer(type(model())):  # type: ignore[misc]
        def _get_candidate_generator(self, request: Any) -> Any: ...

    newer = copy.copy(model())
    newer.__class__ = Newer
    with pytest.raises(ConfigError, match=r"takes \(self, request\).*transformers==5"):
        adaptive(newer)


def test_a_generator_made_otherwise_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no num_assistant_tokens"):
        require_attributes(object(), ("num_assistant_tokens",))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"assistant_ensemble_weight": 0.5}, "leave it out"),
        ({"use_mtp": True}, "fixed number of tokens"),
        ({"speculation_type": "dflash"}, "fixed size"),
    ],
    ids=str,
)
def test_settings_that_are_not_served_are_named(options: dict[str, Any], reason: str) -> None:
    [name] = options
    with adaptive(model()) as run, pytest.raises(ConfigError, match=rf"{name} .*{reason}"):
        generate(assistant_model=draft(), **options)
    assert run.controller.running.size == 0


def test_other_tokenizers_are_refused() -> None:
    tokenizer = byte_level_tokenizer()
    other = tiny_llama(1, vocab_size=len(tokenizer))
    with adaptive(model()), pytest.raises(ConfigError, match="assistant's tokens"):
        generate(assistant_model=other, tokenizer=tokenizer, assistant_tokenizer=tokenizer)


def test_batches_are_refused() -> None:
    two = torch.ones((2, 4), dtype=torch.long)
    with adaptive(model()), pytest.raises(ConfigError, match="2 sequences"):
        model().generate(two, assistant_model=draft(), max_new_tokens=2, pad_token_id=0)


def test_policies_that_need_signals_are_refused_where_there_are_none() -> None:
    with adaptive(model(), "svip"), pytest.raises(ConfigError, match="lookup does not tell"):
        generate(prompt_lookup_num_tokens=3)


def test_a_run_has_one_drafter() -> None:
    with adaptive(model(), "fixed:tau=1") as run:
        generate(prompt_lookup_num_tokens=3)
        with pytest.raises(ConfigError, match="has drafted by lookup"):
            generate(assistant_model=draft())
    assert run.statistics.requests == 1


def test_blocks_are_not_nested_nor_entered_twice() -> None:
    block = adaptive(model(), "fixed:tau=1")
    given = adaptive_generate("fixed:tau=1", assistant_model=draft())
    with block:
        with pytest.raises(ConfigError, match="drives this model already"), adaptive(model()):
            pass
        with pytest.raises(ConfigError, match="drives this model already"):
            generate(custom_generate=given)
        assert tokens(generate(assistant_model=draft())) == tokens(generate())
    with pytest.raises(ConfigError, match="entered once"), block:
        pass
    assert "generate" not in vars(model())


def test_a_custom_generate_without_a_drafter_says_where_to_put_it() -> None:
    with pytest.raises(ConfigError, match="factory assistant_model="):
        generate(custom_generate=adaptive_generate(), assistant_model=draft())


def test_a_model_with_methods_of_its_own_gets_them_back() -> None:
    own = copy.deepcopy(model())
    called = []

    def mine(*arguments: Any, **options: Any) -> Any:
        called.append(True)
        return type(own).generate(own, *arguments, **options)

    own.generate = mine
    with adaptive(own, "fixed:tau=1") as run:
        generate(verifier=own, assistant_model=draft())
    assert called == [True]
    assert run.statistics.requests == 1
    assert own.generate is mine
    assert CANDIDATES not in vars(own)


def test_a_copy_made_within_a_block_generates_by_itself() -> None:
    own = tiny_llama(5)
    with adaptive(own, "fixed:tau=1"):
        twin = copy.deepcopy(own)
        with torch.no_grad():
            twin.lm_head.weight.mul_(-1)
        inside = tokens(generate(verifier=twin))
    assert inside == tokens(generate(verifier=twin))
    assert inside != tokens(generate(verifier=own))


def test_calls_that_are_not_assisted_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    ids = torch.ones((2, 4), dtype=torch.long)
    options: dict[str, Any] = {"max_new_tokens": 4, "pad_token_id": 0, "num_beams": 2}
    with caplog.at_level(logging.WARNING), adaptive(model()) as run:
        inside = model().generate(ids, **options)
    assert torch.equal(inside, model().generate(ids, **options))
    assert run.statistics.passes == 0
    assert "no call of generate was assisted" in caplog.text


@pytest.mark.parametrize("way", ["decide", "nan", "update"])
def test_a_policy_that_fails_costs_no_request(way: str) -> None:
    assistant = copy.copy(draft())
    assistant.generation_config = copy.deepcopy(assistant.generation_config)
    assistant.generation_config.num_assistant_tokens = 2
    with adaptive(model(), Faulty(way=way), keep_cycles=True) as run:
        texts = [tokens(generate(assistant_model=assistant)) for _ in range(2)]
    assert texts == [tokens(generate())] * 2
    assert run.statistics.policy_failed
    assert run.statistics.requests == 2
    drafted = [c.num_draft_tokens for c in run.completions[1].cycles]
    assert drafted[0] == 2  # transformers' own setting


def test_an_assistant_drafts_within_its_context() -> None:
    verifier, short = tiny_gpt2(0), tiny_gpt2(1, context=20)
    options = {"verifier": verifier, "max_new_tokens": 30}
    with adaptive(verifier, Scripted(5)) as run:
        text = tokens(generate(assistant_model=short, **options))
    assert text == tokens(generate(**options))
    assert 0 < run.statistics.fallback_passes < run.statistics.passes


def test_encoder_decoder_models_are_driven_too() -> None:
    make: Any = T5Config
    config = make(
        vocab_size=61,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    verifier = T5ForConditionalGeneration(config).eval()
    assistant = copy.deepcopy(verifier)
    with torch.no_grad():
        assistant.lm_head.weight.add_(0.3 * torch.randn_like(assistant.lm_head.weight))
    options = {"max_new_tokens": 12, "do_sample": False}
    ids = torch.tensor([[5, 6, 7, 8]])
    plain = verifier.generate(ids, **options)
    with adaptive(verifier, Scripted(), max_draft_tokens=4) as run:
        assert torch.equal(verifier.generate(ids, assistant_model=assistant, **options), plain)
    assert run.statistics.drafted > 0


def test_the_known_generators_are_the_ones_that_transformers_makes() -> None:
    made = candidate_generator.AssistedCandidateGenerator
    assert issubclass(candidate_generator.EarlyExitCandidateGenerator, made)
    with adaptive(model()) as run:
        generate(**drafts_by("early-exit"))
    assert run.controller.drafters == ("early-exit",)
    assert isinstance(run, Run)
