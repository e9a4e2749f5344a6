"""What is generated under a policy is what transformers generates."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import (
    LogitsProcessor,
    StoppingCriteria,
    StopStringCriteria,
    TextStreamer,
)
from transformers.generation.streamers import BaseStreamer

from adaptive_spec import Policy
from adaptive_spec.integrations.transformers import adaptive, adaptive_generate
from tests.decoding.scripted import Scripted, Stopping
from tests.integrations.transformers.pair import (
    DRAFTERS,
    PROMPT,
    draft,
    drafts_by,
    generate,
    model,
    own_draft,
    tokens,
)
from tests.tiny_models import byte_level_tokenizer, perturbed, tiny_llama

FALSE_ALARMS = 1e-4
"""Of each chi-square test, if its seeds were drawn anew."""


def driven(policy: str | Policy[Any, Any], **options: Any) -> Any:
    """What ``generate`` returns under a policy, driven in both ways, which must agree."""
    with adaptive(options.get("verifier") or model(), policy, max_draft_tokens=8):
        inside = generate(**options)
    if "assistant_model" in options:
        given = adaptive_generate(
            policy, assistant_model=options.pop("assistant_model"), max_draft_tokens=8
        )
    else:
        given = adaptive_generate(policy, max_draft_tokens=8)
    if "streamer" not in options and "stop_strings" not in options:
        assert tokens(generate(custom_generate=given, **options)) == tokens(inside)
    return inside


@pytest.mark.parametrize("drafter", DRAFTERS)
@pytest.mark.parametrize("policy", [Scripted(), Scripted(0), "ewma", "auto"], ids=str)
def test_greedy_text_is_that_of_plain_decoding(
    policy: str | Policy[Any, Any], drafter: str
) -> None:
    assert tokens(driven(policy, **drafts_by(drafter))) == tokens(generate())


@pytest.mark.parametrize("drafter", ["assistant", "early-exit"])
def test_looking_inside_the_draft_changes_no_text(drafter: str) -> None:
    output = driven(Stopping(threshold=0.5), **drafts_by(drafter))
    assert tokens(output) == tokens(generate())


SAMPLING = (
    {"do_sample": True, "temperature": 0.8, "top_k": 20},
    {"do_sample": True, "top_p": 0.9, "min_new_tokens": 10},
    {"do_sample": False, "no_repeat_ngram_size": 3},
)


@pytest.mark.parametrize("options", SAMPLING, ids=str)
def test_a_constant_tau_is_transformers_own(options: dict[str, Any]) -> None:
    own = generate(assistant_model=own_draft(3), seed=3, **options)
    ours = driven("fixed:tau=3", assistant_model=draft(), seed=3, **options)
    assert tokens(ours) == tokens(own)


@pytest.mark.parametrize("options", SAMPLING, ids=str)
def test_a_constant_lookup_is_transformers_own(options: dict[str, Any]) -> None:
    own = generate(prompt_lookup_num_tokens=4, seed=3, **options)
    ours = driven("fixed:tau=4", prompt_lookup_num_tokens=9, seed=3, **options)
    # transformers draws for drafts that reach beyond the limit; those are not made here.
    assert tokens(ours)[:-5] == tokens(own)[:-5]


@pytest.mark.parametrize("count", [150, pytest.param(3000, marks=pytest.mark.slow)])
def test_sampled_texts_have_the_models_distribution(count: int) -> None:
    verifier = tiny_llama(1, layers=1)
    drafter = perturbed(verifier, 0.3)
    prompt, kept = PROMPT[:3], 2
    expected = _distribution(verifier, list(prompt), kept, 2)
    wrong = _distribution(drafter, list(prompt), kept, 2)
    found: dict[tuple[int, ...], int] = {}
    with adaptive(verifier, Scripted(1)) as run:
        for seed in range(count):
            output = generate(
                prompt=prompt,
                verifier=verifier,
                assistant_model=drafter,
                seed=seed,
                do_sample=True,
                top_k=kept,
                max_new_tokens=3,
            )
            text = tuple(tokens(output)[len(prompt) : len(prompt) + 2])
            found[text] = found.get(text, 0) + 1
    assert run.statistics.drafted >= count
    assert _chance_of(found, expected, count) > FALSE_ALARMS
    assert _chance_of(found, wrong, count) < FALSE_ALARMS  # so that the test would notice


def _distribution(
    verifier: Any, prompt: list[int], kept: int, length: int
) -> dict[tuple[int, ...], float]:
    """Chance of each continuation, of the ``kept`` likeliest tokens at a time."""
    chances: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(length):
        longer = {}
        for text, chance in chances.items():
            with torch.no_grad():
                logits = verifier(torch.tensor([[*prompt, *text]])).logits[0, -1]
            values, index = logits.topk(kept)
            for token, p in zip(index.tolist(), values.softmax(-1).tolist(), strict=True):
                longer[(*text, token)] = chance * p
        chances = longer
    return chances


def _chance_of(
    found: dict[tuple[int, ...], int], expected: dict[tuple[int, ...], float], count: int
) -> float:
    """P value of the counts; 0 where something was found that has no chance."""
    if set(found) - set(expected):
        return 0.0
    cells = sorted(expected, key=lambda text: -expected[text])
    wanted = np.array([expected[text] * count for text in cells])
    got = np.array([found.get(text, 0) for text in cells], np.float64)
    large = wanted >= 5  # smaller cells are taken together
    wanted = np.append(wanted[large], wanted[~large].sum() or 1e-9)
    got = np.append(got[large], got[~large].sum())
    if wanted[-1] < 1:
        wanted, got = wanted[:-1], got[:-1]
        wanted *= got.sum() / wanted.sum()
    return float(stats.chisquare(got, wanted * got.sum() / wanted.sum()).pvalue)


class Heard(BaseStreamer):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.ended = False

    def put(self, value: torch.Tensor) -> None:
        self.tokens += value.flatten().tolist()

    def end(self) -> None:
        self.ended = True


def test_streamers_get_every_token() -> None:
    inside, given = Heard(), Heard()
    text = tokens(driven(Scripted(), assistant_model=draft(), streamer=inside))
    custom = adaptive_generate(Scripted(), assistant_model=draft())
    # transformers itself puts the prompt into ``streamer``.
    generate(custom_generate=custom, streamer=given, draft_streamer=given)
    assert inside.tokens == given.tokens == text
    assert inside.ended
    assert given.ended


def test_text_can_be_streamed(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer: Any = byte_level_tokenizer()
    with adaptive(model(), Scripted()):
        text = tokens(generate(assistant_model=draft(), streamer=TextStreamer(tokenizer)))
    assert capsys.readouterr().out.strip() == tokenizer.decode(text).strip()


def test_stop_strings_end_the_text_where_transformers_ends_it() -> None:
    tokenizer: Any = byte_level_tokenizer()
    verifier = tiny_llama(0, vocab_size=len(tokenizer))
    prompt = tokenizer("the end of the end of the").input_ids
    plain = tokens(generate(verifier=verifier, prompt=prompt))
    stop = tokenizer.decode(plain[len(prompt) + 5])
    options = {"verifier": verifier, "prompt": prompt, "prompt_lookup_num_tokens": 4}
    own = tokens(generate(**options, stop_strings=[stop], tokenizer=tokenizer))
    with adaptive(verifier, "fixed:tau=4"):
        inside = generate(**options, stop_strings=[stop], tokenizer=tokenizer)
    given = adaptive_generate("fixed:tau=4")
    criteria = [StopStringCriteria(tokenizer, [stop])]
    output = generate(**options, custom_generate=given, stopping_criteria=criteria)
    assert tokens(inside) == tokens(output) == own
    assert len(own) < len(plain)
    # With an assistant, transformers alone can't do that at all.
    options |= {"prompt_lookup_num_tokens": None, "assistant_model": perturbed(verifier)}
    with adaptive(verifier, "fixed:tau=0"):
        output = generate(**options, stop_strings=[stop], tokenizer=tokenizer)
    assert tokens(output) == plain[: len(tokens(output))]
    assert len(tokens(output)) <= len(own)


class Shifted(LogitsProcessor):
    """Forbids every other token, in turn."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.clone()
        scores[:, input_ids.shape[1] % 2 :: 2] = -torch.inf
        return scores


