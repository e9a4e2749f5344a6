"""Plain and speculative decoding against transformers' own, on a few prompts of the real pair.

Reference, 40 prompts of 128 tokens: `python -m tests.benchmarks.transformers_ratio --limit 40`.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.transformers_ratio import parser, report, run

pytestmark = pytest.mark.filterwarnings("ignore")  # generate's own


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_against_transformers(benchmark: Any, weights: Path, dtype: str) -> None:
    arguments = parser().parse_args(["--limit", "2", "--new-tokens", "16", "--dtype", dtype])
    result = benchmark.pedantic(run, args=(arguments,), rounds=1)
    lines = report(list(result["measured"].values()), result["pairs"])
    print("\n" + "\n".join([result["hardware"], *lines]))  # noqa: T201
