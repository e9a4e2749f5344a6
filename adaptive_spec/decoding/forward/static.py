"""Passes in few shapes, over buffers that stay where they are: what CUDA graphs are captured of.

A pass over some rows becomes one over all rows of the cache. Its width, and how much of the cache
it looks at, are rounded up. Tokens, positions and indices lie in buffers that are filled before a
pass, so that passes of one shape differ in nothing but what these hold. The rows that are not in
the pass write beyond their lengths, where leftovers lie, and their logits are dropped.

On CUDA devices each shape is captured as a CUDA graph when it first comes up, and replayed from
then on: the host issues one call instead of hundreds. Elsewhere the same passes run one by one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from adaptive_spec.decoding import transfer
from adaptive_spec.decoding.forward.base import Forward, Pass, padded_positions
from adaptive_spec.decoding.kv_cache import KVCache
from adaptive_spec.errors import ConfigError

Step: TypeAlias = Callable[[], torch.Tensor]

Capture: TypeAlias = Callable[[Step], Step]
"""Runs a step, and returns what repeats it on whatever its buffers hold by then."""


@dataclass(frozen=True)
class StaticShapes:
    """The shapes that passes are rounded up to.

    Attributes:
      widths: tokens per row, ascending; wider passes run as they are.
      reach_step: what a pass looks at of the cache is rounded up to multiples of this many entries;
        None to look at all of the cache always.
    """

    widths: tuple[int, ...] = (1, 2, 4, 8, 16)
    reach_step: int | None = 256

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1 or list(self.widths) != sorted({*self.widths}):
            raise ConfigError(
                f"static shapes: widths = {self.widths}; give one or more, ascending, each >= 1"
            )
        if self.reach_step is not None and self.reach_step < 1:
            raise ConfigError(f"static shapes: reach_step = {self.reach_step}; it must be >= 1")

    @staticmethod
    def fixed(width: int) -> "StaticShapes":
        """One shape alone for passes of up to ``width`` tokens, whatever they hold."""
        return StaticShapes((width,), None)

    def width(self, needed: int) -> int | None:
        """The least width that is enough; None where there is none."""
        return next((width for width in self.widths if width >= needed), None)

    def reach(self, needed: int, capacity: int) -> int:
        """Entries to look at where ``needed`` must be, in a cache of this capacity."""
        if needed > capacity or self.reach_step is None:
            return max(needed, capacity)
        return min(-(-needed // self.reach_step) * self.reach_step, capacity)


class StaticForward(Forward):
    """Runs another forward pass in static shapes. For one cache alone."""

    def __init__(
        self, inner: Forward, shapes: StaticShapes, capture: Capture | None = None
    ) -> None:
        """Wraps a forward pass.

        Args:
          inner: runs the model.
          shapes: to round up to.
          capture: None for CUDA graphs on CUDA devices, and no capture elsewhere.
        """
        self._inner, self._shapes, self._capture = inner, shapes, capture
        self._buffers: dict[tuple[int, bool], _Buffers] = {}
        self._captured: dict[tuple[int, bool, int], Step] = {}
        self._generation = 0

    def fill(self, tokens: Pass, cache: KVCache) -> None:
        self._inner.fill(tokens, cache)  # prompts are long: there is little to gain

    def logits(
        self, tokens: Pass, cache: KVCache, wanted: torch.Tensor | None = None
    ) -> torch.Tensor:
        own = tokens.ids.shape[1]
        width = self._shapes.width(own)
        if width is None:
            return self._inner.logits(tokens, cache, wanted)
        kind = width, wanted is not None
        if kind not in self._buffers:
            self._buffers[kind] = _Buffers(cache.slots, *kind, tokens.ids.device)
        buffers = self._buffers[kind]
        reach = self._shapes.reach(max(cache.lengths) + width, cache.capacity_tokens)
        rows, widths = cache.spread(reach, (buffers.rows, buffers.places))
        index = transfer.to_device(rows, tokens.ids.device)
        buffers.fill(cache.lengths, rows, widths, index, tokens.ids, wanted)
        repeat = self._step(buffers, cache, reach)
        return repeat()[:, :own].index_select(0, index)  # a copy: the next pass overwrites them

    def _step(self, buffers: "_Buffers", cache: KVCache, reach: int) -> Step:
        if self._generation != cache.generation:  # what was captured looks at freed memory
            self._captured.clear()
            self._generation = cache.generation
        key = buffers.width, buffers.wanted is not None, reach
        if key not in self._captured:
            tokens = Pass(buffers.ids, buffers.positions, reach)

            def step() -> torch.Tensor:
                return self._inner.logits(tokens, cache, buffers.wanted)

            if self._capture is None:
                self._capture = _graphs if tokens.ids.is_cuda else _uncaptured
            self._captured[key] = self._capture(step)
        return self._captured[key]


class _Buffers:
    """What passes of one width read.

    Attributes:
      width: tokens per row.
      rows: ``[slots]``, in order.
      ids: ``[slots, width]``; ``positions``: likewise; ``places``: likewise, where keys and values
        are written: beyond a row's own tokens they go on where positions repeat.
      wanted: ``[slots, 1]`` columns whose logits are wanted; None for all.
    """

    def __init__(self, slots: int, width: int, has_wanted: bool, device: torch.device) -> None:
        self.width = width
        self.rows = torch.arange(slots, device=device)
        self.ids = torch.zeros(slots, width, dtype=torch.long, device=device)
        self._told = torch.zeros(2, slots, width, dtype=torch.long, device=device)
        self.positions, self.places = self._told
        self.wanted = self.ids[:, :1].clone() if has_wanted else None

    def fill(
        self,
        lengths: list[int],
        rows: list[int],
        widths: list[int],
        index: torch.Tensor,
        ids: torch.Tensor,
        wanted: torch.Tensor | None,
    ) -> None:
        """Takes over one pass.

        Args:
          lengths: ``[slots]`` tokens that all rows of the cache hold.
          rows: ``[b]`` those in the pass.
          widths: ``[b]`` tokens that each owns.
          index: ``rows`` on the device.
          ids: ``[b, at most width]``.
          wanted: ``[b, 1]``; None for all.
        """
        own = dict(zip(rows, widths, strict=True))
        every = [own.get(row, 0) for row in range(len(lengths))]
        positions = np.asarray(padded_positions(lengths, every, self.width), np.int64)
        places = np.asarray(lengths, np.int64)[:, None] + np.arange(self.width)
        self._told.copy_(transfer.array_to_device(np.stack([positions, places]), self.ids.device))
        self.ids[:, : ids.shape[1]].index_copy_(0, index, ids)
        if self.wanted is not None and wanted is not None:
            self.wanted.index_copy_(0, index, wanted)


def _uncaptured(step: Step) -> Step:
    return step


_pools: dict[torch.device, Any] = {}


def _graphs(step: Step) -> Step:
    """Captures a step as a CUDA graph. All graphs share memory: none is read once another ran."""
    device = torch.device("cuda", torch.cuda.current_device())
    if device not in _pools:
        _pools[device] = torch.cuda.graph_pool_handle()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()  # allocates, compiles and looks up what may not be done while capturing
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=_pools[device], capture_error_mode="thread_local"):
        output = step()

    def replay() -> torch.Tensor:
        graph.replay()
        return output

    return replay
