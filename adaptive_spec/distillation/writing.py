"""The verifier writes: prompts of its own where none are given, and its answers to prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from adaptive_spec.controller import Controller
from adaptive_spec.costs import ConstantCosts
from adaptive_spec.decoding.engine import DecodingEngine
from adaptive_spec.decoding.models import Verifier
from adaptive_spec.decoding.requests import Finished, Request
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.stopping import StopRules
from adaptive_spec.decoding.verification import GREEDY, CoupledNoise, VerificationRule
from adaptive_spec.distillation.openings import OPENINGS, TASKS
from adaptive_spec.distillation.passages import Sources, drawn, passage_of, room_for
from adaptive_spec.distillation.texts import Text
from adaptive_spec.errors import ConfigError, DistillError
from adaptive_spec.registry import make_policy

_MARK = "\u241f"  # stands for the user's message while the chat template is taken apart
_LEAST_PROMPT, _LEAST_ANSWER = 5, 4  # tokens; less is no text to learn from
_PROMPT_TOP_K, _PROMPT_TOP_P = 400, 0.95


@dataclass(frozen=True)
class Writing:
    """How the verifier writes.

    Attributes:
      part_size: prompts of a part, >= 1.
      batch_size: sequences at a time, >= 1.
      prompt_tokens: most tokens of a prompt that the verifier makes up, after its opening.
      passage_tokens: most tokens of the passages in a task together; how many is drawn.
      max_new_tokens: most tokens of an answer.
      task_share: share of made-up prompts that are tasks on passages written before, 0 to 1.
      sampled_share: share of answers that are sampled, 0 to 1; the others are greedy.
      temperature: of sampled answers, > 0. Prompts are made up at temperature 1, top-k 400 and
        top-p 0.95.
      seed: of everything drawn.
    """

    part_size: int = 512
    batch_size: int = 64
    prompt_tokens: int = 128
    passage_tokens: int = 768
    max_new_tokens: int = 192
    task_share: float = 0.25
    sampled_share: float = 0.5
    temperature: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("part_size", "batch_size", "prompt_tokens", "passage_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}; it must be at least 1")
        if self.max_new_tokens < _LEAST_ANSWER:
            raise ConfigError(
                f"max_new_tokens = {self.max_new_tokens}; it must be at least {_LEAST_ANSWER}"
            )
        for name in ("task_share", "sampled_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self, name)}; allowed are 0 to 1")
        if not self.temperature > 0:
            raise ConfigError(f"temperature = {self.temperature}; it must be above 0")


def write_part(
    verifier: Verifier,
    settings: Writing,
    number: int,
    sources: Sources,
    written: Sequence[Text],
    on_tokens: Callable[[int], None] = lambda tokens: None,
) -> list[Text]:
    """Writes one part; the same arguments give the same texts.

    Args:
      verifier: the model that writes.
      settings: how.
      number: of the part, from 0.
      sources: prompts to answer, taken in turn from part to part, and passages to set tasks on.
      written: texts of earlier parts, on whose answers tasks may be set.
      on_tokens: called with the answer tokens of this part so far.

    Raises:
      DistillError: nothing came of it, and nothing would come of another part.
    """
    generator = np.random.default_rng((settings.seed, number))
    prompts = sources.prompts
    if prompts:
        first = number * settings.part_size
        chosen = [list(prompts[i % len(prompts)]) for i in range(first, first + settings.part_size)]
        # Greedy answers to a prompt are all alike, and so are given ones: once is enough.
        repeated = [i >= len(prompts) for i in range(first, first + settings.part_size)]
        given = list(sources.answers[first : first + settings.part_size])
    else:
        chosen = _made_up(verifier, settings, sources.documents, written, generator)
        repeated = [False] * len(chosen)
        given = []
    sampled = np.array(repeated, np.bool_) | (
        generator.random(len(chosen)) < settings.sampled_share
    )
    texts: dict[int, Text] = {
        row: Text(np.array([*chosen[row], *answer], np.int64), len(chosen[row]), False)
        for row, answer in enumerate(given)
        if len(answer)
    }
    done = sum(map(len, given))
    for is_sampled in (False, True):
        rows = [row for row in np.flatnonzero(sampled == is_sampled).tolist() if row not in texts]
        seed = int(generator.integers(1 << 31))
        rule: VerificationRule = GREEDY
        if is_sampled:
            rule = CoupledNoise(SamplingParameters(temperature=settings.temperature), seed)

        def count(tokens: int, before: int = done) -> None:
            on_tokens(before + tokens)

        answers = _completed(
            verifier,
            settings.batch_size,
            [chosen[row] for row in rows],
            settings.max_new_tokens,
            rule,
            count,
        )
        done += sum(len(answer) for answer, _ in answers)
        for row, (answer, _) in zip(rows, answers, strict=True):
            if len(answer) >= _LEAST_ANSWER:
                ids = np.array([*chosen[row], *answer], np.int64)
                texts[row] = Text(ids, len(chosen[row]), not is_sampled)
    if not texts:
        raise DistillError(
            f"distill: {verifier.name} wrote no text to learn from: it ended no prompt of its own, "
            "or answered with nothing; give it prompts, or raise max_new_tokens"
        )
    return [texts[row] for row in sorted(texts)]


def _made_up(
    verifier: Verifier,
    settings: Writing,
    documents: Sequence[str],
    written: Sequence[Text],
    generator: np.random.Generator,
) -> list[list[int]]:
    """Prompts that the verifier makes up, chat template included."""
    before, after = template_around(verifier)
    begun: list[tuple[list[int], bool]] = []
    while len(begun) < settings.part_size:
        if (documents or written) and generator.random() < settings.task_share:
            text, goes_on = _task(verifier, settings, documents, written, generator)
        else:
            text, goes_on = drawn(OPENINGS, generator)[0], True
        ids = verifier.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        begun.append((before + list(ids), goes_on))
    to_go_on = [ids for ids, goes_on in begun if goes_on]
    sampling = SamplingParameters(top_k=_PROMPT_TOP_K, top_p=_PROMPT_TOP_P)
    rule = CoupledNoise(sampling, int(generator.integers(1 << 31)))
    limit = settings.prompt_tokens
    rest = iter(_completed(verifier, settings.batch_size, to_go_on, limit, rule))
    prompts = []
    for ids, goes_on in begun:
        if not goes_on:
            prompts.append(ids + after)
            continue
        more, ended = next(rest)
        if ended and len(more) > _LEAST_PROMPT:  # its last token ends the user's turn
            prompts.append(ids + more[:-1] + after)
    return prompts


def _task(
    verifier: Verifier,
    settings: Writing,
    documents: Sequence[str],
    written: Sequence[Text],
    generator: np.random.Generator,
) -> tuple[str, bool]:
    """A task on passages out of the documents, if there are any, and out of earlier answers."""
    template, goes_on, _ = drawn(TASKS, generator)
    count = 1 + template.count("{other}")
    room = room_for(settings.passage_tokens, generator) // count
    passages = [
        passage_of(verifier, documents, written, max(room, 1), generator) for _ in range(count)
    ]
    return template.format(passage=passages[0], other=passages[-1]), goes_on


def template_around(verifier: Verifier) -> tuple[list[int], list[int]]:
    """Tokens of the chat template before and after the user's message.

    Raises:
      ConfigError: there is no template that keeps a message as it is.
    """
    text = (
        verifier.tokenizer.apply_chat_template(
            [{"role": "user", "content": _MARK}], add_generation_prompt=True, tokenize=False
        )
        if verifier.tokenizer.chat_template
        else ""
    )
    before, mark, after = text.partition(_MARK)
    if not mark:
        raise ConfigError(
            f"{verifier.name}: without a chat template it cannot make up prompts; give --prompts"
        )
    encode = verifier.tokenizer
    ids: tuple[list[int], list[int]] = (
        list(encode(before, add_special_tokens=False)["input_ids"]),
        list(encode(after, add_special_tokens=False)["input_ids"]),
    )
    return ids


def answer_ids(verifier: Verifier, answer: str) -> list[int]:
    """Tokens of an answer that is there already, its end included; none of an empty one."""
    if not answer:
        return []
    ids = verifier.tokenizer(answer, add_special_tokens=False)["input_ids"]
    return [*ids, verifier.eos_token_ids[0]]


def _completed(
    verifier: Verifier,
    batch_size: int,
    prompts: Sequence[list[int]],
    max_new_tokens: int,
    rule: VerificationRule,
    on_tokens: Callable[[int], None] = lambda tokens: None,
) -> list[tuple[list[int], bool]]:
    """For each prompt what the verifier writes, and whether it ended by itself."""
    slots = min(batch_size, len(prompts))
    if slots == 0:
        return []
    longest = max(map(len, prompts)) + max_new_tokens
    engine = DecodingEngine(
        ModelRunner(verifier.model, slots=slots, capacity_tokens=longest),
        None,
        Controller(make_policy("fixed:tau=0"), costs=ConstantCosts()),
        StopRules(verifier.eos_token_ids),
        rule=rule,
        batch_size=slots,
    )
    requests = [Request(str(i), ids, max_new_tokens) for i, ids in enumerate(prompts)]
    done: dict[str, tuple[list[int], bool]] = {}
    tokens = 0
    for event in engine.run(requests):
        if isinstance(event, Finished):
            found = event.completion
            done[found.id] = list(found.token_ids), found.finish_reason == "eos"
            tokens += len(found.token_ids)
            on_tokens(tokens)
    return [done[request.id] for request in requests]
