"""What the documents say is so: code runs, commands parse, links lead somewhere, tables agree."""

import dataclasses
import json
import re
import shlex
import shutil
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import typer
from hypothesis import settings

from adaptive_spec import ConstantCosts, make_policy, parse_costs, policy_names
from adaptive_spec._specs import spec_value
from adaptive_spec.cli.app import app
from adaptive_spec.prompts import read_prompts
from adaptive_spec.registry import policy_class, policy_spec
from adaptive_spec.simulations.comparison import compare
from adaptive_spec.simulations.scenarios import load_scenario, scenario_names
from adaptive_spec.simulations.serving import read_arrivals
from adaptive_spec.traces import (
    SIGNALS,
    LoggedCycle,
    SequenceTrace,
    TraceInfo,
    TraceSet,
    import_run_lengths,
    run_lengths_of,
    write_trace,
)
from adaptive_spec.traces._trace_columns import column_types

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
}
SHELL = ("sh", "console")
COMMANDS: Any = typer.main.get_command(app)

OF_OTHERS = {
    *("-e", "-sh", "-k"),
    *("--additional-config", "--config", "--per-request-spec-decode-metrics", "--scheduler-cls"),
    *("--speculative-config", "--speculative-adaptive", "--speculative-num-steps"),
    *("--metrics", "--spec-draft-n-max", "--spec-draft-p-min"),
    "--into",
}
"""Options of other programs: pytest, vLLM, SGLang, llama.cpp, and `make vllm-bench`."""

every_document = pytest.mark.parametrize("name", DOCUMENTS)


class Block(NamedTuple):
    """A fenced block, and the line of its document at which it begins."""

    language: str
    line: int
    text: str


def blocks(name: str, *languages: str) -> list[Block]:
    fences = re.finditer(r"^```(\w*)\n(.*?)^```$", DOCUMENTS[name], flags=re.MULTILINE | re.DOTALL)
    found = (Block(f[1], DOCUMENTS[name].count("\n", 0, f.start()) + 1, f[2]) for f in fences)
    return [block for block in found if block.language in languages]


def output_shown(name: str, block: Block) -> str | None:
    """The text that follows a block at once, which is what it prints; None for none."""
    _, follows, rest = DOCUMENTS[name].partition(f"{block.text}```\n\n```text\n")
    return rest.partition("```")[0] if follows else None


def prose(name: str) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", DOCUMENTS[name], flags=re.MULTILINE | re.DOTALL)


def code_spans(name: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(name))


def section(name: str, heading: str) -> str:
    """The text below a heading, up to the next one of its level."""
    [_, text] = DOCUMENTS[name].split(f"\n## {heading}\n")
    return text.partition("\n## ")[0]


def example_trace() -> TraceSet:
    random = np.random.default_rng(0)
    sequences = []
    for i in range(6):
        runs = run_lengths_of(random.random(40) < 0.7)
        proposes = np.ones(runs.size, np.bool_)
        sequences.append(SequenceTrace(f"chat/{i}", "chat", 20, runs, proposes, limit_tokens=64))
    return TraceSet(TraceInfo("verifier", "drafter", "token"), tuple(sequences))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a reader who has recorded a trace, and fitted a head."""
    write_trace(example_trace(), tmp_path / "trace.parquet")
    shutil.copy(ROOT / "policies" / "disco_head.json", tmp_path / "head.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The policy of the guide, installed as the guide says; its name."""
    name = "docs/writing-a-policy.md"
    [toml] = blocks(name, "toml")
    groups = tomllib.loads(toml.text)["project"]["entry-points"]
    [(group, points)] = groups.items()
    [(policy, target)] = points.items()
    site, module = tmp_path / "site", target.partition(":")[0]
    info = site / "rules_of_the_guide-1.0.dist-info"
    info.mkdir(parents=True)
    header = "Metadata-Version: 2.1\nName: rules-of-the-guide\nVersion: 1.0\n"
    (info / "METADATA").write_text(header, encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{group}]\n{policy} = {target}\n", encoding="utf-8")
    (site / f"{module}.py").write_text(blocks(name, "python")[0].text, encoding="utf-8")
    monkeypatch.syspath_prepend(site)
    yield policy
    sys.modules.pop(module, None)
    policy_class.cache_clear()


@pytest.fixture
def few_examples() -> Iterator[None]:
    """Properties in documents are tried a few times: this tests the documents."""
    before = settings.get_current_profile_name()
    settings.register_profile("documents", max_examples=5, deadline=None, database=None)
    settings.load_profile("documents")
    yield
    settings.load_profile(before)


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if blocks(name, "python")])
@pytest.mark.usefixtures("folder", "few_examples")
def test_python_runs(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = types.ModuleType("document")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(name, "python"):
        padded = "\n" * block.line + block.text  # so that a traceback shows the document's line
        exec(compile(padded, str(ROOT / name), "exec"), module.__dict__)  # noqa: S102
        printed, shown = capsys.readouterr().out, output_shown(name, block)
        assert not printed or shown in (None, printed)


def test_the_guide_s_policy_is_found_by_its_name(registered: str) -> None:
    assert registered in policy_names()
    spec = f"{registered}:weight=0.5"
    assert policy_spec(make_policy(spec)) == spec


def shell_lines(text: str) -> list[list[str]]:
    joined = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in joined]


