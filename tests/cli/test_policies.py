import json
from pathlib import Path

import pytest

from adaptive_spec import make_policy, policy_names
from tests.cli.running import refuse, succeed
from tests.cli.third_party import install


def test_all_policies_are_listed() -> None:
    out = succeed("policies").out
    for words in ("fixed", "ewma", "bandit", "smoothing=0.1", "tau=3", "per sequence"):
        assert words in out


def test_json_describes_them() -> None:
    entries = {entry["policy"]: entry for entry in succeed("policies", "--json", "-").json()}
    assert list(entries) == policy_names()
    assert {"bandit", "ewma", "fixed"} <= set(entries)
    fixed = entries["fixed"]
    assert fixed["fields"] == {"tau": 3, "fallback": False}
    assert fixed["learns"].startswith("nothing")
    assert fixed["looks_inside_draft"] is False
    assert fixed["documentation"].startswith(fixed["summary"])


def test_fields_as_they_are_listed_make_the_policy() -> None:
    for entry in succeed("policies", "--json", "-").json():
        fields = ",".join(f"{name}={value}" for name, value in entry["fields"].items())
        assert make_policy(f"{entry['policy']}:{fields}") == make_policy(entry["policy"])


def test_a_policy_of_another_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trace: Path, lookup_trace: Path
) -> None:
    install(tmp_path, monkeypatch, {"while-sure": "rule_a:WhileConfident"}, "rule_a")
    out = succeed("policies").out
    assert "Drafts while the drafter" in out
    assert "More text" not in out
    assert "top1" in out
    entries = {entry["policy"]: entry for entry in succeed("policies", "--json", "-").json()}
    assert entries["while-sure"]["signals"] == ["top1_probability"]
    assert entries["while-sure"]["looks_inside_draft"] is True
    assert entries["while-sure"]["fields"] == {
        "threshold": 0.2,
        "longest": 6,
        "limit": "inf",
        "tags": "1/2",
        "made": "3",
    }
    report = succeed(
        "simulate", trace, "-p", "while-sure:threshold=0.5,longest=4", "--json", "-"
    ).json()
    assert report["policies"][0]["tokens"] == 120
    without = refuse("simulate", trace, "-p", "while-sure:thresold=1")
    assert "unknown field 'thresold'; allowed are threshold, longest" in without


def test_a_policy_that_needs_signals_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, {"while-sure-b": "rule_b:WhileConfident"}, "rule_b")
    runs = tmp_path / "runs.jsonl"
    runs.write_text('{"id": "a", "prompt_tokens": 1, "run_lengths": [1]}', encoding="utf-8")
    target = tmp_path / "trace.parquet"
    succeed("import", "run-lengths", runs, "-o", target)
    assert "holds no draft signals" in refuse("simulate", target, "-p", "while-sure-b")


def test_a_broken_package_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trace: Path
) -> None:
    broken = {"gone": "no_such_module:Rule", "no-policy": "rule_c:np"}
    install(tmp_path, monkeypatch, broken, "rule_c")
    out = " ".join(succeed("policies").out.split())
    assert "ewma" in out
    assert "no_such_module:Rule cannot be loaded" in out
    entries = {entry["policy"]: entry for entry in succeed("policies", "--json", "-").json()}
    assert "is not a dataclass derived from" in entries["no-policy"]["error"]
    assert "cannot be loaded" in refuse("simulate", trace, "-p", "gone")


def test_json_file(tmp_path: Path) -> None:
    target = tmp_path / "policies.json"
    assert "ewma" in succeed("policies", "--json", target).out
    assert len(json.loads(target.read_text(encoding="utf-8"))) == len(policy_names())
