"""How long vLLM takes with a policy, a static length, its batch-size table, and no speculation.

Run in the environment that `make vllm` builds::

    make vllm-bench ARGS="--method draft_model --rounds 3 --into results.json"

Contestants take turns, so that what slows the machine slows all of them, and only ratios are given:
time over that of no speculation in the same round, geometric means over rounds. All but "none" are
schedulers of one engine; "none" is an engine of its own, and either goes first in every other
round. Engines begin anew in every round, and their start is not timed. Each round that is done is
kept in a file, with which the next call goes on.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adaptive_spec._files import atomic_write
from adaptive_spec.prompts import demo_prompts
from tests.integrations.vllm.pair import draft_folder, verifier_folder
from tests.integrations.vllm.requests import in_template

TABLE = ((4, 1.0), (8, 0.5), (16, 0.0))
"""Requests in a step, at most, and the share of K that is drafted then: shorter as batches grow."""

NONE = "none"

RunEngine = Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], list[float]]
"""Takes arguments of ``LLM`` and runs as ``engine_run`` has them; gives the seconds of each run."""

Round = dict[str, dict[str, float]]
"""Seconds by contestant and concurrency."""


@dataclass(frozen=True)
class Settings:
    """What is compared; rounds of other settings are not put together.

    Attributes:
      method: of speculation; num_speculative_tokens: K.
      policy, costs: of the contestant that is ours.
      learns_on: whether what it learned goes on from run to run; it begins anew otherwise.
      concurrency: requests at a time; max_tokens: that each emits.
    """

    method: str
    num_speculative_tokens: int
    policy: str
    costs: str
    learns_on: bool
    concurrency: tuple[int, ...]
    max_tokens: int

    def contestants(self, learned: Path) -> dict[str, dict[str, Any]]:
        """What differs between runs of an engine that speculates, by name."""
        k = self.num_speculative_tokens
        table = [next(round(share * k) for most, share in TABLE if n <= most) for n in range(17)]
        ours = {"policy": self.policy, "costs": self.costs, "decision_limit_ms": 60_000.0}
        keeps = {"operation": {"checkpoint": str(learned), "save_every_s": 0.5}}
        return {
            self.policy: {"configuration": {**ours, **(keeps if self.learns_on else {})}},
            f"static {k}": {},
            "table": {"table": table},
        }

    @property
    def speculation(self) -> dict[str, Any]:
        """vLLM's ``speculative_config``."""
        common = {"method": self.method, "num_speculative_tokens": self.num_speculative_tokens}
        if self.method == "ngram":
            return {**common, "prompt_lookup_min": 2, "prompt_lookup_max": 4}
        return {**common, "model": str(draft_folder())}

    def work(self, concurrency: int) -> dict[str, Any]:
        """As many requests, the shipped prompts in turn."""
        prompts = demo_prompts()
        sampling = {"max_tokens": self.max_tokens, "ignore_eos": True}
        count = max(4, concurrency)
        texts = (in_template(prompts[i % len(prompts)].prompt) for i in range(count))
        requests = [{"prompt": text, "sampling": sampling} for text in texts]
        return {"requests": requests, "concurrency": concurrency}


def run_round(settings: Settings, number: int, learned: Path, run: RunEngine) -> Round:
    """One turn of every contestant at every concurrency, in an order of this round's own."""
    rivals = settings.contestants(learned)
    rng = np.random.default_rng(number)
    turns = [
        (str(name), batch)
        for batch in settings.concurrency
        for name in rng.permutation(list(rivals))
    ]
    # An engine's first steps of a size take longer than later ones.
    short = replace(settings, max_tokens=min(settings.max_tokens, 8))
    warm_up = short.work(max(settings.concurrency))
    seconds: Round = {name: {} for name in (*rivals, NONE)}

    def speculating() -> None:
        runs = [{**settings.work(batch), **rivals[name]} for name, batch in turns]
        # The first of an engine says which scheduler it is set up with.
        took = run(
            {"speculative_config": settings.speculation},
            [{**warm_up, **rivals[settings.policy]}, *runs],
        )
        for (name, batch), time_s in zip(turns, took[1:], strict=True):
            seconds[name][str(batch)] = time_s

    def plain() -> None:
        took = run({}, [warm_up, *(settings.work(batch) for batch in settings.concurrency)])
        for batch, time_s in zip(settings.concurrency, took[1:], strict=True):
            seconds[NONE][str(batch)] = time_s

    for engine in (speculating, plain)[:: 1 if number % 2 == 0 else -1]:
        engine()
    return seconds


