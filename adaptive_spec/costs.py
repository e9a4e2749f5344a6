"""What a cycle costs: time of drafting and of verifying, as functions of tau, batch and context.

Two models: ``ConstantCosts``, two numbers in units of a plain verifier pass, and
``MeasuredCosts``, curves on a grid, profiled on a device or made in their likeness
(``adaptive_spec.cost_files`` reads either).
All times are milliseconds; where only ratios are known, a plain pass is taken as 1 ms.
"""

import abc
import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.errors import CostsError

ValueT = TypeVar("ValueT")

ORIGINS = {"measured": "measured on", "roofline": "roofline of", "served": "served by"}
"""Where curves may come from, and how they say so."""

PLAIN_PASSES = "plain verifier passes"
"""The unit of times where no time of a pass is known."""


class CostModel(abc.ABC):
    """Prices cycles. Implementations are immutable."""

    @property
    @abc.abstractmethod
    def plain_ms(self) -> float:
        """Time of a verifier pass over one token of one sequence: the unit of comparison."""

    @property
    def time_unit(self) -> str:
        """What a "millisecond" of this model stands for."""
        return "ms"

    @abc.abstractmethod
    def draft_ms(self, tau: IntArray, batch_size: int, context_tokens: IntArray) -> FloatArray:
        """Time to draft ``tau`` tokens for every row of a batch, elementwise ``[B]``."""

    @abc.abstractmethod
    def verify_ms(self, tau: IntArray, batch_size: int, context_tokens: IntArray) -> FloatArray:
        """Time of a verifier pass over ``tau`` + 1 tokens a row, elementwise ``[B]``."""

    @abc.abstractmethod
    def table(self, max_draft_tokens: int, batch_size: int, context_tokens: IntArray) -> FloatArray:
        """Time of a whole cycle for tau = 0..``max_draft_tokens``, ``[B or 1, K + 1]``."""

    def of_drafter(self, name: str) -> "CostModel":
        """The costs where this drafter drafts; the model itself where it knows no such name."""
        del name
        return self

    def require_drafters(self, names: Sequence[str]) -> None:
        """Refuses prices, typed by hand, of drafters that are not there: a slip would go unnoticed.

        Raises:
          CostsError: a name that is neither one of ``names`` nor the kind of one.
        """
        del names


@dataclass(frozen=True)
class ConstantCosts(CostModel):
    """Costs that grow linearly with tau: a cycle takes ``plain_ms * (1 + tau * (draft + verify))``.

    Attributes:
      draft: time of one draft step over that of a plain verifier pass (c), >= 0.
      verify: time of one more verified token over that of a plain verifier pass (v), >= 0.
      plain_ms: time of a plain verifier pass, > 0.
      drafts: ``draft`` of drafters that have one of their own, by name.
    """

    draft: float = 0.125
    verify: float = 0.0
    plain_ms: float = 1.0
    drafts: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        named = ((f"draft.{name}", value) for name, value in self.drafts)
        for name, value in (("draft", self.draft), ("verify", self.verify), *named):
            if not (math.isfinite(value) and 0 <= value <= 1000):
                raise CostsError(
                    f"costs: {name} = {value}; allowed are 0 to 1000 plain verifier passes"
                )
        if not 1e-6 <= self.plain_ms <= 1e9:
            raise CostsError(f"costs: plain_ms = {self.plain_ms}; allowed are 1e-6 to 1e9")

    def draft_ms(self, tau: IntArray, batch_size: int, context_tokens: IntArray) -> FloatArray:
        return tau.astype(np.float64) * (self.draft * self.plain_ms)

    def verify_ms(self, tau: IntArray, batch_size: int, context_tokens: IntArray) -> FloatArray:
        return self.plain_ms + tau.astype(np.float64) * (self.verify * self.plain_ms)

    def table(self, max_draft_tokens: int, batch_size: int, context_tokens: IntArray) -> FloatArray:
        return _linear_table(self, max_draft_tokens)

    def of_drafter(self, name: str) -> "ConstantCosts":
        return _constant_for(self, name) if self.drafts else self

    @property
    def time_unit(self) -> str:
        return "ms" if self.plain_ms != 1.0 else PLAIN_PASSES

    def require_drafters(self, names: Sequence[str]) -> None:
        known = {*names, *(name.partition(":")[0] for name in names)}
        strange = [name for name, _ in self.drafts if name not in known]
        if strange:
            raise CostsError(
                f"costs: draft.{strange[0]} is the price of a drafter that is not there; there "
                f"are {', '.join(names)}"
            )

    def __str__(self) -> str:
        named = "".join(f"draft.{name}={draft:g}," for name, draft in self.drafts)
        return f"draft={self.draft:g},{named}verify={self.verify:g}"


