"""What engines say comes back as it was, and what is malformed is named."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec.errors import ConfigError, TraceError
from adaptive_spec.traces.acceptance import Acceptance
from adaptive_spec.traces.imports import FORMATS, Settings, import_file
from tests.traces.imports import engines
from tests.traces.imports.engines import Request, decode, requests, write_lines

SOME = [decode([True, True, False, True], [3]), decode([False, True, True, False, True], [2])]
RECORDS: dict[str, list[dict[str, Any]]] = {
    "run-lengths": [{"id": "a", "prompt_tokens": 3, "run_lengths": [2, 1, 0]}],
    "vllm": [engines.vllm(r, str(i)) for i, r in enumerate(SOME)],
    "sglang": [engines.sglang(r, str(i)) for i, r in enumerate(SOME)],
    "llama-timings": [engines.llama_timings(r, str(i)) for i, r in enumerate(SOME)],
    "flashspec": [engines.flashspec(r, str(i)) for i, r in enumerate(SOME)],
}


@given(requests())
def test_histograms_of_vllm_and_sglang(
    tmp_path_factory: pytest.TempPathFactory, some: list[Request]
) -> None:
    alike = [decode(request.bits, request.drafted[:1]) for request in some]
    folder = tmp_path_factory.mktemp("histograms")
    records = [engines.vllm(r, str(i), detailed=False) for i, r in enumerate(alike)]
    vllm = import_file("vllm", write_lines(folder / "vllm.jsonl", records))
    records = [engines.sglang(r, str(i)) for i, r in enumerate(alike)]
    sglang = import_file("sglang", write_lines(folder / "sglang.jsonl", records))
    true = Acceptance.of_drafts(
        np.array([d for r in alike for d in r.drafted]),
        np.array([a for r in alike for a in r.accepted]),
    )
    for found in (vllm, sglang):
        assert found.exactness == "distribution"
        assert found.acceptance is not None
        assert found.acceptance.survival() == pytest.approx(true.survival())
        assert found.totals.drafts == sum(len(r.drafted) for r in alike)
        assert found.totals.num_draft_tokens == sum(sum(r.drafted) for r in alike)
        assert found.traces is not None
        assert found.traces.info.known_draft_tokens == true.longest_draft


def test_a_drawn_trace_has_the_mean_runs_of_what_it_is_drawn_from(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    some = [decode((random.random(300) < 0.6).tolist(), [4]) for _ in range(30)]
    records = [engines.sglang(r, str(i)) for i, r in enumerate(some)]
    found = import_file("sglang", write_lines(tmp_path / "s.jsonl", records))
    assert found.acceptance is not None
    assert found.traces is not None
    runs = np.concatenate([np.minimum(s.run_lengths[:-4], 4) for s in found.traces])
    assert runs.mean() == pytest.approx(found.acceptance.survival()[1:].sum(), abs=0.05)
    assert len(found.traces) == 30


@pytest.mark.parametrize(
    ("form", "prefix", "labels"),
    [("llama-metrics", "llamacpp:", ""), ("vllm-metrics", "vllm:", 'engine="0",model_name="a} b"')],
)
@given(some=requests(least_draft=0))
def test_counters(
    tmp_path_factory: pytest.TempPathFactory,
    form: str,
    prefix: str,
    labels: str,
    some: list[Request],
) -> None:
    path = tmp_path_factory.mktemp("metrics") / "metrics.txt"
    path.write_text(engines.metrics_text(some, prefix, labels), encoding="utf-8")
    found = import_file(form, path)
    drafted = [d for r in some for d in r.drafted if d]
    assert found.totals.drafts == len(drafted)
    assert found.totals.num_draft_tokens == sum(drafted)
    assert found.acceptance is not None
    if len(set(drafted)) == 1:
        assert found.acceptance.is_certain
        assert not any("which drafts were short" in lack for lack in found.missing)


def test_counters_of_several_engines_are_added_and_rounding_is_forgiven(tmp_path: Path) -> None:
    one, two = (engines.metrics_text(SOME, "vllm:", f'engine="{i}"') for i in range(2))
    path = tmp_path / "metrics.txt"
    path.write_text(one + two, encoding="utf-8")
    assert import_file("vllm-metrics", path).totals.drafts == 2 * sum(len(r.drafted) for r in SOME)
    path.write_text(
        "llamacpp:spec_decode_num_drafts_total 1.23457e+06\n"
        "llamacpp:spec_decode_num_draft_tokens_total 2.46914e+06\n"
        "llamacpp:spec_decode_num_accepted_tokens_total 2.46914e+06\n"
        'llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position="0"} 1234571\n'
        'llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position="1"} 1234568\n'
        "llamacpp:tokens_predicted_total 4e+06\n"
        "llamacpp:tokens_predicted_seconds_total 200.5\n",
        encoding="utf-8",
    )
    found = import_file("llama-metrics", path)
    assert found.acceptance is not None
    assert found.acceptance.judged_most[0] == 1234571
    assert (found.totals.tokens, found.totals.decode_ms) == (4_000_000, 200_500.0)


@given(requests())
def test_timings_are_averages(
    tmp_path_factory: pytest.TempPathFactory, some: list[Request]
) -> None:
    records = [engines.llama_timings(r, str(i)) for i, r in enumerate(some)]
    path = tmp_path_factory.mktemp("timings") / "timings.jsonl"
    found = import_file("llama-timings", write_lines(path, records))
    assert found.exactness == "averages"
    assert found.traces is None
    assert found.totals.passes == sum(len(r.accepted) for r in some)
    assert found.totals.num_accepted_tokens == sum(sum(r.accepted) for r in some)
    assert found.totals.prompt_tokens == 7 * len(some)


@pytest.mark.parametrize("form", RECORDS)
def test_json_and_json_lines_say_the_same(tmp_path: Path, form: str) -> None:
    lines = import_file(form, write_lines(tmp_path / "a.jsonl", RECORDS[form]))
    listed = tmp_path / "b.json"
    listed.write_text(json.dumps(RECORDS[form], indent=2), encoding="utf-8")
    assert import_file(form, listed).as_dict() == lines.as_dict()
    one = tmp_path / "c.json"
    one.write_text(json.dumps(RECORDS[form][0], indent=2), encoding="utf-8")
    assert import_file(form, one).totals.requests == 1


@pytest.mark.parametrize(
    ("form", "path", "value", "words"),
    [
        ("vllm", ("metrics",), None, "'metrics.speculative_decoding' is missing; start vLLM with"),
        (
            "vllm",
            ("metrics", "speculative_decoding", "per_step_drafted"),
            [3],
            "must be equal|one a",
        ),
        ("vllm", ("metrics", "speculative_decoding", "num_spec_tokens"), 9, "one more than that"),
        ("vllm", ("metrics", "speculative_decoding", "num_draft_tokens"), 99, "num_draft_tokens"),
        ("vllm", ("usage", "completion_tokens"), -1, "completion_tokens = -1"),
        ("sglang", ("meta_info", "spec_verify_ct"), 99, "which must be equal to them"),
        ("sglang", ("meta_info", "spec_num_proposed_drafts"), 1, "multiple of"),
        ("sglang", ("meta_info", "spec_cap_lens_histogram"), [1], "spec_cap_lens_histogram counts"),
        ("sglang", ("meta_info",), {}, "'meta_info.spec_verify_ct' is missing"),
        ("llama-timings", ("timings", "draft_n_accepted"), 99, "at most draft_n"),
        ("llama-timings", ("timings", "predicted_ms"), "fast", 'predicted_ms = "fast"'),
        ("flashspec", ("arm_steps",), None, "'arm_steps' is missing"),
        ("flashspec", ("arm_steps", 0, "emitted"), 9, "emitted = 9 with accepted"),
        ("flashspec", ("arm_steps", 0, "accepted"), 5, "drafted 2 tokens and had 5 accepted"),
        ("run-lengths", ("run_lengths",), [-1], "run_lengths[0] = -1"),
    ],
)
def test_what_is_malformed_is_named_with_its_line(
    tmp_path: Path, form: str, path: tuple[Any, ...], value: Any, words: str
) -> None:
    bad = copy.deepcopy(RECORDS[form][-1])
    place = bad
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    bad["id"] = "last"
    source = write_lines(tmp_path / "bad.jsonl", [*RECORDS[form], bad])
    with pytest.raises(TraceError) as raised:
        import_file(form, source)
    assert f"{source}', line {len(RECORDS[form]) + 1}" in str(raised.value).replace("\\\\", "\\")
    assert any(word in str(raised.value) for word in words.split("|"))


def fields(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container within a value, with each of its keys."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from fields(value[key])


JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, -1, 0, 1, 2, 7, 1 << 70, 0.5, 1e300, float("nan"), "", "a", [], [1], [[]], {}, True]
)


@pytest.mark.parametrize("form", RECORDS)
@given(data=st.data())
def test_no_change_of_a_field_ends_otherwise_than_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, form: str, data: st.DataObject
) -> None:
    record = copy.deepcopy(RECORDS[form][0])
    place, key = data.draw(st.sampled_from(list(fields(record))))
    place[key] = data.draw(JUNK)
    path = write_lines(tmp_path_factory.mktemp("junk") / "junk.jsonl", [record])
    try:
        found = import_file(form, path)
    except TraceError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert found.as_dict()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "llamacpp:spec_decode_num_drafts_total many",
            "line 2: spec_decode_num_drafts_total = many",
        ),
        ("llamacpp:spec_decode_num_drafts_total -1", "a counter is a number from 0"),
        (
            "llamacpp:spec_decode_num_drafts_total",
            "line 2: 'llamacpp:spec_decode_num_drafts_total'",
        ),
        ("llamacpp:spec_decode_num_accepted_tokens_per_pos_total 3", "must have a position"),
        ('llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position="9"} 9', "adds up to"),
        ("llamacpp:spec_decode_num_draft_tokens_total 999", "cannot have that many"),
    ],
)
def test_counters_that_are_none_are_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "metrics.txt"
    path.write_text(f"\n{line}\n" + engines.metrics_text(SOME, "llamacpp:"), encoding="utf-8")
    with pytest.raises(TraceError) as raised:
        import_file("llama-metrics", path)
    assert words in str(raised.value)


def test_files_that_are_none_of_it(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("", encoding="utf-8")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for form in FORMATS:
        for path in (empty, binary, tmp_path / "missing"):
            with pytest.raises(TraceError, match=path.name):
                import_file(form, path)
    with pytest.raises(ConfigError, match="there are run-lengths, vllm"):
        import_file("vlm", empty)


def test_settings_that_a_format_does_not_heed_are_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", RECORDS["sglang"])
    with pytest.raises(ConfigError, match=r"drafting: sglang does not heed it.*vllm, flashspec"):
        import_file("sglang", path, Settings(drafting="token"))
    with pytest.raises(ConfigError, match="longest-draft"):
        import_file("sglang", path, Settings(longest_draft=3))
    with pytest.raises(ConfigError, match="it matters where drafting is 'token'"):
        import_file("vllm", path, Settings(unknown="accepted"))


def test_run_lengths_of_drafts_of_one_length_are_capped(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", RECORDS["run-lengths"])
    assert import_file("run-lengths", path).exactness == "exact"
    found = import_file("run-lengths", path, Settings(longest_draft=2))
    assert found.exactness == "capped"
    assert found.traces is not None
    assert found.traces.info.known_draft_tokens == 2
    with pytest.raises(TraceError, match="has a run of 2 tokens"):
        import_file("run-lengths", path, Settings(longest_draft=1))


def test_nothing_drafted_is_said(tmp_path: Path) -> None:
    record = engines.sglang(decode([True, False], [0]), "a")
    found = import_file("sglang", write_lines(tmp_path / "a.jsonl", [record]))
    assert (found.exactness, found.traces) == ("averages", None)
    assert found.concluded == ("nothing was drafted, so that nothing is known of drafts",)