def run_rounds(settings: Settings, count: int, into: Path, run: RunEngine) -> list[Round]:
    """The rounds that are in a file, and those that are missing there.

    Raises:
      ValueError: the file has rounds of other settings.
    """
    known = asdict(settings) | {"concurrency": list(settings.concurrency)}
    rounds: list[Round] = []
    if into.exists():
        kept = json.loads(into.read_text(encoding="utf-8"))
        if kept["settings"] != known:
            raise ValueError(f"{into}: has rounds of {kept['settings']}, not of {known}")
        rounds = kept["rounds"]
    for number in range(len(rounds), count):
        print(f"round {number + 1} of {count}", file=sys.stderr)  # noqa: T201
        rounds.append(run_round(settings, number, into.with_suffix(".npz"), run))
        with atomic_write(into) as temporary:
            whole = {"settings": known, "rounds": rounds}
            temporary.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return rounds


def ratios(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """Time over that of no speculation: geometric mean, least and largest of the rounds."""
    found = []
    for batch in rounds[0][NONE]:
        for name in rounds[0]:
            logs = [math.log(one[name][batch] / one[NONE][batch]) for one in rounds]
            low, high = (math.exp(end) for end in (min(logs), max(logs)))
            ratio = math.exp(float(np.mean(logs)))
            found.append(
                {"concurrency": int(batch), "contestant": name, "ratio": ratio}
                | {"low": low, "high": high}
            )
    return found


def as_table(found: Sequence[Mapping[str, Any]]) -> str:
    """The same as Markdown: a line for each concurrency."""
    names = list(dict.fromkeys(one["contestant"] for one in found))
    lines = [f"| concurrency | {' | '.join(names)} |", "| --- " * (len(names) + 1) + "|"]
    for batch in dict.fromkeys(one["concurrency"] for one in found):
        cells = (
            f"{one['ratio']:.2f} ({one['low']:.2f} to {one['high']:.2f})"
            for one in found
            if one["concurrency"] == batch
        )
        lines.append(f"| {batch} | {' | '.join(cells)} |")
    return "\n".join(lines)


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
        module = "tests.integrations.vllm.engine_run"
        command = [sys.executable, "-m", module, *map(str, (job, result))]
        subprocess.run(command, env={**os.environ, **environ}, check=True, stdout=sys.stderr)
        return [run["seconds"] for run in json.loads(result.read_text(encoding="utf-8"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--method", choices=("ngram", "draft_model"), default="draft_model")
    parser.add_argument("--num-speculative-tokens", type=int, default=5)
    parser.add_argument("--policy", default="auto")
    parser.add_argument("--costs", default="draft=0.2,verify=0.1")
    parser.add_argument("--learns-on", action="store_true", help="it keeps what it learned")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--into", type=Path, help="file of the rounds, with which it goes on")
    parser.add_argument("--json", action="store_true", help="the ratios as JSON")
    options = parser.parse_args()
    settings = Settings(
        options.method,
        options.num_speculative_tokens,
        options.policy,
        options.costs,
        options.learns_on,
        tuple(options.concurrency),
        options.max_tokens,
    )
    with tempfile.TemporaryDirectory() as folder:
        into = options.into or Path(folder, "rounds.json")
        try:
            found = ratios(run_rounds(settings, options.rounds, into.resolve(), run_engine))
        except ValueError as error:
            parser.error(str(error))
    shown = json.dumps({"settings": asdict(settings), "ratios": found}, indent=1)
    print(shown if options.json else as_table(found))  # noqa: T201


if __name__ == "__main__":
    main()
