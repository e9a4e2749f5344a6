from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adaptive_spec.decoding import KVCache, ModelRunner
from tests.decoding.faults import Passes
from tests.tiny_models import VOCABULARY, tiny_llama

_MODEL = tiny_llama(layers=2)
SLOTS = 4

tokens = st.integers(0, VOCABULARY - 1)
rows = st.integers(0, SLOTS - 1)


def last_logits(text: list[int]) -> Any:
    with torch.inference_mode():
        return _MODEL(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1]


class CacheMachine(RuleBasedStateMachine):
    """Appends, rollbacks and reuse of rows in any order, against plain passes over the texts."""

    @initialize()
    def start(self) -> None:
        self.runner = ModelRunner(_MODEL, slots=SLOTS, capacity_tokens=1, prefill_chunk_tokens=64)
        self.texts: list[list[int]] = [[] for _ in range(SLOTS)]

    @rule(blocks=st.dictionaries(rows, st.lists(tokens, min_size=1, max_size=5), min_size=1))
    def append(self, blocks: dict[int, list[int]]) -> None:
        wanted = sorted(blocks)
        logits = self.runner.append(wanted, [blocks[row] for row in wanted])
        assert logits.shape == (len(wanted), max(map(len, blocks.values())), VOCABULARY)
        for row, found in zip(wanted, logits, strict=True):
            self.texts[row] += blocks[row]
            expected = last_logits(self.texts[row])
            torch.testing.assert_close(found[len(blocks[row]) - 1], expected, atol=5e-5, rtol=1e-4)

    @rule(blocks=st.dictionaries(rows, st.lists(tokens, max_size=90), min_size=1))
    def prefill(self, blocks: dict[int, list[int]]) -> None:
        wanted = sorted(blocks)
        self.runner.prefill_rows(wanted, [blocks[row] for row in wanted])
        for row in wanted:
            self.texts[row] += blocks[row]

    @rule(row=rows, share=st.floats(0, 1))
    def truncate(self, row: int, share: float) -> None:
        length = round(len(self.texts[row]) * share)
        self.runner.truncate([row], [length])
        del self.texts[row][length:]

    @rule(source=rows, others=st.sets(rows, min_size=1), share=st.floats(0, 1) | st.none())
    def fork(self, source: int, others: set[int], share: float | None) -> None:
        text = list(self.texts[source])
        length = None if share is None else round(len(text) * share)
        self.runner.cache.fork(source, sorted(others), length)
        for row in others:
            self.texts[row] = text[:length]

    @rule(wiped=st.sets(rows))
    def clear(self, wiped: set[int]) -> None:
        self.runner.cache.clear(sorted(wiped))
        for row in wiped:
            self.texts[row] = []

    @rule(row=rows, block=st.lists(tokens, min_size=1, max_size=200))
    def fail(self, row: int, block: list[int]) -> None:
        """A pass that ends with an error, be it while the cache grows."""
        passes = Passes(self.runner, lambda rows, widths: True)
        with pytest.raises(RuntimeError, match="memory"):
            self.runner.append([row], [block])
        passes.remove()

    @rule(row=rows)
    def reuse(self, row: int) -> None:
        self.runner.reset(row)
        self.texts[row] = []

    @invariant()
    def lengths_and_contents_agree(self) -> None:
        assert self.runner.cache.lengths == [len(text) for text in self.texts]
        self.runner.cache.check_integrity()


CacheMachine.TestCase.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
TestCache = CacheMachine.TestCase


