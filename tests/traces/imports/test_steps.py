"""Steps as traces: what is known is kept, and what isn't lies between two bounds."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from adaptive_spec import ConstantCosts
from adaptive_spec.errors import ConfigError
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces import (
    SequenceTrace,
    TraceInfo,
    TraceSet,
    read_trace,
    run_lengths_of,
    write_trace,
)
from adaptive_spec.traces.imports import Imported, Settings, import_file
from tests.traces.imports.engines import Request, decode, flashspec, requests, vllm, write_lines

LOWER = Settings(drafting="token")
UPPER = Settings(drafting="token", unknown="accepted")
COSTS = ConstantCosts(0.1, 0.0)


def truth(some: list[Request]) -> TraceSet:
    sequences = (
        SequenceTrace(str(i), "", 8, run_lengths_of(np.array(r.bits)), np.ones(r.tokens, np.bool_))
        for i, r in enumerate(some)
    )
    return TraceSet(TraceInfo("v", "d", "token"), tuple(sequences))


def cycles(traces: TraceSet | None, tau: int) -> list[int]:
    assert traces is not None
    counts: list[int] = replay(Fixed(tau), traces, costs=COSTS, max_draft_tokens=8).cycles.tolist()
    return counts


def read(path: Path, some: list[Request], settings: Settings) -> Imported:
    records = [vllm(request, str(i)) for i, request in enumerate(some)]
    return import_file("vllm", write_lines(path, records), settings)


@given(requests())
def test_passes_lie_between_those_of_the_bounds(
    tmp_path_factory: pytest.TempPathFactory, some: list[Request]
) -> None:
    path = tmp_path_factory.mktemp("steps") / "steps.jsonl"
    lower, upper = (read(path, some, settings).traces for settings in (LOWER, UPPER))
    for tau in range(7):
        true = cycles(truth(some), tau)
        assert all(a >= b for a, b in zip(cycles(lower, tau), true, strict=True))
        assert all(a <= b for a, b in zip(cycles(upper, tau), true, strict=True))


@given(requests())
def test_known_bits_are_those_of_the_text(
    tmp_path_factory: pytest.TempPathFactory, some: list[Request]
) -> None:
    path = tmp_path_factory.mktemp("steps") / "steps.jsonl"
    lower, upper = (read(path, some, settings).traces for settings in (LOWER, UPPER))
    assert lower is not None
    assert upper is not None
    for low, high, request in zip(lower, upper, some, strict=True):
        bits = np.array(request.bits)
        assert (low.agreement <= bits).all()
        assert (bits <= high.agreement).all()


def test_one_length_replays_as_it_was_recorded(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    some = [decode((random.random(50) < 0.7).tolist(), [4]) for _ in range(5)]
    found = read(tmp_path / "steps.jsonl", some, LOWER)
    assert cycles(found.traces, 4) == [len(request.drafted) for request in some]
    assert found.exactness == "lower bound"
    assert any("taken for rejected" in lack for lack in found.missing)


def test_steps_that_show_every_token_are_exact(tmp_path: Path) -> None:
    found = read(tmp_path / "steps.jsonl", [decode([True, False, True, False], [3])], LOWER)
    assert found.exactness == "exact"
    assert found.traces is not None
    assert found.traces.sequences[0].run_lengths.tolist() == [1, 0, 1, 0]
    assert found.traces.sequences[0].prompt_tokens == 8  # the first token came with the prompt


def test_the_grade_goes_with_the_trace_and_long_drafts_are_refused(tmp_path: Path) -> None:
    found = read(tmp_path / "steps.jsonl", [decode([True, True, False, True], [2])], Settings())
    assert found.exactness == "distribution"
    assert found.traces is not None
    write_trace(found.traces, tmp_path / "trace.parquet")
    again = read_trace(tmp_path / "trace.parquet")
    assert again.info == found.traces.info
    assert (again.info.source, again.info.known_draft_tokens) == ("synthetic", 2)
    replay(Fixed(2), again, costs=COSTS, max_draft_tokens=2)
    with pytest.raises(ConfigError, match="max_draft_tokens = 3: this trace tells of drafts of up"):
        replay(Fixed(2), again, costs=COSTS, max_draft_tokens=3)


@pytest.mark.parametrize("extra", [-2, 3])
def test_requests_with_other_numbers_of_tokens_are_left_out(tmp_path: Path, extra: int) -> None:
    whole, part = decode([True, False, True], [2]), decode([False, False, True, True], [1])
    record = vllm(part, "part")
    record["usage"]["completion_tokens"] += extra
    path = write_lines(tmp_path / "steps.jsonl", [vllm(whole, "whole"), record])
    found = import_file("vllm", path, LOWER)
    assert found.traces is not None
    assert [sequence.id for sequence in found.traces] == ["whole"]
    assert any("steps of 1 of 2 requests" in lack for lack in found.missing)
    assert found.acceptance is not None
    assert found.acceptance.judged_most.sum() == 4 + sum(part.drafted)


def test_what_is_not_given_is_said(tmp_path: Path) -> None:
    """Metrics of the offline API, which come without a response around them."""
    bare = vllm(decode([True, False, True], [2]), "a")["metrics"]["speculative_decoding"]
    found = import_file("vllm", write_lines(tmp_path / "steps.jsonl", [bare]), LOWER)
    assert found.traces is not None
    assert [sequence.id for sequence in found.traces] == ["request-1"]
    assert any("the length of prompts" in lack for lack in found.missing)
    assert any("how many tokens were emitted" in lack for lack in found.missing)


def test_several_drafters_give_a_distribution(tmp_path: Path) -> None:
    record = flashspec(decode([True, False, True, True], [2]), "a")
    record["arm_steps"][1]["drafter"] = 1
    found = import_file("flashspec", write_lines(tmp_path / "steps.jsonl", [record]), LOWER)
    assert found.exactness == "distribution"
    assert any("several drafters" in lack for lack in found.missing)


@given(requests(least_draft=0))
def test_flashspec_tells_what_vllm_tells(
    tmp_path_factory: pytest.TempPathFactory, some: list[Request]
) -> None:
    folder = tmp_path_factory.mktemp("steps")
    records = [flashspec(request, str(i)) for i, request in enumerate(some)]
    found = import_file("flashspec", write_lines(folder / "flash.jsonl", records), LOWER)
    other = read(folder / "vllm.jsonl", some, LOWER)
    assert found.traces is not None
    assert other.traces is not None
    for one, two in zip(found.traces, other.traces, strict=True):
        assert one.run_lengths.tolist() == two.run_lengths.tolist()
    assert found.totals.decode_ms == pytest.approx(2.0 * sum(len(r.drafted) for r in some))