@functools.lru_cache(maxsize=256)
def _constant_for(costs: ConstantCosts, name: str) -> ConstantCosts:
    draft = _of_name(dict(costs.drafts), name, costs.draft)
    return ConstantCosts(draft, costs.verify, costs.plain_ms)


def _of_name(known: dict[str, ValueT], name: str, otherwise: ValueT) -> ValueT:
    """What is known of a drafter, or else of all of its kind (``lookup`` of ``lookup:...``)."""
    return known.get(name, known.get(name.partition(":")[0], otherwise))


@functools.lru_cache(maxsize=256)
def _linear_table(costs: ConstantCosts, max_draft_tokens: int) -> FloatArray:
    tau = np.arange(max_draft_tokens + 1)
    share = np.float64(costs.draft + costs.verify)
    return _frozen((costs.plain_ms * (1.0 + tau * share))[None, :])


@dataclass(frozen=True, eq=False)
class DraftCurve:
    """Measured drafting time of one drafter.

    Attributes:
      start_ms: ``[b, c]`` what drafting costs before its first token (catching up).
      step_ms: ``[b, c]`` time of each drafted token.
    """

    start_ms: FloatArray
    step_ms: FloatArray


@dataclass(frozen=True, eq=False)
class MeasuredCosts(CostModel):
    """Costs profiled on a device: linear between measured points, monotone in tau.

    Beyond the grid, times go on along the last measured segment, but never fall.

    Attributes:
      batch_sizes: ``[b]`` measured batch sizes, increasing, first 1.
      context_tokens: ``[c]`` measured context lengths, increasing.
      widths: ``[w]`` measured tokens per row in a verifier pass, increasing, first 1.
      verify_grid_ms: ``[b, c, w]`` time of a verifier pass.
      draft_start_ms: ``[b, c]`` what drafting costs before its first token (catching up).
      draft_step_ms: ``[b, c]`` time of each drafted token.
      hardware: where it was measured; ``note``: models, dtype, threads.
      drafts: curves of drafters that have one of their own, by name; the two above are for others.
      origin: a key of ``ORIGINS``: profiled, computed from what the hardware could do, or
        fitted to served cycles.
    """

    batch_sizes: tuple[int, ...]
    context_tokens: tuple[int, ...]
    widths: tuple[int, ...]
    verify_grid_ms: FloatArray
    draft_start_ms: FloatArray
    draft_step_ms: FloatArray
    hardware: str = "unknown"
    note: str = ""
    drafts: tuple[tuple[str, DraftCurve], ...] = ()
    origin: str = "measured"
    _known: dict[tuple[int, int], tuple[FloatArray, FloatArray]] = field(
        default_factory=dict, init=False, repr=False
    )
    _by_drafter: dict[str, "MeasuredCosts"] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        grid = (len(self.batch_sizes), len(self.context_tokens))
        shapes = {
            "verify_grid_ms": (*grid, len(self.widths)),
            "draft_start_ms": grid,
            "draft_step_ms": grid,
        }
        for name, axis in (
            ("batch_sizes", self.batch_sizes),
            ("context_tokens", self.context_tokens),
            ("widths", self.widths),
        ):
            if not axis or any(b <= a for a, b in itertools.pairwise(axis)):
                raise CostsError(f"costs: {name} = {list(axis)}; it must be increasing")
        if self.origin not in ORIGINS:
            raise CostsError(f"costs: origin = {self.origin!r}; allowed are {', '.join(ORIGINS)}")
        if self.batch_sizes[0] != 1 or self.widths[0] != 1:
            raise CostsError("costs: batch_sizes and widths must start at 1 (plain decoding)")
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise CostsError(f"costs: {name} has shape {array.shape}, expected {shape}")
            if not np.isfinite(array).all() or (array < 0).any():
                raise CostsError(f"costs: {name} has values that are negative or not finite")
        if not (self.verify_grid_ms > 0).all():
            raise CostsError("costs: verify_grid_ms has a pass that takes no time")
        if (np.diff(self.verify_grid_ms, axis=-1) < 0).any():
            raise CostsError("costs: verify_grid_ms falls with the width; fit it monotone")
        for name in shapes:
            object.__setattr__(self, name, _frozen(np.array(getattr(self, name))))
        for name, curve in self.drafts:
            try:
                self._by_drafter[name] = dataclasses.replace(
                    self, draft_start_ms=curve.start_ms, draft_step_ms=curve.step_ms, drafts=()
                )
            except CostsError as error:
                raise CostsError(f"{error} (drafts: the curve of {name!r})") from None

    def of_drafter(self, name: str) -> "MeasuredCosts":
        return _of_name(self._by_drafter, name, self)

    @property
    def plain_ms(self) -> float:
        return float(self.verify_grid_ms[0, 0, 0])

    def draft_ms(self, tau: IntArray, batch_size: int, context_tokens: IntArray) -> FloatArray:
        draft, _ = self._curves(int(tau.max(initial=0)), batch_size, context_tokens)
        return _pick(draft, tau)

    def verify_ms(self, tau: IntArray, batch_size: int, context_tokens: IntArray) -> FloatArray:
        _, verify = self._curves(int(tau.max(initial=0)), batch_size, context_tokens)
        return _pick(verify, tau)

    def table(self, max_draft_tokens: int, batch_size: int, context_tokens: IntArray) -> FloatArray:
        draft, verify = self._curves(max_draft_tokens, batch_size, context_tokens)
        return draft + verify

    def _curves(
        self, top: int, batch_size: int, context_tokens: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Time of drafting and of verifying for tau = 0..``top``, ``[B or 1, top + 1]`` each.

        Every price comes from here, so that what a policy is shown is what it is charged.
        """
        draft, verify = self._planes(top, batch_size)
        measured = np.asarray(self.context_tokens)
        if measured.size == 1:
            return draft, verify
        below = np.clip(
            np.searchsorted(measured, context_tokens, side="right") - 1, 0, measured.size - 2
        )
        weight = (context_tokens - measured[below]) / (measured[below + 1] - measured[below])
        weight = np.maximum(weight, 0.0)[:, None]
        return _mix(draft[below], draft[below + 1], weight), _mix(
            verify[below], verify[below + 1], weight
        )

    def _planes(self, top: int, batch_size: int) -> tuple[FloatArray, FloatArray]:
        """The curves at each measured context, ``[c, top + 1]``, kept for the next call."""
        key = (top, batch_size)
        if key not in self._known:
            tau = np.arange(top + 1)
            start = _along(self.batch_sizes, self.draft_start_ms, batch_size)
            step = _along(self.batch_sizes, self.draft_step_ms, batch_size)
            draft = (tau > 0) * start[:, None] + tau * step[:, None]
            grid = _along(self.batch_sizes, self.verify_grid_ms, batch_size)  # [c, w]
            by_width = np.moveaxis(np.maximum.accumulate(grid, axis=-1), -1, 0)
            columns = [_along(self.widths, by_width, width) for width in range(1, top + 2)]
            self._known[key] = _frozen(draft), _frozen(np.stack(columns, axis=-1))
        return self._known[key]

    def __str__(self) -> str:
        return f"{ORIGINS[self.origin]} {self.hardware}"


def _along(axis: tuple[int, ...], values: FloatArray, at: int) -> FloatArray:
    """``values`` (first axis measured at ``axis``) at one point between or beyond."""
    if len(axis) == 1:
        return np.asarray(values[0])
    i = int(np.clip(np.searchsorted(axis, at, side="right") - 1, 0, len(axis) - 2))
    weight = max((at - axis[i]) / (axis[i + 1] - axis[i]), 0.0)
    low, high = values[i], values[i + 1]
    between: FloatArray = np.maximum(low * (1.0 - weight) + high * weight, np.minimum(low, high))
    return between


def _mix(low: FloatArray, high: FloatArray, weight: float | FloatArray) -> FloatArray:
    """Between two measured curves, or beyond the higher one; never below both, nor falling."""
    mixed = np.maximum(low * (1.0 - weight) + high * weight, np.minimum(low, high))
    rising: FloatArray = np.maximum.accumulate(mixed, axis=-1)
    return rising


def _pick(curves: FloatArray, tau: IntArray) -> FloatArray:
    """The entry of each row at its tau, ``[B or 1, top + 1], [B] -> [B]``."""
    row = np.arange(tau.size) if curves.shape[0] > 1 else 0
    return np.asarray(curves[row, tau])


def _frozen(array: FloatArray) -> FloatArray:
    array.flags.writeable = False
    return array


def cycle_costs(
    costs: CostModel, tau: npt.NDArray[Any], batch_size: int, context_tokens: IntArray
) -> FloatArray:
    """Time of a whole cycle at one tau per row, ``[B]``."""
    return costs.draft_ms(tau, batch_size, context_tokens) + costs.verify_ms(
        tau, batch_size, context_tokens
    )
