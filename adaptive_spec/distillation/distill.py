"""The stages of distillation, each resumable: write, read, train, evaluate, save.

The folder holds the draft once it is done; ``work/`` in it holds what the stages leave behind and
may then be deleted.
"""

import copy
import dataclasses
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from adaptive_spec._files import atomic_write
from adaptive_spec.decoding.forward import prepare
from adaptive_spec.decoding.models import Verifier
from adaptive_spec.decoding.trimmed_draft import TrimmedDraft, new_draft, own_weights, save_draft
from adaptive_spec.distillation.calibration import calibrate
from adaptive_spec.distillation.card import model_card
from adaptive_spec.distillation.evaluation import Agreement, agreement
from adaptive_spec.distillation.passages import Sources
from adaptive_spec.distillation.states import load_states, save_states
from adaptive_spec.distillation.texts import Text, load_texts, save_texts
from adaptive_spec.distillation.training import States, Training, train
from adaptive_spec.distillation.vocabulary import coverage, frequent_tokens
from adaptive_spec.distillation.writing import Writing, write_part
from adaptive_spec.errors import ConfigError, DistillError

OnProgress: TypeAlias = Callable[[str, int, int, str], None]
"""Called with the stage, how much is done, how much is wanted, and a remark."""

_NO_SOURCES = Sources()


@dataclass(frozen=True)
class Distillation:
    """How a draft is made.

    Attributes:
      answer_tokens: tokens of answers to write, >= 1000.
      layers: the verifier's layers to start from, in order; negative ones count from the last.
      head_tokens: tokens that the draft can propose, >= 2; the most frequent ones are taken.
      kept_aside: one prompt in so many is kept aside for evaluation, >= 2.
      writing, training: the settings of these stages.
    """

    answer_tokens: int = 400_000
    layers: tuple[int, ...] = (0, 1, -1)
    head_tokens: int = 8192
    kept_aside: int = 40
    writing: Writing = Writing()  # noqa: RUF009 - frozen
    training: Training = Training()  # noqa: RUF009

    def __post_init__(self) -> None:
        for name, least in (("answer_tokens", 1000), ("head_tokens", 2), ("kept_aside", 2)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} = {getattr(self, name)}; it must be at least {least}")
        if not self.layers:
            raise ConfigError("layers: name at least one of the verifier's layers, such as 0,1,-1")

    def layers_of(self, verifier: Any) -> list[int]:
        """The layers counted from the first.

        Raises:
          ConfigError: the verifier has no such layer.
        """
        total = verifier.config.num_hidden_layers
        if not all(-total <= layer < total for layer in self.layers):
            raise ConfigError(
                f"layers = {','.join(map(str, self.layers))}; the verifier has {total}, allowed "
                f"are {-total} to {total - 1}"
            )
        return [layer % total for layer in self.layers]


def distill(
    verifier: Verifier,
    folder: Path,
    settings: Distillation,
    sources: Sources = _NO_SOURCES,
    start: TrimmedDraft | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> Agreement:
    """Makes a draft for a verifier; goes on where an interrupted run of the same settings stopped.

    Args:
      verifier: in bfloat16 or float32, loaded with ``prepared=False``, for its layers are where
        the draft starts; its own answers are what the draft learns from.
      folder: where the draft goes.
      settings: how it is made.
      sources: prompts to answer, or documents to make up tasks on; texts that the head is to
        cover.
      start: a draft of this verifier to train on from, in place of the verifier's own layers;
        ``settings.layers`` then say nothing.
      on_progress: what is going on.

    Returns:
      How the draft does on prompts kept aside.

    Raises:
      ConfigError: settings that do not fit the verifier.
      DistillError: the folder was begun with other settings, or training failed.
    """
    origin = start or settings.layers_of(verifier.model)
    layers = None if isinstance(origin, TrimmedDraft) else origin
    work = folder / "work"
    _claim(work, verifier, settings.writing, sources)
    _write(work, verifier, settings, sources, on_progress)
    parts = sorted(work.glob("texts-*.npz"))
    _read(parts, verifier.model, on_progress)
    texts, states, aside = _learning_set(parts, settings.kept_aside)
    token_ids = frequent_tokens(
        texts,
        settings.head_tokens,
        verifier.model.config.vocab_size,
        verifier.eos_token_ids,
        _tokens_of(verifier, sources.head_texts),
    )
    draft = initial_draft(verifier.model, origin, token_ids.tolist())
    num_steps = settings.training.num_steps(len(texts))
    train(
        draft,
        texts,
        states,
        settings.training,
        work / "training.pt",
        lambda step, loss: on_progress("training", step, num_steps, f"loss {loss:.3f}"),
    )
    on_progress("evaluating", 0, 1, "")
    temperature = calibrate(draft, aside)
    result = agreement(draft, aside)
    save_draft(
        folder,
        draft,
        verifier.model,
        {
            "verifier": verifier.name,
            "layers": layers,
            "settings": dataclasses.asdict(settings),
            "temperature": temperature,
            "agreement": dataclasses.asdict(result),
        },
    )
    card = model_card(
        verifier.name,
        layers,
        settings,
        num_layers=draft.model.config.num_hidden_layers,
        num_parameters=sum(p.numel() for p in own_weights(draft).values()),
        num_texts=len(texts),
        answer_tokens=_answer_tokens(texts),
        coverage=coverage(aside, token_ids),
        sources=sources,
        temperature=temperature,
        result=result,
    )
    with atomic_write(folder / "README.md") as temporary:
        temporary.write_text(card, encoding="utf-8")
    on_progress("evaluating", 1, 1, "")
    return result


def initial_draft(
    verifier: Any, origin: Sequence[int] | TrimmedDraft, token_ids: Sequence[int]
) -> TrimmedDraft:
    """A draft in float32 that starts from some of the verifier's layers and its final norm.

    Args:
      verifier: a transformers causal language model.
      origin: the verifier's layers by number, or a draft whose layers to take.
      token_ids: ``[H]`` ascending ids that it can propose.
    """
    if isinstance(origin, TrimmedDraft):
        theirs: dict[str, Any] = dict(own_weights(origin))
        draft = new_draft(verifier, origin.model.config.num_hidden_layers, token_ids, torch.float32)
    else:
        draft = new_draft(verifier, len(origin), token_ids, torch.float32)
        found = dict(verifier.named_parameters())
        theirs = {name: found[_source_name(name, origin)] for name in own_weights(draft)}
    with torch.no_grad():
        for name, value in own_weights(draft).items():
            value.copy_(theirs[name])
    return draft


def _source_name(name: str, layers: Sequence[int]) -> str:
    """``model.layers.2.x`` of the draft is ``model.layers.{layers[2]}.x`` of the verifier."""
    parts = name.split(".")
    for i, part in enumerate(parts):
        if part.isdigit():
            parts[i] = str(layers[int(part)])
            break
    return ".".join(parts)


def _claim(work: Path, verifier: Verifier, writing: Writing, sources: Sources) -> None:
    """Marks the folder's texts as written in this way; more of them may be asked for later.

    Raises:
      DistillError: they were written in another way.
    """
    given = [list(map(int, ids)) for ids in (*sources.prompts, *sources.answers)]
    prompts = json.dumps(given).encode()
    ours = {
        "verifier": verifier.name,
        "prompts": zlib.crc32(prompts),
        "documents": zlib.crc32(json.dumps(list(sources.documents)).encode()),
        **dataclasses.asdict(writing),
    }
    path = work / "writing.json"
    if not path.is_file():
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(ours, indent=2) + "\n", encoding="utf-8")
        return
    theirs = json.loads(path.read_text(encoding="utf-8"))
    for name, value in ours.items():
        if theirs.get(name) != value:
            raise DistillError(
                f"{work}: its texts were written with {name} = {theirs.get(name)}, not {value}; "
                "use the same settings to go on, or another folder"
            )


