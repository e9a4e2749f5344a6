import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from adaptive_spec import (
    ConfigError,
    DrafterSpecError,
    ModelLoadError,
    PromptError,
    VocabularyMismatchError,
)
from adaptive_spec.decoding import (
    ComposedDrafter,
    DraftModelDrafter,
    PromptLookupDrafter,
    SyntheticDrafter,
)
from adaptive_spec.decoding.drafters.loading import load_drafter
from adaptive_spec.decoding.drafters.specs import (
    ComposedSpec,
    EarlyExitSpec,
    LookupSpec,
    parse_drafter,
)
from adaptive_spec.decoding.models import Verifier, load_verifier
from adaptive_spec.traces import Hazards
from tests.tiny_models import tiny_llama
from tests.tiny_pair import TinyPair, save_tiny_pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> TinyPair:
    return save_tiny_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def verifier(pair: TinyPair) -> Verifier:
    return load_verifier(str(pair.verifier), device="cpu")


def copy_with(pair: TinyPair, folder: Path, name: str, changes: dict[str, Any]) -> str:
    """The verifier with other values in one of its JSON files."""
    shutil.copytree(pair.verifier, folder, dirs_exist_ok=True)
    data = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps({**data, **changes}), encoding="utf-8")
    return str(folder)


def test_a_verifier(pair: TinyPair, verifier: Verifier) -> None:
    assert verifier.name == str(pair.verifier)
    assert verifier.numerics == "float32, cpu, sdpa"
    assert verifier.eos_token_ids == (verifier.tokenizer.eos_token_id,)
    assert not verifier.model.training


def test_other_precision(pair: TinyPair) -> None:
    loaded = load_verifier(str(pair.verifier), dtype="bfloat16", device="cpu")
    assert loaded.model.dtype is torch.bfloat16
    assert loaded.numerics == "bfloat16, cpu, sdpa"


def test_tokens_that_end_a_sequence(pair: TinyPair, tmp_path: Path) -> None:
    several = copy_with(pair, tmp_path / "a", "generation_config.json", {"eos_token_id": [5, 9]})
    assert load_verifier(several, device="cpu").eos_token_ids == (5, 9)
    shutil.copytree(pair.verifier, tmp_path / "b")
    (tmp_path / "b" / "generation_config.json").unlink()
    config = copy_with(pair, tmp_path / "c", "config.json", {"eos_token_id": 7})
    (tmp_path / "c" / "generation_config.json").unlink()
    assert load_verifier(config, device="cpu").eos_token_ids == (7,)
    neither = copy_with(pair, tmp_path / "d", "config.json", {"eos_token_id": None})
    (tmp_path / "d" / "generation_config.json").unlink()
    loaded = load_verifier(neither, device="cpu")
    assert loaded.eos_token_ids == (loaded.tokenizer.eos_token_id,)


def test_prompts_become_tokens(verifier: Verifier) -> None:
    bare = verifier.encode("the end", chat_template=False)
    templated = verifier.encode("the end")
    assert verifier.decode(bare) == "the end"
    assert verifier.decode(templated) == "<user>the end\n<assistant>"
    assert all(type(token) is int for token in templated)


def test_special_tokens_are_not_shown(verifier: Verifier) -> None:
    ids = verifier.encode("the end", chat_template=False)
    assert verifier.decode([*ids, verifier.tokenizer.eos_token_id]) == "the end"


def test_an_empty_prompt_is_refused(verifier: Verifier) -> None:
    with pytest.raises(PromptError, match="no tokens"):
        verifier.encode("", chat_template=False)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (None, "has no chat template; use --no-chat-template"),
        ("{{ raise_exception('system first') }}", "refuses a single user message .system first"),
        ("{% if %}", "use --no-chat-template"),
    ],
)
def test_chat_templates_that_do_not_work(pair: TinyPair, template: str | None, words: str) -> None:
    loaded = load_verifier(str(pair.verifier), device="cpu")
    loaded.tokenizer.chat_template = template
    with pytest.raises(ConfigError, match=words):
        loaded.encode("the end")