def states(rows: int, width: int, value: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (rows, 2, width, 3)
    return torch.full(shape, value), torch.full(shape, -value)


def test_rows_that_are_neighbours_are_views() -> None:
    cache = KVCache(num_layers=1, slots=4)
    with cache.writing([1, 2, 3], [2, 1, 2]):
        keys, values = cache.update(*states(3, 2), 0)
    buffer: Any = cache.layers[0].keys  # type: ignore[union-attr]
    assert keys.shape == values.shape == (3, 2, 2, 3)
    assert keys.untyped_storage().data_ptr() == buffer.untyped_storage().data_ptr()
    assert cache.lengths == [0, 2, 1, 2]
    with cache.writing([1, 3], [1, 1]):
        keys, _ = cache.update(*states(2, 1, 5.0), 0)
    assert keys.untyped_storage().data_ptr() != buffer.untyped_storage().data_ptr()
    assert keys[:, 0, :, 0].tolist() == [[1, 1, 5], [1, 1, 5]]


def test_a_pass_that_fails_leaves_the_lengths() -> None:
    cache = KVCache(num_layers=1, slots=2)
    with pytest.raises(RuntimeError, match="out of memory"), cache.writing([0], [3]):
        raise RuntimeError("out of memory")
    assert cache.lengths == [0, 0]


def test_memory_that_ends_while_the_cache_grows_is_not_asked_for_again() -> None:
    cache = KVCache(num_layers=2, slots=2, capacity_tokens=64)
    with cache.writing([0, 1], [5, 3]):
        for layer in range(2):
            cache.update(*states(2, 5, 7.0), layer)

    def memory_ends_before_the_second_layer_grows() -> None:
        with cache.writing([0], [70]):
            cache.update(*states(1, 70, 8.0), 0)
            raise MemoryError

    with pytest.raises(MemoryError):
        memory_ends_before_the_second_layer_grows()
    assert cache.capacity_tokens == 64
    cache.check_integrity()
    with cache.writing([1], [10]):
        sizes = [cache.update(*states(1, 10, 9.0), layer)[0].shape for layer in range(2)]
    assert sizes == [(1, 2, 13, 3)] * 2
    with cache.writing([0], [100]):
        for layer in range(2):
            keys, _ = cache.update(*states(1, 100, 8.0), layer)
    np.testing.assert_array_equal(keys[0, 0, :, 0].numpy(), [7.0] * 5 + [8.0] * 100)
    cache.check_integrity()


def test_capacity_doubles_and_keeps_contents() -> None:
    cache = KVCache(num_layers=1, slots=2, capacity_tokens=64)
    with cache.writing([0, 1], [60, 3]):
        cache.update(*states(2, 60, 7.0), 0)
    with cache.writing([0], [10]):
        keys, _ = cache.update(*states(1, 10, 8.0), 0)
    assert cache.capacity_tokens == 128
    np.testing.assert_array_equal(keys[0, 0, :, 0].numpy(), [7.0] * 60 + [8.0] * 10)
    cache.check_integrity()


def test_integrity_check_finds_broken_contents() -> None:
    cache = KVCache(num_layers=1, slots=2)
    with cache.writing([0], [2]):
        cache.update(*states(1, 2, float("nan")), 0)
    with pytest.raises(AssertionError, match="row 0 not finite"):
        cache.check_integrity()
    cache.clear()
    cache.check_integrity()
    cache.lengths[1] = 1000
    with pytest.raises(AssertionError):
        cache.check_integrity()


def test_a_row_that_is_cleared_leaves_nothing_and_the_others_alone() -> None:
    cache = KVCache(num_layers=1, slots=3)
    cache.clear([0])  # before there is any memory
    with cache.writing([0, 1, 2], [2, 2, 2]):
        keys, values = states(3, 2)
        keys[1] = float("nan")
        cache.update(keys, values, 0)
    cache.truncate([1], [0])
    cache.clear([1])
    buffer: Any = cache.layers[0].keys  # type: ignore[union-attr]
    assert (cache.lengths, bool(buffer.isfinite().all())) == ([2, 0, 2], True)
    assert buffer[:, 0, 0, 0].tolist() == [1.0, 0.0, 1.0]


def test_more_than_a_row_holds_cannot_be_copied() -> None:
    cache = KVCache(num_layers=1, slots=2)
    with pytest.raises(AssertionError):
        cache.fork(0, [1], 1)


def test_rollback_cannot_lengthen_a_row() -> None:
    cache = KVCache(num_layers=1, slots=1)
    with pytest.raises(AssertionError):
        cache.truncate([0], [1])


def test_forked_rows_continue_on_their_own() -> None:
    runner = ModelRunner(_MODEL, slots=3)
    runner.prefill(0, [1, 2, 3, 4])
    runner.cache.fork(0, [1, 2])
    runner.truncate([1], [2])
    logits = runner.append([0, 1, 2], [[5], [6, 7], [8]])
    for row, (text, last) in enumerate(
        [([1, 2, 3, 4, 5], 0), ([1, 2, 6, 7], 1), ([1, 2, 3, 4, 8], 0)]
    ):
        torch.testing.assert_close(logits[row, last], last_logits(text), atol=5e-5, rtol=1e-4)
