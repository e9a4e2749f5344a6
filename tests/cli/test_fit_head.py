import json
from pathlib import Path

from tests.cli.running import refuse, succeed


def test_a_head_is_fitted_and_used(trace: Path, tmp_path: Path) -> None:
    head, report = tmp_path / "head.json", tmp_path / "report.json"
    result = succeed("fit-head", trace, "-o", head, "--hidden-units", 2, "--json", report)
    assert f"head written to {head}" in result.err
    for words in ("held out", "log-loss", "base rate", "expected calibration error"):
        assert words in " ".join(result.out.split())
    data = json.loads(report.read_text(encoding="utf-8"))
    assert set(data) == {
        "sequences",
        "tokens",
        "held_out_sequences",
        "held_out_tokens",
        "log_loss",
        "base_rate_log_loss",
        "draft_log_loss",
        "calibration_error",
        "bins",
    }
    assert set(data["bins"][0]) == {"tokens", "predicted", "accepted"}
    written = json.loads(head.read_text(encoding="utf-8"))
    assert len(written["hidden_bias"]) == 2
    simulated = succeed(
        "simulate", trace, "-p", f"disco:head={head},threshold=0.1", "--json", "-"
    ).json()
    assert simulated["policies"][0]["tokens"] == 120


def test_json_alone(trace: Path, tmp_path: Path) -> None:
    result = succeed("fit-head", trace, "-o", tmp_path / "head.json", "--json", "-")
    assert result.json()["log_loss"] > 0


def test_what_cannot_be_fitted_or_read_is_refused(lookup_trace: Path, tmp_path: Path) -> None:
    head = tmp_path / "head.json"
    silent = refuse("fit-head", lookup_trace, "-o", head, code=1)
    assert "a head needs the trace of a draft model" in silent
    assert not head.exists()
    missing = refuse("simulate", lookup_trace, "-p", f"disco:head={head}")
    assert f"disco: head '{head}': cannot be read" in missing
    assert "fit-head" in missing
