import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from adaptive_spec.decoding.models import Verifier, load_verifier
from adaptive_spec.traces import read_cycles
from tests.cli.running import refuse, run, succeed
from tests.tiny_pair import PROMPTS, TinyPair, write_prompts

PROMPT = "the story: stop, the end. the story"
SHRUNK = "memory ran out: went on with 2 sequences at a time"


@pytest.fixture(scope="session")
def plain(pair: TinyPair) -> dict[str, list[int]]:
    """What ``generate`` of transformers writes, 24 tokens, by the prompts' ids."""
    verifier = load_verifier(str(pair.verifier), device="cpu")
    outputs = {}
    for prompt in PROMPTS:
        ids = torch.tensor([verifier.encode(prompt["prompt"])])
        output = verifier.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=24,
            pad_token_id=0,
        )
        outputs[prompt["id"]] = output[0, ids.shape[1] :].tolist()
    return outputs


def generate(pair: TinyPair, *arguments: object) -> list[dict[str, Any]]:
    """The completions, by way of JSON on standard output."""
    report = succeed("generate", "--verifier", pair.verifier, *arguments, "--json", "-").json()
    completions: list[dict[str, Any]] = report["completions"]
    return completions


@pytest.mark.parametrize(("policy", "batch_size"), [("fixed:tau=3", 1), ("ewma", 3)])
@pytest.mark.parametrize("drafter", ["lookup", "early-exit:layers=1", "model", "none"])
def test_output_is_that_of_plain_decoding(
    pair: TinyPair, plain: dict[str, list[int]], drafter: str, policy: str, batch_size: int
) -> None:
    completions = generate(
        pair,
        *("--drafter", pair.drafter if drafter == "model" else drafter, "--policy", policy),
        *("--batch-size", batch_size, "--prompts", pair.prompts, "--max-new-tokens", 24),
    )
    assert {c["id"]: c["token_ids"] for c in completions} == plain
    assert [c["id"] for c in completions] == list(plain)  # as asked, not as finished
    drafted = sum(c["num_draft_tokens"] for c in completions)
    assert (drafted > 0) == (drafter != "none")


def test_one_prompt_is_streamed(pair: TinyPair) -> None:
    arguments = (PROMPT, "--drafter", "none", "--max-new-tokens", 20)
    result = succeed("generate", *arguments, "--verifier", pair.verifier)
    (completion,) = generate(pair, *arguments)
    assert result.out == completion["text"] + "\n"
    assert "20 tokens in 20 verifier passes (1.00 per pass)" in result.err
    assert "tokens/s" in result.err.splitlines()[-1]  # one line, however narrow the terminal


def test_what_was_drafted_and_accepted_is_marked(pair: TinyPair) -> None:
    arguments = (PROMPT, "--drafter", pair.drafter, "--policy", "fixed:tau=3")
    result = succeed("generate", *arguments, "--verifier", pair.verifier, "--max-new-tokens", 20)
    (completion,) = generate(pair, *arguments, "--max-new-tokens", 20)
    assert completion["num_accepted_tokens"] > 0
    marks = result.out.count("[") - completion["text"].count("[")
    assert 0 < marks <= completion["passes"]


def test_several_prompts_have_headings(pair: TinyPair) -> None:
    for batch_size in (1, 2):
        result = succeed(
            *("generate", "--verifier", pair.verifier, "--prompts", pair.prompts),
            *("--max-new-tokens", 4, "--batch-size", batch_size),
        )
        assert [result.out.count(f"[{name}]\n") for name in "abcd"] == [1, 1, 1, 1]


def test_answers_finish_in_any_order_but_are_written_as_asked(
    pair: TinyPair, tmp_path: Path
) -> None:
    target = tmp_path / "answers.json"
    result = succeed(
        *("generate", "--verifier", pair.verifier, "--drafter", pair.drafter, "--batch-size", 4),
        *("--prompts", pair.prompts, "--max-new-tokens", 24, "--policy", "fixed:tau=6"),
        *("--json", target),
    )
    finished = re.findall(r"^\[([a-d])\]$", result.out, re.MULTILINE)
    assert finished != sorted(finished) == ["a", "b", "c", "d"]
    report = json.loads(target.read_text(encoding="utf-8"))
    assert [c["id"] for c in report["completions"]] == ["a", "b", "c", "d"]


def test_prompts_are_chosen(pair: TinyPair) -> None:
    files = ("--prompts", pair.prompts, "--max-new-tokens", 2)
    assert [c["id"] for c in generate(pair, *files, "--limit", 2)] == ["a", "b"]
    chosen = generate(pair, *files, "--category", "letters", "--category", "question")
    assert [(c["id"], c["category"]) for c in chosen] == [("c", "letters"), ("d", "question")]
    shipped = generate(pair, "--category", "code", "--limit", 1, "--max-new-tokens", 2)
    assert shipped[0]["category"] == "code"


