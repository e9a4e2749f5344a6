import random
from pathlib import Path
from typing import Any

import pytest

from adaptive_spec.cli import output, streaming
from adaptive_spec.cli.streaming import AnswerPrinter, GrowingText
from adaptive_spec.decoding.requests import TokensEmitted
from tests.tiny_models import byte_level_tokenizer

TEXT = "the end\tof the stóry: 日本語 🚀\n[stop] :rocket: "


class Decoder:
    """Stands for a verifier: decodes with a tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def decode(self, token_ids: list[int] | tuple[int, ...]) -> str:
        text: str = self.tokenizer.decode(list(token_ids), skip_special_tokens=True)
        return text


def byte_level() -> Any:
    return byte_level_tokenizer()


def leading_space() -> Any:
    """A tokenizer as Llama 2 has: words carry their space, and text drops the first one."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁the", "▁end", "▁of", "▁"]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("make", [byte_level, leading_space])
def test_pieces_join_to_the_whole_text(make: Any, seed: int) -> None:
    decoder: Any = Decoder(make())
    ids = [258, 257, 259, 257, 258] if make is leading_space else []
    ids += decoder.tokenizer(TEXT)["input_ids"]
    draw = random.Random(seed)
    growing, pieces, at = GrowingText(decoder), [], 0
    while at < len(ids):
        step = draw.randint(0, 4)
        pieces.append(growing.add(ids[at : at + step]))
        at += step
    pieces.append(growing.rest())
    assert "".join(pieces) == decoder.decode(ids)
    assert "\ufffd" not in "".join(pieces[:-1])


def test_bytes_that_make_no_character_come_at_the_end() -> None:
    decoder: Any = Decoder(byte_level_tokenizer())
    ids = decoder.tokenizer("é")["input_ids"][:1]
    growing = GrowingText(decoder)
    assert growing.add(ids) == ""
    assert growing.rest() == decoder.decode(ids) == "\ufffd"


def test_an_answer_is_printed_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    decoder: Any = Decoder(byte_level_tokenizer())
    ids = decoder.tokenizer(TEXT)["input_ids"]
    answer = AnswerPrinter(decoder)
    for token in ids:
        answer.show(TokensEmitted("a", (token,), 0, 0, 0))
    answer.end()
    assert capsys.readouterr().out == TEXT + "\n"


def test_accepted_tokens_are_in_brackets_or_coloured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from rich.console import Console

    decoder: Any = Decoder(byte_level_tokenizer())
    event = TokensEmitted("a", tuple(decoder.tokenizer("the end")["input_ids"]), 1, 3, 3)
    shown = []
    for colours in (False, True):
        with (tmp_path / "out").open("w+", encoding="utf-8") as file:
            console = Console(file=file, force_terminal=colours, no_color=not colours)
            if not colours:
                console = Console(file=file)
            monkeypatch.setattr(streaming, "results", console)
            monkeypatch.setattr(output, "results", console)
            AnswerPrinter(decoder).show(event)
            file.seek(0)
            shown.append(file.read())
    first = decoder.decode(event.token_ids[:1])
    assert shown[0] == f"[{first}]" + "the end".removeprefix(first)
    assert "\x1b[30;42m" + first in shown[1]