def test_wrong_settings_are_refused_before_a_conversion(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ADAPTIVE_SPEC_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="dtype"):
        load_verifier("builtin", dtype="int4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("none", None),
        ("lookup", LookupSpec()),
        ("lookup:max_ngram=3,min_ngram=2", LookupSpec(3, 2)),
        ("early-exit:layers=4", EarlyExitSpec(4)),
        ("org/model", "org/model"),
        ("synthetic:hazard=0.3", Hazards(0.3)),
        ("synthetic:hazards=.5/.3/.2,seed=7", Hazards(hazards=(0.5, 0.3, 0.2), seed=7)),
        ("synthetic:hazard=0.1,burst=0.8", Hazards(0.1, burst=0.8)),
        ("lookup+early-exit:layers=4", ComposedSpec((LookupSpec(), EarlyExitSpec(4)))),
        ("lookup:min_ngram=3 + org/model", ComposedSpec((LookupSpec(7, 3), "org/model"))),
    ],
)
def test_drafter_specs(spec: str, parsed: object) -> None:
    assert parse_drafter(spec) == parsed


def test_a_drafter_s_name_is_not_a_folder_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lookup").mkdir()
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_drafter("lookup") == LookupSpec()
    assert [parse_drafter(spec) for spec in ("./lookup", "mine")] == ["./lookup", "mine"]


@pytest.mark.parametrize(
    "spec",
    [
        *("", "nope", "lookup:3", "lookup:depth=1", "lookup:max_ngram=1,min_ngram=2", "a/b:c=1"),
        *("synthetic", "synthetic:hazard=2", "synthetic:hazards=a/b", "synthetic:burst=0.5"),
        *("lookup+", "+", "lookup+none", "lookup+nope", "lookup+lookup:max_ngram=7"),
        "+".join(f"lookup:max_ngram={n}" for n in range(1, 10)),
    ],
)
def test_wrong_drafter_specs(spec: str) -> None:
    with pytest.raises(DrafterSpecError):
        parse_drafter(spec)


def test_none_is_not_composed() -> None:
    with pytest.raises(DrafterSpecError, match="'none' stands alone"):
        parse_drafter("lookup+none")


def test_drafters(pair: TinyPair, verifier: Verifier) -> None:
    assert load_drafter("none", verifier)(1) is None
    lookup = load_drafter("lookup:max_ngram=3", verifier)(2)
    assert isinstance(lookup, PromptLookupDrafter)
    assert lookup.max_ngram == 3
    early = load_drafter("early-exit:layers=1", verifier)(2)
    assert isinstance(early, DraftModelDrafter)
    assert early.runner.model.config.num_hidden_layers == 1
    make = load_drafter(str(pair.drafter), verifier)
    one, two = make(1), make(2)
    assert isinstance(one, DraftModelDrafter)
    assert isinstance(two, DraftModelDrafter)
    assert one.runner.model is two.runner.model  # loaded once
    assert (one.runner.slots, two.runner.slots) == (1, 2)
    assert one.spec == str(pair.drafter)


def test_every_drafter_says_how_to_build_it_again(pair: TinyPair, verifier: Verifier) -> None:
    synthetic = "synthetic:hazard=0.1,burst=0.75,seed=3"
    for spec in (
        *("lookup:max_ngram=3", "early-exit:layers=1", str(pair.drafter), synthetic),
        f"lookup+early-exit:layers=1+{pair.drafter}+{synthetic}",
    ):
        drafter = load_drafter(spec, verifier)(1)
        assert drafter is not None
        again = load_drafter(drafter.spec, verifier)(1)
        assert again is not None
        assert again.spec == drafter.spec


def test_a_composition_makes_all_of_its_drafters(pair: TinyPair, verifier: Verifier) -> None:
    make = load_drafter(f"lookup+{pair.drafter}+synthetic:hazard=0.5", verifier)
    drafter = make(3)
    assert isinstance(drafter, ComposedDrafter)
    lookup, model, synthetic = drafter.components
    assert isinstance(lookup, PromptLookupDrafter)
    assert isinstance(model, DraftModelDrafter)
    assert isinstance(synthetic, SyntheticDrafter)
    assert model.runner.slots == 3
    assert drafter.names == ("lookup", str(pair.drafter), "synthetic")
    again = make(1)
    assert isinstance(again, ComposedDrafter)
    other = again.components[1]
    assert isinstance(other, DraftModelDrafter)
    assert other.runner.model is model.runner.model  # loaded once
    with pytest.raises(DrafterSpecError, match="layers = 2"):
        load_drafter("lookup+early-exit:layers=2", verifier)


