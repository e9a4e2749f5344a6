import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast
from transformers.generation.stopping_criteria import StopStringCriteria

from adaptive_spec import ConfigError
from adaptive_spec.decoding import StopRules
from tests.tiny_models import byte_level_tokenizer

TOKENIZER = byte_level_tokenizer()
STOPS = ["stop", "é", "op,", "s"]


def byte_fallback_tokenizer() -> PreTrainedTokenizerFast:
    """As Llama 2 has: a mark for spaces, single bytes for what the vocabulary lacks."""
    pieces = [
        "<unk>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "\u2581the",
        "st",
        "op",
        "\u2581",
    ]
    vocabulary = {piece: i for i, piece in enumerate([*pieces, *"abcdefghijklmnopqrstuvwxyz"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


FALLBACK = byte_fallback_tokenizer()


def token_ids(characters: str) -> list[int]:
    """One byte-level token for each character."""
    ids = TOKENIZER.convert_tokens_to_ids(list(characters))
    assert isinstance(ids, list)
    return ids


def first_stop(tokenizer: Any, prompt: list[int], output: list[int], stops: list[str]) -> int:
    """Tokens up to the end as transformers sees it."""
    criteria = StopStringCriteria(tokenizer, stops)
    for end in range(1, len(output) + 1):
        if bool(criteria(torch.tensor([prompt + output[:end]]), None)[0]):
            return end
    return len(output)


def watched(rules: StopRules, prompt: list[int], blocks: list[list[int]]) -> tuple[int, str | None]:
    """Tokens kept when the output arrives in these blocks."""
    watch, kept = rules.follow(prompt), 0
    for block in blocks:
        count, reason = watch.cut(block, 1000)
        kept += count
        if reason:
            return kept, reason
    return kept, None


def blocks_of(draw: Any, output: list[int]) -> list[list[int]]:
    cuts = sorted(draw(st.sets(st.integers(1, len(output)))) | {0, len(output)})
    return [output[a:b] for a, b in itertools.pairwise(cuts)]


@pytest.mark.parametrize("tokenizer", [TOKENIZER, FALLBACK], ids=["byte-level", "byte-fallback"])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_stops_where_transformers_stops(tokenizer: Any, data: st.DataObject) -> None:
    spell = tokenizer("stop thés, opa")["input_ids"]
    token = st.sampled_from(spell) | st.integers(0, len(tokenizer) - 1)
    prompt = data.draw(st.lists(token, min_size=1, max_size=4))
    output = data.draw(st.lists(token, min_size=1, max_size=12))
    stops = data.draw(st.lists(st.sampled_from(STOPS), min_size=1, max_size=2, unique=True))
    rules = StopRules(stop_strings=stops, tokenizer=tokenizer)
    kept, reason = watched(rules, prompt, blocks_of(data.draw, output))
    assert kept == first_stop(tokenizer, prompt, output, stops)
    assert reason in ("stop", None)


def test_stop_string_over_several_tokens_and_blocks() -> None:
    letters = token_ids("stop")
    rules = StopRules(stop_strings=["stop"], tokenizer=TOKENIZER)
    assert watched(rules, [70], [letters[:1], letters[1:3], [letters[3], 70]]) == (4, "stop")
    assert watched(rules, [70, *letters], [[70]]) == (1, None)  # wholly in the prompt
    assert watched(rules, [70, *letters[:3]], [[letters[3]]]) == (1, "stop")


def test_short_stop_string_in_the_prompt_does_not_count() -> None:
    rules = StopRules(stop_strings=["stop", "o"], tokenizer=TOKENIZER)
    assert watched(rules, token_ids("to"), [token_ids("pps")]) == (3, None)


def test_character_over_several_tokens() -> None:
    ids = token_ids("Ã©")  # stand for the two bytes of é
    rules = StopRules(stop_strings=["é"], tokenizer=TOKENIZER)
    assert watched(rules, [70], [[*ids, 70]]) == (2, "stop")


def test_stop_token_length_and_order() -> None:
    rules = StopRules([9])
    assert rules.follow([1]).cut([5, 9, 5], 3) == (2, "eos")
    assert rules.follow([1]).cut([5, 9], 2) == (2, "eos")
    assert rules.follow([1]).cut([5, 6], 2) == (2, "length")
    assert rules.follow([1]).cut([5, 6], 3) == (2, None)


def test_special_tokens_count_as_their_text() -> None:
    rules = StopRules(stop_strings=["<|end|>"], tokenizer=TOKENIZER)
    assert watched(rules, [70], [[71, 0]]) == (2, "stop")


def test_bad_rules_are_refused() -> None:
    with pytest.raises(ConfigError, match="tokenizer"):
        StopRules(stop_strings=["a"])
    with pytest.raises(ConfigError, match="empty"):
        StopRules(stop_strings=["a", ""], tokenizer=TOKENIZER)


def test_one_string_is_one_stop_string() -> None:
    assert StopRules(stop_strings="stop", tokenizer=TOKENIZER).stop_strings == ("stop",)
