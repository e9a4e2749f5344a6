"""The benchmark of what exactness costs, on a tiny pair: that it measures what it says."""

from pathlib import Path

import pytest

from tests.benchmarks.exactness_price import FORMS, main
from tests.tiny_pair import save_tiny_pair


def test_every_form_is_measured_and_exact_ones_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = save_tiny_pair(tmp_path)
    main(
        [
            *("--verifier", str(pair.verifier), "--drafter", str(pair.drafter)),
            *("--prompts", str(pair.prompts), "--limit", "2", "--new-tokens", "6"),
        ]
    )
    printed = capsys.readouterr()
    lines = printed.out.splitlines()[2:]
    assert [line[:42].strip() for line in lines] == [str(form) for form in FORMS]
    assert "2/2 b" in printed.err
    assert lines[0].count("1.00 [ 1.00, 1.00]") == 2  # over itself
    for form, line in zip(FORMS, lines, strict=True):
        if form.one_width or form.dtype == "float32":
            assert line.endswith("2/2")
