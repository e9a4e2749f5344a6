"""Decoding on a GPU. The same tests run on the CPU, so that they are known to hold there."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from adaptive_spec.decoding import DecodingEngine, DraftModelDrafter, ModelRunner, transfer
from adaptive_spec.decoding.forward import StaticShapes
from adaptive_spec.decoding.sampling import Purpose, SamplingParameters, gumbel
from adaptive_spec.decoding.sampling.noise import device_keys
from adaptive_spec.decoding.stopwatch import Stopwatch
from adaptive_spec.decoding.verification import make_rule
from adaptive_spec.policy import Policy
from adaptive_spec.randomness import keyed
from tests.decoding.scripted import Scripted, assert_same, controller, requests
from tests.tiny_models import perturbed, tiny_llama

SHAPES = StaticShapes((1, 2, 4, 8, 16), 64)

ON_GPU = pytest.mark.gpu


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=ON_GPU)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture(scope="module")
def model(device: torch.device) -> Any:
    return tiny_llama(layers=2).to(device)


@pytest.fixture(scope="module")
def draft_model(model: Any) -> Any:
    return perturbed(tiny_llama(layers=2)).to(model.device)


def engine(
    model: Any, draft_model: Any, policy: Policy[Any, Any], batch_size: int, **options: Any
) -> DecodingEngine:
    shapes = options.pop("shapes", None)
    runners = [
        ModelRunner(m, slots=batch_size, capacity_tokens=64, shapes=shapes)
        for m in (model, draft_model)
    ]
    return DecodingEngine(
        runners[0],
        DraftModelDrafter(runners[1], "perturbed"),
        controller(policy),
        batch_size=batch_size,
        **options,
    )


def generate(model: Any, prompt: Any, max_new_tokens: int) -> list[int]:
    ids = torch.tensor([list(prompt)], device=model.device)
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=max_new_tokens,
        pad_token_id=0,
    )
    tokens: list[int] = output[0, len(prompt) :].tolist()
    return tokens


@contextlib.contextmanager
def waiting_refused(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Lets the host wait for the device in ``transfer.to_host`` alone; yields sizes of reads."""
    reads: list[int] = []
    read = transfer.to_host
    is_gpu = device.type == "cuda"

    def counted(tensor: torch.Tensor) -> Any:
        reads.append(tensor.numel())
        if is_gpu:
            torch.cuda.set_sync_debug_mode("default")
        try:
            return read(tensor)
        finally:
            if is_gpu:
                torch.cuda.set_sync_debug_mode("error")

    with monkeypatch.context() as patches:
        patches.setattr(transfer, "to_host", counted)
        try:
            if is_gpu:
                torch.cuda.set_sync_debug_mode("error")
            yield reads
        finally:
            if is_gpu:
                torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("shapes", [None, SHAPES], ids=["exact", "static"])
@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_greedy_output_equals_generate(
    model: Any, draft_model: Any, batch_size: int, shapes: Any
) -> None:
    wanted = requests(9, new_tokens=14)
    done = engine(model, draft_model, Scripted(), batch_size, shapes=shapes).complete(wanted)
    for request, completion in zip(wanted, done, strict=True):
        expected = generate(model, request.prompt_ids, request.max_new_tokens)
        assert_same(model, request.prompt_ids, expected, completion.token_ids)


@pytest.mark.parametrize("shapes", [None, SHAPES], ids=["exact", "static"])
def test_coupled_noise_gives_one_text_for_every_tau(
    model: Any, draft_model: Any, shapes: Any
) -> None:
    rule = make_rule("coupled", SamplingParameters(0.8, top_k=20), seed=3)
    texts = [
        [
            completion.token_ids
            for completion in engine(
                model, draft_model, Scripted(tau), 2, rule=rule, shapes=shapes
            ).complete(requests(3, new_tokens=12))
        ]
        for tau in (0, 3, -1)
    ]
    assert texts[0] == texts[1] == texts[2]


def test_rejection_sampling_is_reproducible(model: Any, draft_model: Any) -> None:
    rule = make_rule("rejection", SamplingParameters(0.8, top_p=0.9), seed=3)
    one, other = (
        engine(model, draft_model, Scripted(), 2, rule=rule, shapes=shapes).complete(
            requests(3, new_tokens=12)
        )
        for shapes in (None, SHAPES)
    )
    assert [c.token_ids for c in one] == [c.token_ids for c in other]


def test_noise_is_that_of_every_device(device: torch.device) -> None:
    keys = keyed(np.arange(5, dtype=np.uint64), np.arange(5), int(Purpose.DRAW))
    tokens = torch.arange(1000)
    found = gumbel(device_keys(keys, device), tokens.to(device)).cpu()
    expected = gumbel(device_keys(keys, torch.device("cpu")), tokens)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", ["greedy", "coupled", "rejection"])
@pytest.mark.parametrize("shapes", [None, SHAPES], ids=["exact", "static"])
def test_a_cycle_waits_for_the_device_once(
    model: Any, draft_model: Any, shapes: Any, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = engine(model, draft_model, Scripted(3), 4, shapes=shapes, rule=make_rule(rule))
    wanted = requests(4, new_tokens=18)
    run.complete(wanted)  # allocates, and captures what is captured
    with waiting_refused(torch.device(model.device), monkeypatch) as reads:
        cycles = run.complete(wanted)
    # All of them run from the first cycle on.
    assert len(reads) == max(len(completion.cycles) for completion in cycles)


def test_times_are_those_of_the_device(device: torch.device) -> None:
    weight = torch.randn(256, 256, device=device)
    watch = Stopwatch(device)
    product = weight
    for _ in range(20):
        product = (product @ weight).clamp(-1, 1)
    watch.lap()
    transfer.to_host(product @ weight)
    draft_ms, verify_ms = watch.stop()
    assert draft_ms > 0
    assert verify_ms >= 0


@ON_GPU
@pytest.mark.parametrize("width", [1, 3, 8])
def test_graphs_equal_eager_passes(width: int) -> None:
    model = tiny_llama(layers=2).to("cuda")
    eager, captured = (ModelRunner(model, slots=4, shapes=s) for s in (None, SHAPES))
    for runner in (eager, captured):
        runner.prefill_rows([0, 1, 3], [[1, 2, 3], [4], [5] * 20])
    for i in range(6):  # the first captures, the others replay
        rows = [0, 1, 3] if i % 2 else [1]
        blocks = [[(i + row + j) % 61 for j in range(width)] for row in rows]
        found, expected = captured.append(rows, blocks), eager.append(rows, blocks)
        torch.testing.assert_close(found, expected, atol=5e-5, rtol=1e-4)
        for runner in (eager, captured):
            runner.truncate([1], [runner.length(1) - width // 2])


@ON_GPU
@pytest.mark.parametrize("shapes", [None, SHAPES], ids=["exact", "static"])
def test_memory_is_weights_and_caches_and_little_more(shapes: Any) -> None:
    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
    model = tiny_llama(layers=12, **sizes).to("cuda")
    weights = sum(weight.numel() * weight.itemsize for weight in model.parameters())
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    runner = ModelRunner(
        model, slots=4, capacity_tokens=1024, prefill_chunk_tokens=64, shapes=shapes
    )
    runner.prefill_rows([0, 1], [[1] * 200, [2] * 100])
    for width in (1, 4):
        runner.append([0, 1], [[3] * width, [4] * width])
    cache = 2 * 12 * 4 * 2 * 1024 * 64 * 4  # both, layers, slots, heads, tokens, size, bytes
    assert torch.cuda.max_memory_allocated() <= 1.15 * (weights + cache)
