"""Models that fail on purpose, and a look at every pass."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from adaptive_spec.decoding import ModelRunner
from tests.tiny_models import VOCABULARY

POISON = VOCABULARY - 1

Fails = Callable[[Sequence[int], Sequence[int]], bool]


def poisoned(model: Any) -> Any:
    """The model, which now never writes ``POISON``, and returns NaN for every text with it."""
    with torch.no_grad():
        model.get_input_embeddings().weight[POISON] = float("nan")
        model.lm_head.weight[POISON] = 0.0
    return model


class Passes:
    """Watches the passes of a runner, and lets some of them run out of memory.

    Attributes:
      widths: tokens by row, of each pass that came to its end.
      fails: given rows and widths, whether memory runs out: after keys and values were written.
    """

    def __init__(self, runner: ModelRunner, fails: Fails = lambda rows, widths: False) -> None:
        self.widths: list[dict[int, int]] = []
        self.fails = fails
        self.runner = runner
        self._writing = runner.cache.writing
        runner.cache.writing = self._watched  # type: ignore[method-assign]

    @property
    def tokens(self) -> int:
        """Tokens that went through the model."""
        return sum(sum(widths.values()) for widths in self.widths)

    def remove(self) -> None:
        """Leaves the runner alone again."""
        self.runner.cache.writing = self._writing  # type: ignore[method-assign]

    @contextlib.contextmanager
    def _watched(self, rows: Sequence[int], widths: Sequence[int]) -> Iterator[list[int]]:
        with self._writing(rows, widths) as starts:
            yield starts
            if self.fails(rows, widths):
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 more byte")
        self.widths.append(dict(zip(rows, widths, strict=True)))
