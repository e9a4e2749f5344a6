"""Profiling what a cycle costs on this machine, as curves for the cost model.

A verifier pass is timed over block size, context and batch; drafting is timed at two lengths, by
each drafter of a composition, which gives what it costs to begin and what each token adds.
Measurements are interleaved in shuffled order and the median taken, so that a slow spell of the
machine falls on all of them alike; the curve over the block size is then fitted monotone (isotonic
regression: Barlow et al. 1972).
"""

import itertools
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import isotonic_regression

from adaptive_spec.costs import DraftCurve, MeasuredCosts
from adaptive_spec.decoding.drafters.base import Drafter, DraftRequest
from adaptive_spec.decoding.drafters.draft_model import DraftModelDrafter
from adaptive_spec.decoding.forward import StaticShapes
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.errors import ConfigError

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17, 24, 33)
CONTEXTS = (64, 512)
BATCH_SIZES = (1, 4)

_SHORT_DRAFT, _LONG_DRAFT = 1, 5


def profile_costs(
    model: Any,
    make_drafter: Callable[[int], Drafter | None],
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    contexts: Sequence[int] = CONTEXTS,
    widths: Sequence[int] = WIDTHS,
    repeats: int = 3,
    shapes: StaticShapes | None = None,
    generator: np.random.Generator,
    on_progress: Callable[[int, int], None] | None = None,
) -> MeasuredCosts:
    """Measures a verifier and its drafter.

    Args:
      model: the verifier, a transformers causal language model.
      make_drafter: gives a drafter with so many rows, or None for no drafting.
      batch_sizes: sequences per pass; 1 is always among them.
      contexts: tokens before the block.
      widths: tokens of the block; 1 is always among them.
      repeats: measurements of each point, >= 1.
      shapes: what the verifier's passes are rounded up to; None to run each as it is.
      generator: makes up the texts and the order.
      on_progress: called with measurements done and wanted.

    Raises:
      ConfigError: values below 1, or a context and block longer than the model allows.
    """
    batches, lengths, blocks = (_axis(values) for values in (batch_sizes, contexts, widths))
    batches, blocks = _axis((1, *batches)), _axis((1, *blocks))
    if repeats < 1:
        raise ConfigError(f"profile: repeats = {repeats}; it must be at least 1")
    drafter = make_drafter(1)
    _require_room(lengths[-1], blocks[-1], model, drafter)
    names = () if drafter is None else drafter.names
    verify = np.zeros((len(batches), len(lengths), len(blocks)))
    curves = [DraftCurve(*np.zeros((2, *verify.shape[:2]))) for _ in names or ("none",)]
    drafts = list(itertools.product((-_SHORT_DRAFT, -_LONG_DRAFT), range(len(names))))
    kinds = [*((block, 0) for block in blocks), *drafts]
    total, done = len(batches) * repeats * len(lengths) * len(kinds), 0
    for b, batch in enumerate(batches):
        longest = lengths[-1] + blocks[-1]
        bench = _Bench(model, make_drafter(batch), batch, longest, generator, shapes)
        for kind in ((blocks[-1], 0), *drafts):
            bench.time_ms(lengths[-1], *kind)  # the first of its kind also allocates
        points = [(c, *kind) for c in range(len(lengths)) for kind in kinds]
        times: dict[tuple[int, int, int], list[float]] = {point: [] for point in points}
        for _ in range(repeats):
            for i in generator.permutation(len(points)):
                point = points[i]
                times[point].append(bench.time_ms(lengths[point[0]], *point[1:]))
                done += 1
                if on_progress is not None:
                    on_progress(done, total)
        middle = {point: statistics.median(values) for point, values in times.items()}
        for c in range(len(lengths)):
            curve = np.array([middle[c, width, 0] for width in blocks])
            verify[b, c] = isotonic_regression(curve).x
            for part in range(len(names)):
                short, long = middle[c, -_SHORT_DRAFT, part], middle[c, -_LONG_DRAFT, part]
                step = max(long - short, 0.0) / (_LONG_DRAFT - _SHORT_DRAFT)
                curves[part].step_ms[b, c] = step
                curves[part].start_ms[b, c] = max(short - step * _SHORT_DRAFT, 0.0)
    dtype = str(model.dtype).removeprefix("torch.")
    note = f"{type(model).__name__}, {dtype}, {torch.get_num_threads()} threads"
    return MeasuredCosts(
        batches,
        lengths,
        blocks,
        verify,
        curves[-1].start_ms,
        curves[-1].step_ms,
        hardware=hardware_name(model),
        note=note,
        drafts=tuple(zip(names, curves, strict=True)) if len(names) > 1 else (),
    )


