from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_spec import NumericsError
from adaptive_spec.decoding.recorder import Recorder
from adaptive_spec.traces import read_trace
from tests.cli.running import Result, refuse, run, succeed
from tests.tiny_pair import PROMPTS, TinyPair, write_prompts
from tests.traces.examples import same_trace


def command(pair: TinyPair, output: Path | str, *more: object) -> tuple[object, ...]:
    return (
        *("record", "-o", output, "--verifier", pair.verifier, "--drafter", pair.drafter),
        *("--prompts", pair.prompts, "--max-new-tokens", 30, *more),
    )


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids that the recorder is given, as they come."""
    ids: list[str] = []
    original = Recorder.record

    def spy(self: Recorder, request: Any, completion: Any) -> Any:
        ids.append(request.id)
        return original(self, request, completion)

    monkeypatch.setattr(Recorder, "record", spy)
    return ids


def interrupt_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the recorder looks at the sequence after so many."""
    original = Recorder.record
    calls: list[str] = []

    def interrupted(self: Recorder, request: Any, completion: Any) -> Any:
        if len(calls) == count:
            raise KeyboardInterrupt
        calls.append(request.id)
        return original(self, request, completion)

    monkeypatch.setattr(Recorder, "record", interrupted)


def test_a_trace_says_what_it_is_of(pair: TinyPair, trace: Path, lookup_trace: Path) -> None:
    traces = read_trace(trace)
    assert [(s.id, s.category) for s in traces] == [(p["id"], p["category"]) for p in PROMPTS]
    info = traces.info
    assert (info.verifier, info.drafter) == (str(pair.verifier), str(pair.drafter))
    assert (info.drafting, info.source, info.signal_depth) == ("token", "recorded", 10)
    assert info.numerics == "float32, cpu, sdpa"
    assert (info.max_new_tokens, info.chat_template) == (30, True)
    assert set(traces.sequences[0].signals) == {"top1_probability", "entropy", "margin"}
    assert all(np.isfinite(s.certainty or np.nan).all() for s in traces)
    assert read_trace(lookup_trace).info.drafter.startswith("lookup")


def test_the_output_recorded_is_what_generate_writes(pair: TinyPair, trace: Path) -> None:
    report = succeed(
        *("generate", "--verifier", pair.verifier, "--drafter", pair.drafter, "--json", "-"),
        *("--prompts", pair.prompts, "--max-new-tokens", 30),
    ).json()
    for sequence, completion in zip(read_trace(trace), report["completions"], strict=True):
        assert sequence.output_ids is not None
        assert sequence.output_ids.tolist() == completion["token_ids"]
        assert sequence.finish_reason == completion["finish_reason"]


def test_nothing_is_left_beside_a_finished_trace(trace: Path) -> None:
    assert [path.name for path in trace.parent.iterdir()] == [trace.name]


@pytest.mark.parametrize("name", ["run.parquet", "folder/"])
def test_an_interrupted_run_goes_on(
    pair: TinyPair,
    trace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorded: list[str],
    name: str,
) -> None:
    target = f"{tmp_path}/{name}"
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        result = run(*command(pair, target))
    assert result.code == 130
    assert "2 of 4 recorded; the same command continues" in result.err
    assert result.err.splitlines()[-1] == "interrupted"
    assert not Path(target).is_file()

    first = list(recorded)
    again = succeed(*command(pair, target))
    assert "2 of 4 are recorded already" in again.err
    assert sorted(recorded) == ["a", "b", "c", "d"]
    assert not set(first) & set(recorded[len(first) :])
    assert by_id(target) == by_id(trace)
    if name.endswith(".parquet"):
        assert same_trace(read_trace(target), read_trace(trace))
        assert [path.name for path in tmp_path.iterdir()] == [name]


def by_id(path: Path | str) -> dict[str, list[int]]:
    return {sequence.id: sequence.run_lengths.tolist() for sequence in read_trace(path)}


