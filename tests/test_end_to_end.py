"""The real pair: what speculative decoding writes is what ``generate`` of transformers writes."""

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from adaptive_spec.cli.live import Pair
from adaptive_spec.cli.live_runs import LiveRun, decode_plainly, record_all, run_live
from adaptive_spec.decoding.drafters.loading import load_drafter
from adaptive_spec.decoding.models import Verifier, load_verifier
from adaptive_spec.decoding.requests import Completion, Request
from adaptive_spec.decoding.verification import explain_divergence
from adaptive_spec.prompts import Prompt, demo_prompts, read_prompts
from adaptive_spec.traces import TraceSet

POLICIES = ("fixed:tau=3", "bandit")
COMPOSED = "lookup+builtin"
DRAFTERS = ("early-exit:layers=10", "builtin", COMPOSED)
BATCH_SIZE = 4
_TAU = 10  # the largest, and as deep as signals are recorded

SHARED_PROMPTS = Path(__file__).resolve().parents[2] / "shared" / "prompts"
FILES = ("spec_bench_dev.jsonl", "humaneval_dev.jsonl")
MANY = 40


@pytest.fixture(scope="module")
def verifier(weights: Path) -> Iterator[Verifier]:
    """The built-in model, with all cores that this process is to use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    yield load_verifier(str(weights), device="cpu")
    torch.set_num_threads(threads)


class Job:
    """Prompts decoded by ``generate``, and plainly by us; and the traces of drafters on them."""

    def __init__(self, verifier: Verifier, prompts: Sequence[Prompt], new_tokens: int) -> None:
        self.verifier = verifier
        # Loaded and left as everybody would: neither packed weights nor passes of ours.
        self._theirs = load_verifier(verifier.name, device="cpu", prepared=False).model
        self.new_tokens = new_tokens
        self.requests = self.pair("none").requests(tuple(prompts), new_tokens, chat_template=True)
        self.reference = {r.id: self._generate(r) for r in self.requests}
        pair = self.pair("none")
        self.plain = decode_plainly(pair, self.requests, BATCH_SIZE, lambda: None)
        self._traces: dict[str, TraceSet] = {}

    def pair(self, drafter: str) -> Pair:
        return Pair(self.verifier, load_drafter(drafter, self.verifier))

    def _generate(self, request: Request) -> list[int]:
        ids = torch.tensor([list(request.prompt_ids)])
        output = self._theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=request.max_new_tokens,
            eos_token_id=list(self.verifier.eos_token_ids),
            pad_token_id=self.verifier.tokenizer.eos_token_id,
        )
        tokens: list[int] = output[0, ids.shape[1] :].tolist()
        return tokens

    def traces(self, drafter: str) -> TraceSet:
        if drafter not in self._traces:
            # Signals take long, and only auto looks at them.
            depth = _TAU if drafter == COMPOSED else 0
            self._traces[drafter] = record_all(
                self.pair(drafter), self.requests, self.plain, True, self.new_tokens, depth
            )
        return self._traces[drafter]

    def run(self, drafter: str, policy: str) -> LiveRun:
        pair, traces = self.pair(drafter), self.traces(drafter)
        costs = pair.guessed_costs()
        return run_live(pair, self.requests, traces, policy, costs, batch_size=BATCH_SIZE)

    def ties(self, completions: Sequence[Completion]) -> set[str]:
        """Ids whose output parts from ``generate``'s at a tie, each reported."""
        found = set()
        for request, done in zip(self.requests, completions, strict=True):
            assert done.id == request.id
            divergence = explain_divergence(
                self.verifier.model,
                request.prompt_ids,
                self.reference[request.id],
                done.token_ids,
            )
            if divergence is not None:
                assert divergence.is_tie, (request.id, divergence)
                report(f"{request.id}: a tie within rounding: {divergence}")
                found.add(request.id)
        return found


def report(message: str) -> None:
    """Shows a message in the summary of warnings, without failing the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(message, stacklevel=2)


def check(job: Job, drafter: str, policy: str) -> None:
    """Output as ``generate``'s, and every cycle as replayed; a tie excuses what follows it."""
    run = job.run(drafter, policy)
    excused = job.ties(run.completions) | job.ties([job.plain[r.id] for r in job.requests])
    assert set(run.different_outputs) <= excused, run.different_outputs
    assert {difference.id for difference in run.validation.differences} <= excused
    assert run.validation.sequences == len(job.requests)
    drafted = sum(completion.num_draft_tokens for completion in run.completions)
    assert drafted > 0


@pytest.fixture(scope="module")
def shipped(verifier: Verifier) -> Job:
    return Job(verifier, demo_prompts()[::3], 20)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_shipped_prompts(shipped: Job, drafter: str, policy: str) -> None:
    check(shipped, drafter, policy)


def test_auto_on_the_shipped_prompts(shipped: Job) -> None:
    check(shipped, COMPOSED, "auto")


def test_one_sequence_at_a_time(shipped: Job) -> None:
    pair, two = shipped.pair(COMPOSED), shipped.requests[:2]
    traces = shipped.traces(COMPOSED).select([0, 1])
    run = run_live(pair, two, traces, "auto", pair.guessed_costs())
    assert run.holds, (run.different_outputs, run.validation.differences)


@pytest.fixture(scope="module")
def many(verifier: Verifier) -> Job:
    """Prompts of other people, some of each kind, spread evenly over the files."""
    files = [SHARED_PROMPTS / name for name in FILES]
    if not all(path.is_file() for path in files):
        pytest.skip(f"needs the prompts in {SHARED_PROMPTS}")
    chosen: list[Prompt] = []
    for path in files:
        prompts = read_prompts(path)
        some = MANY // len(FILES) if path != files[-1] else MANY - len(chosen)
        chosen += [prompts[i * len(prompts) // some] for i in range(some)]
    return Job(verifier, chosen, 64)


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_many_prompts(many: Job, drafter: str, policy: str) -> None:
    check(many, drafter, policy)