def plain_pass_ms(
    model: Any, *, context: int = 32, repeats: int = 5, shapes: StaticShapes | None = None
) -> float:
    """Time of a plain pass: what costs given in plain passes are to be multiplied by."""
    longest = min(context, ModelRunner(model).context_limit - 1)
    bench = _Bench(model, None, 1, longest, np.random.default_rng(0), shapes)
    return statistics.median(bench.time_ms(longest, 1) for _ in range(repeats))


class _Bench:
    """One batch size: rows filled with made-up text, ready to be timed at any context."""

    def __init__(
        self,
        model: Any,
        drafter: Drafter | None,
        batch_size: int,
        longest: int,
        generator: np.random.Generator,
        shapes: StaticShapes | None,
    ) -> None:
        room = longest + (1 if shapes is None else shapes.widths[-1])
        self._runner = ModelRunner(model, slots=batch_size, capacity_tokens=room, shapes=shapes)
        self._drafters = () if drafter is None else drafter.components
        self._rows = list(range(batch_size))
        known = self._runner.vocab_size
        for part in self._drafters:
            if isinstance(part, DraftModelDrafter):
                known = min(known, part.runner.vocab_size)
        self._texts = generator.integers(0, known, (batch_size, longest)).tolist()
        self._device = torch.device(self._runner.device)

    def time_ms(self, context: int, what: int, part: int = 0) -> float:
        """Time of a pass over ``what`` tokens a row; where negative, of one drafter's ``-what``."""
        if what > 0:
            return self._pass_ms(context, what)
        return self._draft_ms(self._drafters[part], context, -what)

    def _pass_ms(self, context: int, width: int) -> float:
        for row in self._rows:
            held = self._runner.length(row)
            if held < context:
                self._runner.prefill(row, self._texts[row][held:context])
        self._runner.truncate(self._rows, [context] * len(self._rows))
        block = [self._texts[row][:width] for row in self._rows]
        began = self._now()
        self._runner.append(self._rows, block)
        return (self._now() - began) * 1e3

    def _draft_ms(self, drafter: Drafter, context: int, tau: int) -> float:
        texts = [text[:context] for text in self._texts]
        for row, text in zip(self._rows, texts, strict=True):
            drafter.begin(row, text)
        # One draft first, so that what is timed begins as in the middle of a request.
        drafter.propose(DraftRequest(self._rows, texts, np.ones(len(self._rows), np.int64)))
        began = self._now()
        drafter.propose(DraftRequest(self._rows, texts, np.full(len(self._rows), tau, np.int64)))
        elapsed = (self._now() - began) * 1e3
        for row in self._rows:
            drafter.end(row)
        return elapsed

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def _require_room(context: int, block: int, model: Any, drafter: Drafter | None) -> None:
    """Refuses sizes that do not fit into a model's context."""
    limits = {"the verifier": (ModelRunner(model).context_limit, context + block)}
    for part in () if drafter is None else drafter.components:
        if part.context_limit is not None:
            limits[f"the drafter {part.spec}"] = part.context_limit, context + _LONG_DRAFT + 1
    for name, (limit, needed) in limits.items():
        if needed > limit:
            raise ConfigError(
                f"profile: context {context} and block {block} need {needed} tokens; {name} has a "
                f"context of {limit}"
            )


def hardware_name(model: Any) -> str:
    """The device's name: the GPU's, or the processor's with its cores."""
    if model.device.type == "cuda":
        return torch.cuda.get_device_name(model.device)
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {torch.get_num_threads()} threads"


def _axis(values: Sequence[int]) -> tuple[int, ...]:
    axis = tuple(sorted(set(values)))
    if not axis or axis[0] < 1:
        raise ConfigError(f"profile: {list(values)}; sizes must be at least 1")
    return axis