def test_an_interruption_before_anything_is_recorded_leaves_nothing(
    pair: TinyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(0, monkeypatch)
    assert run(*command(pair, tmp_path / "run.parquet")).code == 130
    assert list(tmp_path.iterdir()) == []


def test_a_finished_trace_is_extended_by_more_prompts(
    pair: TinyPair, trace: Path, tmp_path: Path, recorded: list[str]
) -> None:
    target = tmp_path / "run.parquet"
    succeed(*command(pair, target, "--category", "letters"))
    succeed(*command(pair, target))
    assert recorded[0] == "c"
    assert sorted(recorded[1:]) == ["a", "b", "d"]
    assert same_trace(read_trace(target), read_trace(trace))  # in the prompts' order


def test_a_complete_trace_is_left_as_it_is(
    pair: TinyPair, trace: Path, recorded: list[str]
) -> None:
    before = trace.read_bytes()
    assert "4 of 4 are recorded already" in succeed(*command(pair, trace)).err
    assert recorded == []
    assert trace.read_bytes() == before


def test_other_settings_are_refused(pair: TinyPair, trace: Path) -> None:
    def refused(*more: object) -> str:
        before = trace.read_bytes()
        message = refuse(*command(pair, trace, *more), code=1)
        assert trace.read_bytes() == before
        assert [path.name for path in trace.parent.iterdir()] == [trace.name]
        return message

    assert "max_new_tokens is 30, not 31" in refused("--max-new-tokens", 31)
    assert "drafter is " in refused("--drafter", "lookup")
    assert "signal_depth is 10, not 0" in refused("--no-signals")
    assert "numerics is " in refused("--dtype", "bfloat16")
    assert "chat_template is True, not False" in refused("--no-chat-template")


def test_a_changed_prompt_under_the_same_id_is_refused(
    pair: TinyPair, trace: Path, tmp_path: Path
) -> None:
    changed = [{**PROMPTS[0], "prompt": "another one"}, *PROMPTS[1:]]
    other = write_prompts(tmp_path / "changed.jsonl", changed)
    before = trace.read_bytes()
    message = refuse(*command(pair, trace, "--prompts", other), code=1)
    assert "'a' was recorded with another prompt" in message
    assert trace.read_bytes() == before


def test_signals_can_be_left_out(pair: TinyPair, tmp_path: Path) -> None:
    target = tmp_path / "run.parquet"
    succeed(*command(pair, target, "--no-signals", "--limit", 1))
    traces = read_trace(target)
    assert traces.sequences[0].signals == {}
    assert traces.sequences[0].certainty is None
    assert traces.info.signal_depth == 0


def test_signals_are_kept_as_deep_as_asked(pair: TinyPair, tmp_path: Path) -> None:
    target = tmp_path / "run.parquet"
    succeed(*command(pair, target, "--max-draft-tokens", 3, "--limit", 1))
    signal = read_trace(target).sequences[0].signals["margin"]
    assert signal.later.shape[1] == 2
    assert np.isfinite(signal.first).all()


def test_a_file_that_is_no_trace_is_left_alone(pair: TinyPair, trace: Path, tmp_path: Path) -> None:
    target = tmp_path / "run.parquet"
    for content in (b'{"a": 1}', trace.read_bytes()[:-20], b""):
        target.write_bytes(content)
        assert "delete it or choose another" in refuse(*command(pair, target), code=1)
        assert target.read_bytes() == content
        assert list(tmp_path.iterdir()) == [target]


def test_a_prompt_too_long_leaves_the_trace_whole(
    pair: TinyPair, trace: Path, tmp_path: Path
) -> None:
    long = write_prompts(tmp_path / "long.jsonl", [{"id": "long", "prompt": "x" * 5000}])
    before = trace.read_bytes()
    message = refuse(*command(pair, trace, "--prompts", long), code=1)
    assert "'long': the prompt has 50" in message
    assert trace.read_bytes() == before
    assert [path.name for path in trace.parent.iterdir()] == [trace.name]


def test_prompts_that_fail_are_named_and_the_others_recorded(
    pair: TinyPair, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Recorder.record

    def broken(self: Recorder, request: Any, completion: Any) -> Any:
        if request.id == "nan":
            raise NumericsError("the draft model's logits are not finite")
        return original(self, request, completion)

    monkeypatch.setattr(Recorder, "record", broken)
    bad = [{"id": "long", "prompt": "x" * 5000}, {"id": "nan", "prompt": "the end"}]
    prompts = write_prompts(tmp_path / "some.jsonl", [bad[0], *PROMPTS, bad[1]])
    target = tmp_path / "some.parquet"
    result = run(*command(pair, target, "--prompts", prompts))
    assert result.code == 1
    assert "[long] failed: request 'long': the prompt has 50" in result.err
    assert "[nan] failed: the draft model's logits" in result.err
    assert "error: 2 of 6 prompts failed" in result.err.splitlines()[-1]
    assert same_trace(read_trace(target), read_trace(trace))
    assert {path.name for path in tmp_path.iterdir()} == {prompts.name, target.name}


def test_recording_nothing_is_refused(pair: TinyPair, tmp_path: Path) -> None:
    result: Result = run(*command(pair, tmp_path / "x.parquet", "--category", "nope"))
    assert result.code == 1
    assert "no prompts of category ['nope']" in result.err
    refuse(*command(pair, tmp_path / "x.parquet", "--drafter", "none"))
    assert list(tmp_path.iterdir()) == []