def test_layers_out_of_range_are_refused_at_once(verifier: Verifier) -> None:
    with pytest.raises(DrafterSpecError, match="layers = 2; the verifier has 2"):
        load_drafter("early-exit:layers=2", verifier)


def test_padded_vocabularies_share_the_smaller_part(
    pair: TinyPair, verifier: Verifier, tmp_path: Path
) -> None:
    size = len(verifier.tokenizer)
    tiny_llama(layers=1, vocab_size=size + 13).save_pretrained(tmp_path)
    verifier.tokenizer.save_pretrained(tmp_path)
    drafter = load_drafter(str(tmp_path), verifier)(1)
    assert isinstance(drafter, DraftModelDrafter)
    assert (drafter.vocab_size, drafter.runner.vocab_size) == (size, size + 13)


def test_other_vocabularies_are_refused(pair: TinyPair, verifier: Verifier, tmp_path: Path) -> None:
    with pytest.raises(VocabularyMismatchError, match=r"276 and 275 tokens, 275 in common"):
        load_drafter(str(pair.stranger), verifier)
    tiny_llama(layers=1, vocab_size=50).save_pretrained(tmp_path)  # without a tokenizer
    with pytest.raises(VocabularyMismatchError, match=r"has 50 tokens and verifier .* has 275"):
        load_drafter(str(tmp_path), verifier)


def special(pair: TinyPair, folder: Path, **ids: Any) -> str:
    """The drafter with other special tokens, in its tokenizer and everywhere else."""
    tokenizer = AutoTokenizer.from_pretrained(pair.drafter)
    model = AutoModelForCausalLM.from_pretrained(pair.drafter)
    for name, token_id in ids.items():
        setattr(model.config, name, token_id)
        setattr(model.generation_config, name, token_id)
        setattr(tokenizer, name.removesuffix("_id"), tokenizer.convert_ids_to_tokens(token_id))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_other_special_tokens_are_refused(
    pair: TinyPair, verifier: Verifier, tmp_path: Path
) -> None:
    eos = verifier.tokenizer.eos_token_id
    other = special(pair, tmp_path / "eos", eos_token_id=7)
    with pytest.raises(VocabularyMismatchError, match=rf"has eos token 7, verifier .* has {eos};"):
        load_drafter(other, verifier)
    same_text = special(pair, tmp_path / "bos", bos_token_id=5, pad_token_id=3)
    load_drafter(same_text, verifier)  # the verifier has neither
    begins = load_verifier(same_text, device="cpu")
    with pytest.raises(VocabularyMismatchError, match=r"has bos token 6, verifier .* has 5;"):
        load_drafter(special(pair, tmp_path / "other", bos_token_id=6), begins)


def test_one_special_token_in_common_is_enough(
    pair: TinyPair, verifier: Verifier, tmp_path: Path
) -> None:
    eos = verifier.tokenizer.eos_token_id
    several = copy_with(pair, tmp_path, "generation_config.json", {"eos_token_id": [7, 9, eos]})
    load_drafter(several, verifier)


def test_a_drafter_may_do_without_a_tokenizer(pair: TinyPair, verifier: Verifier) -> None:
    assert isinstance(load_drafter(str(pair.bare), verifier)(1), DraftModelDrafter)


def test_what_is_no_model(pair: TinyPair, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no tokenizer there"):
        load_verifier(str(pair.bare))
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        load_verifier(str(tmp_path))
    unsupported = copy_with(
        pair, tmp_path / "x", "config.json", {"model_type": "mistral", "sliding_window": 8}
    )
    with pytest.raises(ModelLoadError, match="sliding_window = 8"):
        load_verifier(unsupported)
