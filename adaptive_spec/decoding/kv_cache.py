"""Key/value cache of fixed slots with a length per row, rolled back by moving that length.

Each layer holds keys and values as ``[slots, kv_heads, capacity, head_dim]``. A row's entries
beyond its length are leftovers: never read, overwritten by the next pass. Lengths live on the
host, so that neither planning nor rolling back a pass waits for the device.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from adaptive_spec.decoding.transfer import to_device

_CAPACITY_STEP = 64


@dataclasses.dataclass
class _Span:
    """Where the pass under way writes and reads; all layers look at the same one.

    Attributes:
      slots: rows of the cache; ``capacity``: positions of each.
      rows: ``[b]`` rows in the pass; ``starts``: ``[b]`` their lengths before it; ``widths``:
        ``[b]`` tokens that each appends.
      width: positions written per row, padding included; ``reach``: positions that the pass may
        look at.
      generation: counts changes of ``capacity``, after each of which memory may be another.
      is_contiguous: whether the rows are neighbours, so that a view shows them.
      is_aligned: whether they also start alike, so that a slice takes all that is new: several
        times faster than writing by indices.
    """

    slots: int
    capacity: int
    generation: int = 0
    rows: list[int] = dataclasses.field(default_factory=list)
    starts: list[int] = dataclasses.field(default_factory=list)
    widths: list[int] = dataclasses.field(default_factory=list)
    width: int = 0
    reach: int = 0
    is_contiguous: bool = False
    is_aligned: bool = False
    _index: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = dataclasses.field(
        default_factory=dict, repr=False
    )

    def resize(self, capacity: int) -> None:
        """Sets the capacity; layers follow in the next pass."""
        if capacity != self.capacity:
            self.capacity = capacity
            self.generation += 1

    def begin(self, rows: Sequence[int], starts: list[int], widths: Sequence[int]) -> None:
        """Turns to the next pass."""
        self.rows, self.starts, self.widths = list(rows), starts, list(widths)
        self.width = max(widths)
        self.reach = max(starts) + self.width
        self.is_contiguous = self.rows[-1] - self.rows[0] == len(self.rows) - 1
        self.is_aligned = self.is_contiguous and min(starts) == max(starts)
        self._index.clear()

    def spread(self, reach: int, index: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Widens the pass to all rows, with indices that live elsewhere."""
        rows, positions = index
        self.rows, self.width, self.reach = list(range(self.slots)), positions.shape[1], reach
        self.is_contiguous, self.is_aligned = True, False
        self._index = {positions.device: (rows, positions)}

    def index(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows ``[b]`` and positions ``[b, width]`` on a device; the first layer there pays."""
        if device not in self._index:
            positions = [[start + i for i in range(self.width)] for start in self.starts]
            self._index[device] = to_device(self.rows, device), to_device(positions, device)
        return self._index[device]


class _SlotLayer(CacheLayerMixin):
    """Keys and values of one layer; allocated when the first pass shows shape, dtype and device."""

    is_sliding = False

    def __init__(self, span: _Span) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._span = span

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        span = self._span
        self.dtype, self.device = key_states.dtype, key_states.device
        # Zeros, not empty memory: masked entries still meet a weight of 0, and 0 * NaN is NaN.
        self.keys, self.values = (
            states.new_zeros(span.slots, states.shape[1], span.capacity, states.shape[3])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes ``[b, kv_heads, width, head_dim]``; returns the rows' entries up to the reach."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        if self.keys.shape[2] < self._span.capacity:
            self.keys, self.values = self._grown(self.keys), self._grown(self.values)
        return self._exchange(self.keys, key_states), self._exchange(self.values, value_states)

    def _exchange(self, buffer: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        span = self._span
        first, start, reach = span.rows[0], span.starts[0], span.reach
        if span.is_aligned:
            buffer[first : span.rows[-1] + 1, :, start:reach] = states
        else:
            rows, positions = span.index(buffer.device)
            buffer[rows[:, None], :, positions] = states.transpose(1, 2)  # [b, width, heads, dim]
        if span.is_contiguous:
            return buffer[first : span.rows[-1] + 1, :, :reach]
        return buffer[:, :, :reach].index_select(0, span.index(buffer.device)[0])

    def _grown(self, buffer: torch.Tensor) -> torch.Tensor:
        slots, heads, used, size = buffer.shape
        larger = buffer.new_zeros(slots, heads, self._span.capacity, size)
        larger[:, :, :used] = buffer
        return larger

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._span.reach, 0

    def get_seq_length(self) -> int:
        return max(self._span.starts, default=0)

    def get_max_length(self) -> int:
        return -1


class KVCache(Cache):
    """Preallocated slots with a length each.

    Attributes:
      lengths: ``[slots]`` tokens held by each row; ``writing`` and ``truncate`` change them.
    """

    def __init__(self, num_layers: int, slots: int, capacity_tokens: int = 256) -> None:
        """Sets up empty rows; memory is taken at the first pass.

        Args:
          num_layers: attention layers of the model.
          slots: rows, >= 1.
          capacity_tokens: positions per row to begin with; doubled when a row needs more.
        """
        self._span = _Span(slots, _rounded(capacity_tokens))
        self._layers = [_SlotLayer(self._span) for _ in range(num_layers)]
        super().__init__(layers=[*self._layers])
        self.lengths = [0] * slots

    @property
    def slots(self) -> int:
        """Rows."""
        return self._span.slots

    @property
    def capacity_tokens(self) -> int:
        """Positions per row allocated so far."""
        return self._span.capacity

    @property
    def generation(self) -> int:
        """As long as it stays the same, keys and values stay where they are in memory."""
        return self._span.generation

    @contextlib.contextmanager
    def writing(self, rows: Sequence[int], widths: Sequence[int]) -> Iterator[list[int]]:
        """Prepares one pass; the rows' lengths grow only if the block ends without an error.

        Args:
          rows: ``[b]`` distinct, ascending.
          widths: ``[b]`` tokens that each row appends, >= 1; the pass is padded to the widest.

        Yields:
          ``[b]`` lengths before the pass: the position of each row's first new token.
        """
        assert len(rows) == len(widths) > 0
        assert min(widths) > 0
        assert all(a < b for a, b in itertools.pairwise(rows)), "rows must ascend"
        span = self._span
        span.begin(rows, [self.lengths[row] for row in rows], widths)
        capacity = span.capacity
        if span.reach > capacity:
            span.resize(max(2 * capacity, _rounded(span.reach)))
        try:
            yield span.starts
        except BaseException:
            # Where memory for more ran out, the next pass must not ask all layers for it again.
            span.resize(capacity)
            raise
        for row, width in zip(rows, widths, strict=True):
            self.lengths[row] += width

    def spread(
        self, reach: int, index: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[list[int], list[int]]:
        """Widens the pass that is being written to all rows; returns its own rows and widths.

        Rows that are not in the pass must be written beyond their lengths, where leftovers lie.

        Args:
          reach: entries of each row that the pass may look at, more than any position written.
          index: rows ``[slots]``, in order, and positions to write ``[slots, width]``.
        """
        span = self._span
        own = span.rows, span.widths
        if reach > span.capacity:
            span.resize(max(2 * span.capacity, _rounded(reach)))
        span.spread(reach, index)
        return own

    def truncate(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Rolls rows back to these lengths: the only rollback there is, and nothing is copied."""
        for row, length in zip(rows, lengths, strict=True):
            assert 0 <= length <= self.lengths[row], (row, length, self.lengths[row])
            self.lengths[row] = length

    @torch.inference_mode()
    def fork(self, source: int, rows: Sequence[int], length: int | None = None) -> None:
        """Copies a row's contents to other rows, which then continue on their own.

        Args:
          source: the row copied from.
          rows: the rows that lose what they held.
          length: tokens to copy, at most those that ``source`` holds; None for all.
        """
        if length is None:
            length = self.lengths[source]
        assert 0 <= length <= self.lengths[source], (source, length, self.lengths[source])
        for layer in self._layers:
            if layer.is_initialized:
                for buffer in (layer.keys, layer.values):
                    assert buffer is not None
                    index = to_device(list(rows), buffer.device)
                    buffer[index, :, :length] = buffer[source, :, :length].clone()
        for row in rows:
            self.lengths[row] = length

    @torch.inference_mode()
    def clear(self, rows: Sequence[int] | None = None) -> None:
        """Empties rows (None: all) and forgets their contents: no NaN survives in leftovers."""
        rows = range(self.slots) if rows is None else rows
        for layer in self._layers:
            if layer.is_initialized:
                for buffer in (layer.keys, layer.values):
                    assert buffer is not None
                    buffer.index_fill_(0, to_device(list(rows), buffer.device), 0)
        for row in rows:
            self.lengths[row] = 0

    def check_integrity(self) -> None:
        """Raises AssertionError unless lengths, shapes and contents agree (reads the device)."""
        span = self._span
        assert len(self.lengths) == span.slots
        assert all(0 <= length <= span.capacity for length in self.lengths), self.lengths
        for layer in self._layers:
            if not layer.is_initialized:
                assert not any(self.lengths), "tokens were counted, but no layer holds them"
                continue
            for buffer in (layer.keys, layer.values):
                assert buffer is not None
                slots, _, held, _ = buffer.shape
                assert slots == span.slots
                assert held >= max(self.lengths), (held, self.lengths)
                for row, length in enumerate(self.lengths):
                    assert bool(buffer[row, :, :length].isfinite().all()), f"row {row} not finite"


def _rounded(tokens: int) -> int:
    return -(-max(tokens, 1) // _CAPACITY_STEP) * _CAPACITY_STEP