@pytest.mark.parametrize("drafter", DRAFTERS)
def test_logits_processors_are_heeded(drafter: str) -> None:
    options: dict[str, Any] = {"logits_processor": [Shifted()], "no_repeat_ngram_size": 2}
    output = driven(Scripted(), **drafts_by(drafter), **options)
    assert tokens(output) == tokens(generate(**options))


class After(StoppingCriteria):
    """Ends a text at some length."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        return torch.full((1,), input_ids.shape[1] >= self.length)


def test_stopping_criteria_of_the_call_are_heeded() -> None:
    length = len(PROMPT) + 6
    output = driven("fixed:tau=3", assistant_model=draft(), stopping_criteria=[After(length)])
    text = tokens(output)
    assert length <= len(text) <= length + 3
    assert text == tokens(generate())[: len(text)]


@pytest.mark.parametrize("drafter", DRAFTERS)
def test_an_end_token_ends_the_text_in_mid_draft(drafter: str) -> None:
    plain = tokens(generate())
    for end in plain[len(PROMPT) + 4 :: 6]:
        expected = tokens(generate(eos_token_id=end))
        output = driven("fixed:tau=6", eos_token_id=end, **drafts_by(drafter))
        assert tokens(output) == expected


def test_everything_that_generate_returns_is_there() -> None:
    options = {
        "return_dict_in_generate": True,
        "output_scores": True,
        "output_logits": True,
        "output_hidden_states": True,
    }
    plain = generate(**options)
    with adaptive(model(), Scripted()):
        output = generate(assistant_model=draft(), **options)
    assert torch.equal(output.sequences, plain.sequences)
    for name in ("scores", "logits"):
        ours, theirs = (torch.stack(getattr(o, name)) for o in (output, plain))
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
    assert len(output.hidden_states) == len(plain.hidden_states)
    again = adaptive_generate(Scripted(), assistant_model=draft())
    assert torch.equal(generate(custom_generate=again, **options).sequences, plain.sequences)


def test_padded_prompts_are_drafted_for_after_a_pause() -> None:
    prompt = (0, 0, *PROMPT)
    mask = torch.tensor([[0, 0] + [1] * len(PROMPT)])
    output = driven(
        Pausing(), prompt=prompt, attention_mask=mask, assistant_model=draft(), max_new_tokens=30
    )
    plain = generate(prompt=prompt, attention_mask=mask, max_new_tokens=30)
    assert tokens(output) == tokens(plain)


class Pausing(Scripted):
    """Drafts nothing in its first cycles."""

    def decide(self, state: Any, cycle: Any) -> Any:
        decision = super().decide(state, cycle)
        return decision._replace(tau=cycle.clip(np.where(cycle.cycle_index < 5, 0, 3)))