def check_command(words: list[str]) -> None:
    """Parses a command as typer would before running it, and the specs among its options."""
    assert words[0] in COMMANDS.commands, words
    command, words = COMMANDS.commands[words[0]], words[1:]
    while hasattr(command, "commands"):  # a group of commands
        command, words = command.commands[words[0]], words[1:]
    context = command.make_context(command.name, words)
    policies = context.params.get("policy") or []
    for spec in [policies] if isinstance(policies, str) else policies:
        make_policy(spec)
    costs = context.params.get("costs") or []
    for text in [costs] if isinstance(costs, str) else costs:
        if not text.endswith(".json"):
            parse_costs(text)


@every_document
@pytest.mark.usefixtures("registered", "folder")
def test_commands_parse(name: str) -> None:
    for block in blocks(name, *SHELL):
        for words in shell_lines(block.text):
            if words[:1] == ["adaptive-spec"]:
                check_command(words[1:])
    for span in code_spans(name):
        words = shlex.split(span) if span.startswith(("adaptive-spec ", "make ")) else [""]
        if words[0] == "adaptive-spec":
            assert words[1] in (*COMMANDS.commands, "COMMAND"), span
        for word in words[1:]:
            if words[1] == "demo" and word.startswith("ARGS="):
                check_command(["demo", *shlex.split(word.removeprefix("ARGS="))])


def test_a_wrong_command_is_noticed() -> None:
    for wrong in (
        "compare trace.parquet --no-such-option",
        "compare",  # lacks the trace
        "no-such-command",
        "simulate trace.parquet -p no-such-policy",
        "simulate trace.parquet --costs draft=cheap",
        "generate Hello --max-new-tokens many",
    ):
        with pytest.raises(Exception, match=r".") as caught:
            check_command(shlex.split(wrong))
        assert not isinstance(caught.value, AttributeError | TypeError), wrong


@every_document
def test_options_named_in_the_text_exist(name: str) -> None:
    known = {"--help", "--no-deps", "--version"}  # of pip, and of all commands
    groups = [c for c in COMMANDS.commands.values() if hasattr(c, "commands")]
    nested = [command for group in groups for command in group.commands.values()]
    for command in (*COMMANDS.commands.values(), *nested):
        for parameter in command.params:
            known.update(parameter.opts, parameter.secondary_opts)
    named = {
        word for span in code_spans(name) for word in re.findall(r"(?<!\S)--?[a-z][a-z0-9-]*", span)
    }
    assert named - known <= OF_OTHERS


@every_document
def test_make_targets_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = [line for b in blocks(name, *SHELL) for line in b.text.splitlines()]
    for text in (*code_spans(name), *lines):
        for target in re.findall(r"^(?:\w+=\S+ )?make ([a-z-]+)", text):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), text


def anchors(name: str) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(name), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@every_document
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(name)):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.is_file(), target
        if anchor:
            assert anchor in anchors(path.resolve().relative_to(ROOT).as_posix()), target


@every_document
def test_files_named_in_the_text_exist(name: str) -> None:
    parts = (ROOT, ROOT / "adaptive_spec", *(p for p in (ROOT / "adaptive_spec").iterdir()))
    for span in code_spans(name):
        if re.fullmatch(r"[\w/]+\.py", span) and span != "my_rules.py":
            assert any((part / span).is_file() for part in parts), span


@every_document
def test_nothing_points_outside_the_repository(name: str) -> None:
    assert not re.findall(r"(?<![\w.:/])/(?:home|root|tmp|work|opt|mnt|Users)\b", DOCUMENTS[name])
    assert "../" not in DOCUMENTS[name].replace("(../", "(")  # links are checked above


def test_examples_of_data_can_be_read(tmp_path: Path) -> None:
    examples = [block.text for name in DOCUMENTS for block in blocks(name, "json")]
    assert examples
    for text in examples:
        path = tmp_path / "example.jsonl"
        path.write_text(text, encoding="utf-8")
        keys = json.loads(text.splitlines()[0])
        if "run_lengths" in keys:
            assert len(import_run_lengths(path)) == text.count("\n")
        elif "arrival_ms" in keys:
            assert len(read_arrivals(path).classes) == text.count("\n")
        else:
            assert len(read_prompts(path)) == text.count("\n")


def test_the_scenario_of_the_guide_loads(tmp_path: Path) -> None:
    [toml] = blocks("docs/scenarios.md", "toml")
    path = tmp_path / "mine.toml"
    path.write_text(toml.text, encoding="utf-8")
    assert load_scenario(path).degradation is not None


def test_every_scenario_has_its_row() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \|", section("docs/scenarios.md", "What there is"), flags=re.MULTILINE
    )
    assert sorted(rows) == sorted(scenario_names())


def test_every_policy_has_its_section_and_its_fields() -> None:
    for policy in policy_names():
        fields = {
            field.name: spec_value(field.default)
            for field in dataclasses.fields(policy_class(policy))  # type: ignore[arg-type]
            if field.init
        }
        rows = re.findall(
            r"^\| `(\w+)` \| ([^|`]+) \|", section("docs/policies.md", policy), flags=re.MULTILINE
        )
        assert dict(rows) == fields


def test_every_column_and_key_is_described() -> None:
    entry = compare(["ewma"], example_trace(), costs=ConstantCosts(), resamples=10).as_dict()
    spans = {part for part in code_spans("docs/traces.md") if re.fullmatch(r"\w+", part)}
    keys = set(entry)
    for value in ("plain", "best_static"):
        part = entry[value]
        assert isinstance(part, dict)
        keys |= set(part)
    columns = {c for c in column_types([SIGNALS]) if not c.endswith(("_first", "_later"))}
    logged = {field.name for field in dataclasses.fields(LoggedCycle)}
    info = {field.name for field in dataclasses.fields(TraceInfo)}
    assert (keys | columns | logged | info | set(SIGNALS)) - spans == set()
