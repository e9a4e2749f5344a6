"""What stays in memory: the weights once and the caches, whatever is packed, merged or shared.

Counted as bytes of tensors that can be reached from what decodes, so that neither the allocator nor
other processes play a part.
"""

from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import torch

from adaptive_spec import ConstantCosts, Controller, make_policy
from adaptive_spec.decoding import DecodingEngine, ModelRunner, Request
from adaptive_spec.decoding.drafters import early_exit_drafter
from adaptive_spec.decoding.forward import num_weights, prepare
from adaptive_spec.decoding.pretrained import load_model
from tests.tiny_models import tiny_llama

SLOTS, CAPACITY = 2, 256


def reachable_bytes(root: object) -> int:
    """Bytes of all tensors reachable from an object, shared storages counted once."""
    seen: set[int] = set()
    storages: dict[int, int] = {}
    packed, queue = 0, [root]
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, type | ModuleType | str | int | float):
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor):
            if item.layout == torch._mkldnn:  # type: ignore[attr-defined]
                packed += item.numel() * item.itemsize
            else:
                storage = item.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
            continue
        if isinstance(item, dict):
            queue += item.values()
        elif isinstance(item, list | tuple | set):
            queue += item
        elif isinstance(item, FunctionType):
            queue += [cell.cell_contents for cell in item.__closure__ or ()]
        else:
            queue += vars(item).values() if hasattr(item, "__dict__") else []
    return packed + sum(storages.values())


def decoded(model: Any) -> tuple[DecodingEngine, int]:
    """An engine that has decoded with an early-exit drafter, and the bytes of its two caches."""
    layers = model.config.num_hidden_layers // 3
    drafter = early_exit_drafter(model, layers, slots=SLOTS)
    verifier = ModelRunner(model, slots=SLOTS, capacity_tokens=CAPACITY)
    controller = Controller(make_policy("fixed:tau=3"), costs=ConstantCosts(), max_draft_tokens=3)
    engine = DecodingEngine(verifier, drafter, controller, batch_size=SLOTS)
    engine.complete([Request(str(i), [3, 5, 7, 9 + i], 3) for i in range(2)])
    head_size = getattr(model.config, "head_dim", None) or (
        model.config.hidden_size // model.config.num_attention_heads
    )
    entry = 2 * SLOTS * model.config.num_key_value_heads * head_size * model.dtype.itemsize
    caches = entry * (
        model.config.num_hidden_layers * verifier.cache.capacity_tokens
        + layers * drafter.runner.cache.capacity_tokens
    )
    return engine, caches


def assert_within_the_rule(model: Any, weights: int) -> None:
    engine, caches = decoded(model)
    found = reachable_bytes(engine)
    assert weights <= found <= 1.15 * (weights + caches), (found, weights, caches)


def sized_model() -> Any:
    """Large enough for weights to outweigh tables of positions; packed in float32, too."""
    sizes = {"vocab_size": 512, "hidden_size": 512, "intermediate_size": 1536}
    return tiny_llama(**sizes, num_attention_heads=8, tie_word_embeddings=True)


def test_weights_are_kept_once() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = sized_model().to(dtype)
        weights = num_weights(model) * dtype.itemsize
        assert_within_the_rule(prepare(model), weights)


def test_weights_of_the_real_model_are_kept_once(weights: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        model = load_model(str(weights), "builtin", dtype, "cpu")
        size = num_weights(model) * model.dtype.itemsize
        assert_within_the_rule(prepare(model), size)


def test_a_second_copy_would_be_noticed() -> None:
    model = sized_model()
    weights = num_weights(model) * model.dtype.itemsize
    model.spare = [parameter.detach().clone() for parameter in model.parameters()]
    engine, caches = decoded(model)
    assert reachable_bytes(engine) > 1.15 * (weights + caches)