def test_json_describes_each_completion(pair: TinyPair) -> None:
    result = succeed(
        *("generate", PROMPT, "--verifier", pair.verifier, "--json", "-"),
        *("--max-new-tokens", 6, "--policy", "fixed:tau=2"),
    )
    report = result.json()
    assert report["policy"] == "fixed:tau=2"
    (completion,) = report["completions"]
    assert completion["finish_reason"] == "length"
    assert len(completion["token_ids"]) == 6
    assert completion["passes"] <= 6
    assert completion["prompt_tokens"] > 0
    assert completion["decode_ms"] > 0


def test_json_file_leaves_the_text_on_standard_output(pair: TinyPair, tmp_path: Path) -> None:
    target = tmp_path / "new" / "answer.json"
    result = succeed(
        *("generate", PROMPT, "--verifier", pair.verifier, "--drafter", "none"),
        *("--max-new-tokens", 6, "--json", target),
    )
    written = json.loads(target.read_text(encoding="utf-8"))
    assert result.out == written["completions"][0]["text"] + "\n"
    assert f"results written to {target}" in result.err


def test_cycles_are_written(pair: TinyPair, tmp_path: Path) -> None:
    target = tmp_path / "cycles.parquet"
    arguments = ("--drafter", pair.drafter, "--policy", "fixed:tau=2", "--prompts", pair.prompts)
    completions = generate(pair, *arguments, "--max-new-tokens", 12, "--cycles", target)
    cycles = read_cycles(target)
    for completion in completions:
        own = [cycle for cycle in cycles if cycle.id == completion["id"]]
        assert [cycle.cycle for cycle in own] == list(range(completion["passes"]))
        assert sum(cycle.num_emitted_tokens for cycle in own) == 12
        assert sum(cycle.num_accepted_tokens for cycle in own) == completion["num_accepted_tokens"]
        drafting = [cycle for cycle in own if cycle.num_draft_tokens]
        assert all(cycle.top1_probability is not None for cycle in drafting)


def test_stop_strings_end_an_answer(pair: TinyPair) -> None:
    (whole,) = generate(pair, PROMPT, "--max-new-tokens", 60)
    letter = next(c for c in whole["text"][1:] if c.isascii() and c.isalnum())
    (stopped,) = generate(pair, PROMPT, "--max-new-tokens", 60, "--stop", letter, "--stop", "@@")
    assert stopped["finish_reason"] == "stop"
    kept = len(stopped["token_ids"])
    assert kept < len(whole["token_ids"])
    assert stopped["token_ids"] == whole["token_ids"][:kept]
    assert letter in stopped["text"]


def test_passes_of_a_request_are_limited(pair: TinyPair) -> None:
    (completion,) = generate(pair, PROMPT, "--max-new-tokens", 60, "--max-passes", 3)
    assert (completion["finish_reason"], completion["passes"]) == ("budget", 3)


def test_a_deadline_before_the_first_pass_is_told(pair: TinyPair) -> None:
    command = ("generate", "--verifier", pair.verifier, PROMPT, "--deadline", 1e-6)
    told = succeed(*command).err
    assert "no verifier pass was taken; requests ended by: deadline" in told


def test_an_answer_may_be_as_long_as_the_context(pair: TinyPair) -> None:
    arguments = (PROMPT, "--max-new-tokens", 10**9, "--max-passes", 2)
    (completion,) = generate(pair, *arguments)
    assert completion["finish_reason"] == "budget"


def test_a_batch_larger_than_the_requests_takes_no_more_memory(pair: TinyPair) -> None:
    assert len(generate(pair, PROMPT, "--batch-size", 10**9, "--max-new-tokens", 2)) == 1


def test_without_the_chat_template_a_prompt_goes_in_as_it_is(pair: TinyPair) -> None:
    (templated,) = generate(pair, PROMPT, "--max-new-tokens", 2)
    (bare,) = generate(pair, PROMPT, "--max-new-tokens", 2, "--no-chat-template")
    assert bare["prompt_tokens"] < templated["prompt_tokens"]


def test_costs_are_guessed_only_where_none_are_given(pair: TinyPair) -> None:
    command = ("generate", PROMPT, "--verifier", pair.verifier, "--max-new-tokens", 2)
    assert "costs: guessed as draft=0," in succeed(*command).err
    exit_costs = succeed(*command, "--drafter", "early-exit:layers=1").err
    assert "costs: guessed as draft=0.50" in exit_costs  # half of the verifier's layers
    assert "guessed" not in succeed(*command, "--costs", "draft=0.1").err


def test_one_source_of_prompts(pair: TinyPair) -> None:
    assert "not both" in refuse("generate", PROMPT, "--prompts", pair.prompts)