def _write(
    work: Path,
    verifier: Verifier,
    settings: Distillation,
    sources: Sources,
    on_progress: OnProgress,
) -> None:
    """Writes parts until there are answers enough."""
    writer: Verifier | None = None
    written: list[Text] = []
    done = number = 0
    while done < settings.answer_tokens:
        path = work / f"texts-{number:04d}.npz"
        if path.is_file():
            part = load_texts(path)
        else:
            writer = writer or _for_writing(verifier)
            part = write_part(
                writer,
                settings.writing,
                number,
                sources,
                written,
                lambda tokens, before=done: on_progress(  # type: ignore[misc]
                    "writing",
                    min(before + tokens, settings.answer_tokens),
                    settings.answer_tokens,
                    "",
                ),
            )
            save_texts(path, part)
        written.extend(part)
        done, number = done + _answer_tokens(part), number + 1
        on_progress("writing", min(done, settings.answer_tokens), settings.answer_tokens, "")


def _for_writing(verifier: Verifier) -> Verifier:
    """The verifier as it decodes fastest; on a CPU that takes a second copy for a while."""
    if verifier.model.device.type != "cpu":
        return verifier
    return dataclasses.replace(verifier, model=prepare(copy.deepcopy(verifier.model)))


def _read(parts: Sequence[Path], model: Any, on_progress: OnProgress) -> None:
    """Computes the verifier's states for every part."""
    sizes = {path: sum(text.token_ids.size for text in load_texts(path)) for path in parts}
    done, total = 0, sum(sizes.values())
    for path in parts:
        target = _states_of(path)
        if not target.is_file():
            read = 0

            def more(tokens: int, before: int = done) -> None:
                nonlocal read
                read += tokens
                on_progress("reading", before + read, total, "")

            save_states(target, model, load_texts(path), more)
        done += sizes[path]
        on_progress("reading", done, total, "")


def _states_of(part: Path) -> Path:
    return part.with_name(part.name.replace("texts-", "states-")).with_suffix(".npy")


def _learning_set(
    parts: Sequence[Path], kept_aside: int
) -> tuple[list[Text], list[States], list[Text]]:
    """Texts to learn from, their states, and texts kept aside with greedy answers."""
    texts: list[Text] = []
    states: list[States] = []
    aside: list[Text] = []
    for path in parts:
        part, known = load_texts(path), load_states(_states_of(path))
        ends = np.cumsum([text.token_ids.size for text in part])
        for text, end in zip(part, ends.tolist(), strict=True):
            prompt = text.token_ids[: text.answer_start].tobytes()
            if zlib.crc32(prompt) % kept_aside == 0:
                aside.append(text)
            else:
                texts.append(text)
                states.append(known[end - text.token_ids.size : end])
    aside = [text for text in aside if text.is_greedy]
    if not texts or not aside:
        raise DistillError("distill: too few texts to keep some aside; ask for more answer tokens")
    return texts, states, aside


def _tokens_of(verifier: Verifier, texts: Sequence[str]) -> list[int]:
    """The tokens of all texts, one after another."""
    if not texts:
        return []
    encoded = verifier.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [token for ids in encoded for token in ids]


def _answer_tokens(texts: Sequence[Text]) -> int:
    return sum(text.token_ids.size - text.answer_start for text in texts)
