"""What made-up tasks are about: passages out of documents, and out of what was written before."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adaptive_spec.decoding.models import Verifier
from adaptive_spec.distillation.texts import Text
from adaptive_spec.errors import ConfigError

_LEAST_ROOM = 48  # tokens; a shorter passage gives a task nothing to be about
_FROM_DOCUMENTS = 0.7
_CHARACTERS_PER_TOKEN = 6  # more than any language takes, so that a cut piece has tokens enough


@dataclass(frozen=True)
class Sources:
    """What the verifier is given to write about; with neither it makes up all by itself.

    Attributes:
      prompts: token ids of prompts to answer, chat template included; where there are any, none
        are made up.
      answers: none, or for each of the prompts the token ids of an answer to read, the ending
        token included; an empty one is the verifier's to write.
      documents: texts out of which passages are taken for made-up tasks.
      head_texts: texts whose tokens the draft should be able to propose; all together they count
        as much as the answers do. Such texts have words that a small number of answers lacks.
    """

    prompts: Sequence[Sequence[int]] = ()
    answers: Sequence[Sequence[int]] = ()
    documents: Sequence[str] = ()
    head_texts: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.answers and len(self.answers) != len(self.prompts):
            raise ConfigError(
                f"answers: {len(self.answers)} for {len(self.prompts)} prompts; give one for each, "
                "or none at all"
            )


def read_documents(path: Path) -> list[str]:
    """The documents in a text file or a folder of .txt and .md files, in the order of their names.

    Raises:
      ConfigError: nothing there, or not text.
    """
    paths = [path]
    if path.is_dir():
        paths = sorted(p for p in path.rglob("*") if p.suffix in (".txt", ".md"))
    try:
        documents = [one.read_text(encoding="utf-8") for one in paths]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"texts in {path}: cannot be read as UTF-8 text ({error})") from error
    documents = [text for text in documents if text.strip()]
    if not documents:
        raise ConfigError(f"texts in {path}: no .txt or .md file with text in it")
    return documents


def room_for(most: int, generator: np.random.Generator) -> int:
    """Tokens for the passages of one task: short and long ones alike (log-uniform)."""
    least = min(_LEAST_ROOM, most)
    return int(np.exp(generator.uniform(np.log(least), np.log(most))))


def passage_of(
    verifier: Verifier,
    documents: Sequence[str],
    written: Sequence[Text],
    room: int,
    generator: np.random.Generator,
) -> str:
    """A passage of at most ``room`` tokens; at least one of the two sources has something."""
    if documents and (not written or generator.random() < _FROM_DOCUMENTS):
        return _from_documents(verifier, documents, room, generator)
    ids: list[int] = []
    while len(ids) < room:
        text = written[int(generator.integers(len(written)))]
        ids.extend(text.token_ids[text.answer_start :].tolist())
    return verifier.decode(ids[:room]).strip()


def drawn(choices: Sequence[Any], generator: np.random.Generator) -> Any:
    """One of the choices by the weights that they end with."""
    weights = np.array([choice[-1] for choice in choices], np.float64)
    return choices[int(generator.choice(len(choices), p=weights / weights.sum()))]


def _from_documents(
    verifier: Verifier, documents: Sequence[str], room: int, generator: np.random.Generator
) -> str:
    """A piece of a document that begins where a sentence does; long ones are drawn more often."""
    sizes = np.array([len(text) for text in documents], np.float64)
    text = documents[int(generator.choice(len(documents), p=sizes / sizes.sum()))]
    window = room * _CHARACTERS_PER_TOKEN
    start = int(generator.integers(max(len(text) - window, 0) + 1))
    if start:
        sentence = text.find(". ", start)
        start = sentence + 2 if 0 <= sentence < start + window // 2 else start
    ids = verifier.tokenizer(text[start : start + window], add_special_tokens=False)["input_ids"]
    return verifier.decode(ids[:room]).strip()
