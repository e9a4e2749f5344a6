"""How long vLLM takes with a policy, a static length, its batch-size table, and no speculation.

Run in the environment that `make vllm` builds::

    .venv-vllm/bin/python -m tests.integrations.vllm.benchmark --method draft_model --rounds 3

Contestants take turns, so that what slows the machine slows all of them, and only ratios are given:
time over that of no speculation, geometric means over rounds. All but "none" are schedulers of one
engine; "none" is an engine of its own, begun anew in every round (starting is not timed).
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptive_spec.prompts import demo_prompts
from tests.integrations.vllm.pair import draft_folder, verifier_folder
from tests.integrations.vllm.requests import in_template

TABLE = ((4, 1.0), (8, 0.5), (16, 0.0))
"""Requests in a step, at most, and the share of K that is drafted then: shorter as batches grow."""


def contestants(num_tokens: int, policy: str, costs: str) -> dict[str, dict[str, Any]]:
    """What differs between runs of an engine that speculates, by name."""
    table = [next(round(k * num_tokens) for b, k in TABLE if size <= b) for size in range(17)]
    configuration = {"policy": policy, "costs": costs, "decision_limit_ms": 60_000.0}
    return {
        policy: {"configuration": configuration},
        f"static {num_tokens}": {},
        "table": {"table": table},
    }


def requests(count: int, max_tokens: int) -> list[dict[str, Any]]:
    """As many requests, the shipped prompts in turn."""
    prompts = demo_prompts()
    sampling = {"max_tokens": max_tokens, "ignore_eos": True}
    texts = (in_template(prompts[i % len(prompts)].prompt) for i in range(count))
    return [{"prompt": text, "sampling": sampling} for text in texts]


def run_engine(llm: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> list[float]:
    """Seconds of each run, in an engine of its own."""
    openmp = Path(sys.prefix) / "lib" / "libiomp5.so"
    environ = {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "OMP_NUM_THREADS": "1",
        **({"LD_PRELOAD": str(openmp)} if openmp.is_file() else {}),
    }
    common = {
        "model": str(verifier_folder()),
        "dtype": "float32",
        "enforce_eager": True,
        "max_model_len": 1024,
        "max_num_seqs": 16,
        "kv_cache_memory_bytes": 2**30,
        "seed": 0,
    }
    with tempfile.TemporaryDirectory() as folder:
        job, result = Path(folder, "job.json"), Path(folder, "result.json")
        job.write_text(json.dumps({"llm": {**common, **llm}, "runs": [*runs]}), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "tests.integrations.vllm.engine_run",
            *map(str, (job, result)),
        ]
        subprocess.run(command, env={**os.environ, **environ}, check=True)
        return [run["seconds"] for run in json.loads(result.read_text(encoding="utf-8"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--method", choices=("ngram", "draft_model"), default="draft_model")
    parser.add_argument("--num-speculative-tokens", type=int, default=5)
    parser.add_argument("--policy", default="auto")
    parser.add_argument("--costs", default="draft=0.2,verify=0.1")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    of_method: dict[str, Any] = {"prompt_lookup_min": 2, "prompt_lookup_max": 4}
    if options.method == "draft_model":
        of_method = {"model": str(draft_folder())}
    speculation = {
        "method": options.method,
        "num_speculative_tokens": options.num_speculative_tokens,
    }
    rivals = contestants(options.num_speculative_tokens, options.policy, options.costs)
    seconds: dict[tuple[str, int], list[float]] = {}
    rng = np.random.default_rng(0)
    for _ in range(options.rounds):
        turns = [
            (str(name), batch)
            for batch in options.concurrency
            for name in rng.permutation(list(rivals))
        ]
        work = {
            batch: {"requests": requests(max(4, batch), options.max_tokens), "concurrency": batch}
            for batch in options.concurrency
        }
        warm_up = {"requests": requests(1, 4), **rivals[options.policy]}
        runs = [warm_up, *({**work[batch], **rivals[name]} for name, batch in turns)]
        took = run_engine({"speculative_config": {**speculation, **of_method}}, runs)[1:]
        plain = [{"requests": requests(1, 4)}, *(work[batch] for batch in options.concurrency)]
        took += run_engine({}, plain)[1:]
        turns += [("none", batch) for batch in options.concurrency]
        for turn, time_s in zip(turns, took, strict=True):
            seconds.setdefault(turn, []).append(time_s)

    print("| concurrency |", " | ".join((*rivals, "none")), "|")  # noqa: T201
    for batch in options.concurrency:
        ratios = [
            math.exp(np.mean(np.log(seconds[name, batch]) - np.log(seconds["none", batch])))
            for name in (*rivals, "none")
        ]
        print(f"| {batch} |", " | ".join(f"{ratio:.2f}" for ratio in ratios), "|")  # noqa: T201


if __name__ == "__main__":
    main()
