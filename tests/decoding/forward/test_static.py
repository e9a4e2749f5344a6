from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx

from adaptive_spec import ConfigError
from adaptive_spec.decoding import KVCache, ModelRunner
from adaptive_spec.decoding.forward import (
    Forward,
    LlamaForward,
    Pass,
    StaticForward,
    StaticShapes,
    TransformersForward,
)
from adaptive_spec.decoding.forward.static import Step
from tests.tiny_models import VOCABULARY, tiny_gpt2, tiny_llama, tiny_qwen3

SLOTS = 4
SHAPES = StaticShapes((1, 2, 4, 8), 32)

# Rows, widths, and tokens rolled back afterwards. The cache grows on the way.
PASSES = [
    ([0, 1, 2], [5, 5, 5], 0),
    ([0, 1, 2], [1, 1, 1], 0),
    ([1], [4], 3),
    ([0, 2], [1, 1], 0),
    ([0, 1, 3], [2, 1, 6], 1),
    ([3], [9], 0),
    ([0, 1, 2, 3], [1, 3, 1, 1], 0),
    ([2], [3], 0),
    ([2], [50], 0),  # wider than all shapes
    ([0, 2], [3, 2], 2),
    ([0, 1, 3], [2, 1, 6], 1),
]


def recorded(step: Step) -> Step:
    """What a CUDA graph is elsewhere: the operators that ran, on the very same memory."""
    step()
    traced: Step = make_fx(step)()
    return traced


def run(forward: Forward, cache: KVCache, rows: list[int], widths: list[int], wanted: Any) -> Any:
    generator = torch.Generator().manual_seed(sum(cache.lengths))
    ids = torch.randint(0, VOCABULARY, (len(rows), max(widths)), generator=generator)
    with torch.inference_mode(), cache.writing(rows, widths) as starts:
        return forward.logits(Pass.ragged(ids, starts, widths), cache, wanted)


def assert_same(ours: KVCache, theirs: KVCache) -> None:
    assert ours.lengths == theirs.lengths
    layers: Any = zip(ours.layers, theirs.layers, strict=True)
    for one, other in layers:
        for row, length in enumerate(ours.lengths):
            for name in ("keys", "values"):
                found, wanted = (getattr(layer, name)[row, :, :length] for layer in (one, other))
                torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


BUILDERS: list[Any] = [
    lambda: LlamaForward(tiny_llama(layers=2)),
    lambda: LlamaForward(tiny_qwen3(layers=2)),
    lambda: TransformersForward(tiny_llama(layers=2)),
    lambda: TransformersForward(tiny_gpt2(layers=2)),
]


@pytest.mark.parametrize(
    ("shapes", "capture"),
    [(SHAPES, None), (StaticShapes((2, 8), 128), recorded), (StaticShapes.fixed(8), None)],
    ids=["rounded", "recorded", "fixed"],
)
@pytest.mark.parametrize("build", BUILDERS, ids=["llama", "qwen3", "general", "gpt2"])
def test_static_passes_equal_exact_ones(build: Any, capture: Any, shapes: StaticShapes) -> None:
    inner = build()
    static = StaticForward(inner, shapes, capture)
    ours, theirs = KVCache(2, SLOTS, 32), KVCache(2, SLOTS, 32)
    for i, (rows, widths, back) in enumerate(PASSES):
        wanted = torch.tensor([[own - 1] for own in widths]) if i % 3 == 1 else None
        found = run(static, ours, rows, widths, wanted)
        expected = run(inner, theirs, rows, widths, wanted)
        assert found.shape == expected.shape
        for j, own in enumerate(widths):
            columns = slice(0, 1 if wanted is not None else own)
            torch.testing.assert_close(
                found[j, columns], expected[j, columns], atol=5e-5, rtol=1e-4
            )
        for cache in (ours, theirs):
            cache.truncate(
                rows,
                [
                    cache.lengths[row] - min(back, own)
                    for row, own in zip(rows, widths, strict=True)
                ],
            )
        ours.check_integrity()
        assert_same(ours, theirs)


def test_each_shape_is_captured_once_until_the_cache_grows() -> None:
    captured: list[int] = []

    def counted(step: Step) -> Step:
        captured.append(1)
        return step

    static = StaticForward(LlamaForward(tiny_llama(layers=1)), SHAPES, counted)
    cache = KVCache(1, 2, 64)
    for row in (0, 1, 0, 1):
        run(static, cache, [row], [3], None)
    assert len(captured) == 1  # widths of 3 and 4, any row, within 32 entries
    run(static, cache, [0, 1], [4, 4], None)
    assert len(captured) == 1
    run(static, cache, [0], [1], None)
    assert len(captured) == 2
    run(static, cache, [0], [80], None)  # not captured, but memory moves
    assert cache.capacity_tokens > 64
    cache.truncate([0], [0])
    run(static, cache, [0], [1], None)
    assert len(captured) == 3


def test_a_failed_pass_that_needed_memory_drops_what_was_captured() -> None:
    captured: list[int] = []

    def counted(step: Step) -> Step:
        captured.append(1)
        return step

    static = StaticForward(LlamaForward(tiny_llama(layers=1)), SHAPES, counted)
    cache = KVCache(1, 1, 64)
    run(static, cache, [0], [3], None)
    with pytest.raises(RuntimeError), cache.writing([0], [100]):
        raise RuntimeError("out of memory")
    assert cache.capacity_tokens == 64
    run(static, cache, [0], [3], None)
    assert len(captured) == 2


def test_full_rows_outside_the_pass_stay_within_their_position_table() -> None:
    model = tiny_gpt2(context=32)
    runner = ModelRunner(model, slots=2, capacity_tokens=32, shapes=SHAPES)
    runner.prefill(0, list(range(32)))
    plain = ModelRunner(model)
    blocks = [[1, 2, 3]]
    torch.testing.assert_close(runner.append([1], blocks), plain.append([0], blocks))


@settings(max_examples=5, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=8, max_size=8),
    st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_one_shape_gives_the_same_bits_however_text_is_cut(
    cuts: list[int], dtype: torch.dtype
) -> None:
    """Logits at a position do not depend on the block that it was verified in."""
    model = tiny_llama(layers=2).to(dtype)
    text = [(7 + 13 * i * i) % VOCABULARY for i in range(24)]

    def logits(widths: list[int]) -> torch.Tensor:
        runner = ModelRunner(model, shapes=StaticShapes.fixed(8))
        found, at = [], 0
        while at < len(text):
            width = widths.pop(0) if widths else 1
            some = text[at : at + width + 1]
            kept = max(1, len(some) // 2)  # the rest is rolled back, as after a rejection
            found.append(runner.append([0], [some])[0, :kept])
            at += kept
            runner.truncate([0], [at])
        return torch.cat(found)

    assert torch.equal(logits(list(cuts)), logits([]))


@pytest.mark.parametrize(
    "settings", [{"widths": ()}, {"widths": (0, 1)}, {"widths": (2, 1)}, {"reach_step": 0}]
)
def test_shapes_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="static shapes"):
        StaticShapes(**settings)
