from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from adaptive_spec.decoding import KVCache
from adaptive_spec.decoding.forward import Forward, LlamaForward, Pass, TransformersForward, prepare
from tests.tiny_models import VOCABULARY, tiny_llama, tiny_mistral, tiny_qwen2, tiny_qwen3

BUILDERS: list[Any] = [
    tiny_llama,
    lambda: tiny_llama(num_key_value_heads=4),
    tiny_mistral,
    tiny_qwen2,
    tiny_qwen3,
]

# Rows and widths of passes that follow one another: ragged and aligned, alone and in batches,
# neighbours and not.
PASSES = [
    ([0, 1, 2], [5, 5, 5]),
    ([0, 1, 2], [1, 1, 1]),
    ([1], [1]),
    ([1], [4]),
    ([0, 2], [1, 1]),
    ([0, 1, 3], [2, 1, 6]),
    ([3], [70]),
    ([0, 1, 2, 3], [1, 1, 1, 1]),
]


def run(
    forward: Forward,
    cache: KVCache,
    rows: list[int],
    widths: list[int],
    wanted: torch.Tensor | None = None,
) -> torch.Tensor:
    """Logits of one pass over made-up tokens."""
    generator = torch.Generator().manual_seed(sum(cache.lengths))
    ids = torch.randint(0, VOCABULARY, (len(rows), max(widths)), generator=generator)
    with torch.inference_mode(), cache.writing(rows, widths) as starts:
        return forward.logits(Pass.ragged(ids, starts, widths), cache, wanted)


def assert_same_caches(one: KVCache, other: KVCache) -> None:
    assert one.lengths == other.lengths
    layers: Any = zip(one.layers, other.layers, strict=True)
    for ours, theirs in layers:
        for row, length in enumerate(one.lengths):
            for name in ("keys", "values"):
                found, expected = (
                    getattr(layer, name)[row, :, :length] for layer in (ours, theirs)
                )
                torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("build", BUILDERS)
def test_equals_the_pass_through_transformers(build: Any) -> None:
    model = build()
    lean, general = LlamaForward(model), TransformersForward(model)
    ours, theirs = KVCache(3, 4), KVCache(3, 4)
    for rows, widths in PASSES:
        found, expected = run(lean, ours, rows, widths), run(general, theirs, rows, widths)
        for i, width in enumerate(widths):
            torch.testing.assert_close(found[i, :width], expected[i, :width], atol=5e-5, rtol=1e-4)
    assert_same_caches(ours, theirs)


def test_filling_writes_what_a_pass_with_logits_writes() -> None:
    model = tiny_qwen3()
    lean = LlamaForward(model)
    filled, passed = KVCache(3, 2), KVCache(3, 2)
    ids = torch.arange(14).reshape(2, 7)
    with torch.inference_mode():
        for cache, method in ((filled, lean.fill), (passed, lean.logits)):
            with cache.writing([0, 1], [7, 3]) as starts:
                method(Pass.ragged(ids, starts, [7, 3]), cache)
    assert_same_caches(filled, passed)


def test_wanted_columns_alone_reach_the_head() -> None:
    model = tiny_llama()
    lean = LlamaForward(model)
    whole = run(lean, KVCache(3, 2), [0, 1], [3, 2])
    seen: list[torch.Size] = []
    model.lm_head.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    some = run(lean, KVCache(3, 2), [0, 1], [3, 2], torch.tensor([[2], [1]]))
    assert seen == [torch.Size([2, 1, 32])]
    torch.testing.assert_close(some[:, 0], torch.stack([whole[0, 2], whole[1, 1]]))


def test_masks_and_repeated_keys_only_where_they_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    attend = F.scaled_dot_product_attention
    masked: list[bool] = []

    def watch(queries: Any, keys: Any, values: Any, **options: Any) -> torch.Tensor:
        assert queries.shape[1] == keys.shape[1] == 2  # the key/value heads
        masked.append(options["attn_mask"] is not None)
        return attend(queries, keys, values, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watch)
    lean, cache = LlamaForward(tiny_llama(layers=1)), KVCache(1, 2)
    for rows, widths in (([0, 1], [3, 3]), ([0, 1], [1, 1]), ([0], [1]), ([0, 1], [1, 1])):
        run(lean, cache, rows, widths)
    assert masked == [True, False, False, True]


def test_rotary_tables_grow_with_the_text() -> None:
    model = tiny_llama(layers=1, context=2048)
    lean, cache = LlamaForward(model), KVCache(1, 1)
    run(lean, cache, [0], [500])
    found = run(lean, cache, [0], [600])
    reference = KVCache(1, 1)
    run(TransformersForward(model), reference, [0], [500])
    expected = run(TransformersForward(model), reference, [0], [600])
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=1e-4)


def test_packed_weights_in_bfloat16() -> None:
    plain, packed = (tiny_llama().to(torch.bfloat16) for _ in range(2))
    prepare(packed)
    ours, theirs = KVCache(3, 4), KVCache(3, 4)
    for rows, widths in PASSES:
        found = run(LlamaForward(packed), ours, rows, widths)
        expected = run(TransformersForward(plain), theirs, rows, widths)
        for i, width in enumerate(widths):
            difference = (found[i, :width] - expected[i, :width]).abs().amax()
            assert difference <= 0.05 * expected.abs().amax()