def test_a_failed_run_leaves_earlier_results_whole(pair: TinyPair, tmp_path: Path) -> None:
    target = tmp_path / "answer.json"
    target.write_text("earlier", encoding="utf-8")
    result = run(
        *("generate", "--verifier", pair.verifier, "x" * 5000, "--json", target),
        *("--max-new-tokens", 4),
    )
    assert result.code == 1
    assert target.read_text(encoding="utf-8") == "earlier"
    assert list(tmp_path.iterdir()) == [target]


def test_prompts_that_fail_are_named_and_the_others_answered(
    pair: TinyPair, plain: dict[str, list[int]], tmp_path: Path
) -> None:
    bad = {"id": "long", "prompt": "x" * 5000}
    prompts = write_prompts(tmp_path / "some.jsonl", [*PROMPTS[:2], bad, *PROMPTS[2:]])
    target = tmp_path / "answers.json"
    for batch_size in (1, 3):
        result = run(
            *("generate", "--verifier", pair.verifier, "--drafter", pair.drafter),
            *("--prompts", prompts, "--max-new-tokens", 24, "--json", target),
            *("--batch-size", batch_size, "--policy", "fixed:tau=3"),
        )
        assert result.code == 1
        assert "[long] failed: request 'long': the prompt has 5017 tokens" in result.err
        last = result.err.splitlines()[-1]
        assert last.startswith("error: 1 of 5 prompts failed, for the reasons above: long;")
        report = json.loads(target.read_text(encoding="utf-8"))
        outputs = {c["id"]: c["token_ids"] for c in report["completions"]}
        assert outputs == plain
        assert [failure["id"] for failure in report["failures"]] == ["long"]


def test_prompts_without_tokens_fail_alone(
    pair: TinyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Verifier.encode

    def forgetful(self: Verifier, prompt: str, *, chat_template: bool = True) -> list[int]:
        return encode(self, "" if "story" in prompt else prompt, chat_template=chat_template)

    monkeypatch.setattr(Verifier, "encode", forgetful)
    target = tmp_path / "answers.json"
    command = ("generate", "--verifier", pair.verifier, "--no-chat-template", "--max-new-tokens", 3)
    files = ("--prompts", pair.prompts, "--json", target)
    result = run(*command, *files)
    assert result.code == 1
    assert "2 of 4 prompts failed" in result.err
    report = json.loads(target.read_text(encoding="utf-8"))
    assert [c["id"] for c in report["completions"]] == ["b", "c"]
    target.unlink()
    message = refuse(*command, *files, "--category", "question", code=1)
    assert message.endswith("it has no tokens")
    assert "1 of 1" not in message
    monkeypatch.setattr(
        Verifier, "encode", lambda self, *_, **__: encode(self, "", chat_template=False)
    )
    assert "4 of 4 prompts failed" in refuse(*command, *files, code=1)
    assert not target.exists()


def test_prompts_that_begin_alike_are_read_once(pair: TinyPair, tmp_path: Path) -> None:
    system = "the story of the end, and the stop; "
    prompts = [{"id": name, "prompt": system * 2 + name} for name in ("one", "two", "other")]
    path = write_prompts(tmp_path / "system.jsonl", prompts)
    answers = generate(pair, "--prompts", path, "--max-new-tokens", 2, "--batch-size", 2)
    assert [c["reused_prefix_tokens"] > 16 for c in answers] == [False, True, True]


@pytest.mark.usefixtures("memory_for_two")
def test_a_batch_that_memory_does_not_allow_shrinks(
    pair: TinyPair, plain: dict[str, list[int]]
) -> None:
    result = succeed(
        *("generate", "--verifier", pair.verifier, "--drafter", "none", "--batch-size", 4),
        *("--prompts", pair.prompts, "--max-new-tokens", 24, "--json", "-"),
    )
    assert {c["id"]: c["token_ids"] for c in result.json()["completions"]} == plain
    assert SHRUNK in result.err


@pytest.mark.usefixtures("memory_for_two")
@pytest.mark.parametrize("command", ["validate", "verify"])
def test_every_run_that_shrinks_says_so(pair: TinyPair, command: str) -> None:
    result = succeed(
        *(command, "--verifier", pair.verifier, "--drafter", "lookup", "--batch-size", 4),
        *("--prompts", pair.prompts, "--max-new-tokens", 24, "-p", "fixed:tau=1"),
    )
    assert result.err.count(SHRUNK) == 2  # plain decoding, and the policy


@pytest.mark.usefixtures("memory_for_two")
def test_recording_that_shrinks_says_so(pair: TinyPair, tmp_path: Path) -> None:
    result = succeed(
        *("record", "-o", tmp_path / "t.parquet", "--verifier", pair.verifier),
        *("--prompts", pair.prompts, "--max-new-tokens", 24, "--batch-size", 4),
    )
    assert SHRUNK in result.err
