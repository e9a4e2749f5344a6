"""How much faster than transformers' own decoding, interleaved in one run.

    python -m tests.benchmarks.transformers_ratio --limit 40 --new-tokens 128 --dtype bfloat16

Every prompt is decoded in every way before the next one, in shuffled order, so that a slow spell of
the machine falls on all alike. Times are of whole requests, prompt included, per output token.
Ratios are of sums over prompts, with a bootstrap interval over prompts. With ``--json`` results are
kept after every prompt, and a run that was cut off goes on where it stopped.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from adaptive_spec._files import atomic_write
from adaptive_spec.decoding.builtin import BUILTIN
from adaptive_spec.decoding.profiler import hardware_name
from adaptive_spec.prompts import demo_prompts, read_prompts
from adaptive_spec.simulations.bootstrap import percentile_interval, resampled_sums
from tests.benchmarks.contestants import Contestants, Decode
from tests.benchmarks.llama_cpp import LlamaCpp

SETTINGS = (
    "verifier",
    "drafter",
    "policy",
    "dtype",
    "new_tokens",
    "prompts",
    "threads",
    "llama_cpp",
)
WARM_UP_TOKENS = 8
RESAMPLES = 5000


def measure(
    ways: Mapping[str, Decode], prompt: list[int], generator: np.random.Generator
) -> dict[str, dict[str, Any]]:
    """Seconds and output tokens of every way, run once each in shuffled order."""
    found = {}
    names = list(ways)
    for i in generator.permutation(len(names)):
        began = time.perf_counter()
        output = ways[names[i]](prompt)
        found[names[i]] = {"seconds": time.perf_counter() - began, "tokens": output}
    return found


def ratio(
    measured: Sequence[Mapping[str, Any]], faster: str, slower: str
) -> tuple[float, float, float]:
    """Time of ``slower`` over that of ``faster`` per token, and its 95 % interval."""
    columns = np.array(
        [
            [m[name]["seconds"] / max(len(m[name]["tokens"]), 1) for name in (slower, faster)]
            for m in measured
        ]
    )
    sums = resampled_sums(columns, RESAMPLES, np.random.default_rng(0))
    whole = columns.sum(0)
    low, high = percentile_interval(sums[:, 0] / sums[:, 1])
    return float(whole[0] / whole[1]), low, high


def report(measured: Sequence[Mapping[str, Any]], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Lines of a table: each of ours against theirs, and everything against plain ``generate``."""
    plain = pairs[0][1]
    lines = [f"{'':34}{'ms/token':>9}  {'over generate':>20}  {'over theirs':>20}  as generate"]
    rows = dict(row for ours, theirs in pairs for row in ((ours, theirs), (theirs, None)))
    for name, versus in rows.items():
        per_token = [m[name]["seconds"] / max(len(m[name]["tokens"]), 1) for m in measured]
        same = sum(m[name]["tokens"] == m[plain]["tokens"] for m in measured)
        lines.append(
            f"{name:34}{np.mean(per_token) * 1e3:9.1f}  {_shown(ratio(measured, name, plain))}"
            f"  {_shown(ratio(measured, name, versus)) if versus else '':20}"
            f"  {same}/{len(measured)}"
        )
    return lines


def _shown(value: tuple[float, float, float]) -> str:
    return f"{value[0]:5.2f} [{value[1]:5.2f},{value[2]:5.2f}]".rjust(20)


def run(
    arguments: argparse.Namespace, progress: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Measures what is not measured yet; returns settings, pairs and measurements by prompt."""
    if arguments.llama_cpp and arguments.verifier != BUILTIN:
        raise SystemExit("--llama-cpp has the weights of `--verifier builtin` only")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    settings = {name: str(getattr(arguments, name)) for name in SETTINGS}
    result: dict[str, Any] = {
        "settings": settings,
        "measured": _earlier(arguments.json, settings),
    }
    contestants = Contestants(
        arguments.verifier,
        arguments.drafter,
        arguments.policy,
        arguments.dtype,
        arguments.new_tokens,
    )
    if arguments.llama_cpp:
        name = "llama.cpp: plain, 4 bits"
        contestants.ways[name] = LlamaCpp(arguments.llama_cpp, arguments.new_tokens)
        contestants.pairs.append((name, contestants.pairs[0][1]))
    result |= {
        "pairs": contestants.pairs,
        "versions": f"torch {torch.__version__}, transformers {transformers.__version__}",
        "hardware": hardware_name(contestants.model),
    }
    if arguments.prompts:
        prompts = read_prompts(arguments.prompts, arguments.limit)
    else:
        prompts = demo_prompts()[: arguments.limit]
    missing = [prompt for prompt in prompts if prompt.id not in result["measured"]]
    generator = np.random.default_rng(len(missing))
    for i, prompt in enumerate(missing):
        ids = contestants.encode(prompt.prompt)
        if i == 0:
            progress("warming up")
            for decode in contestants.ways.values():
                decode(ids[-WARM_UP_TOKENS:])
        progress(f"{len(prompts) - len(missing) + i + 1}/{len(prompts)} {prompt.id}")
        result["measured"][prompt.id] = measure(contestants.ways, ids, generator)
        if arguments.json:
            with atomic_write(arguments.json) as temporary:
                temporary.write_text(json.dumps(result), encoding="utf-8")
    return result


def _earlier(path: Path | None, settings: dict[str, str]) -> dict[str, Any]:
    """Measurements of a run with the same settings that was cut off."""
    if path is None or not path.exists():
        return {}
    earlier = json.loads(path.read_text(encoding="utf-8"))
    if earlier["settings"] != settings:
        raise SystemExit(f"{path}: holds a run with other settings; name a new file")
    measured: dict[str, Any] = earlier["measured"]
    return measured


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--verifier", default="builtin")
    options.add_argument("--drafter", default="builtin")
    options.add_argument("--policy", default="ewma", help="ours against the heuristic schedule")
    options.add_argument("--prompts", type=Path, help="JSON Lines; default: those of the demo")
    options.add_argument("--limit", type=int)
    options.add_argument("--new-tokens", type=int, default=128)
    options.add_argument("--dtype", default="bfloat16")
    options.add_argument("--threads", type=int, help="torch threads")
    options.add_argument(
        "--llama-cpp",
        type=Path,
        metavar="DIR",
        help="beside it llama.cpp; DIR holds node_modules with node-llama-cpp",
    )
    options.add_argument("--json", type=Path, help="results; an earlier run there is continued")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command."""
    chosen = parser().parse_args(arguments)
    result = run(chosen, lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201
    settings = ", ".join(f"{name} {value}" for name, value in result["settings"].items())
    print(f"{result['hardware']}; {result['versions']}; {settings}")  # noqa: T201
    print("\n".join(report(list(result["measured"].values()), result["pairs"])))  # noqa: T201


if __name__ == "__main__":
    main()
