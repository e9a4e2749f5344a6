"""The figures of a serving run: latencies, passes, speed, and tau over time."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.simulations.bootstrap import Interval, resampled_sums
from adaptive_spec.simulations.serving.quantiles import quantile_interval
from adaptive_spec.simulations.serving.served import RequestLog, Served, StepLog

QUANTILES = (0.5, 0.9, 0.95, 0.99)
_RESAMPLES = 1000


class Percentiles(NamedTuple):
    """The 50th, 90th, 95th and 99th percentile, each with its 95 % interval."""

    p50: Interval
    p90: Interval
    p95: Interval
    p99: Interval

    @staticmethod
    def of(samples: FloatArray) -> "Percentiles":
        """Of samples ``[n]`` in the order in which they came; NaN ones do not count."""
        return Percentiles(*(quantile_interval(samples, q) for q in QUANTILES))

    def as_dict(self) -> dict[str, object]:
        """The percentiles under the names of the JSON output; what is not finite becomes None."""
        return {name: interval_dict(interval) for name, interval in self._asdict().items()}


class TauOverTime(NamedTuple):
    """Means over equal stretches of time, ``[bins]``; NaN where nothing ran.

    Attributes:
      begin_ms: of the stretch.
      tau: mean over cycles of sequences; ``batch_size``: over steps; ``waiting``: over steps.
    """

    begin_ms: FloatArray
    tau: FloatArray
    batch_size: FloatArray
    waiting: FloatArray

    @staticmethod
    def of(steps: StepLog, bins: int = 24) -> "TauOverTime":
        """Of steps, by when they began, in so many stretches, >= 1."""
        first, last = float(steps.begin_ms[0]), float(steps.begin_ms[-1])
        width = (last - first) / bins or 1.0
        at = np.minimum(((steps.begin_ms - first) / width).astype(np.int64), bins - 1)
        sums = (np.bincount(at, c, bins) for c in (steps.tau, steps.batch_size, steps.waiting))
        tau, rows, waiting = sums
        count = np.bincount(at, minlength=bins)
        some: FloatArray = np.where(count > 0, count, np.nan)
        begin = np.linspace(first, first + width * bins, bins, endpoint=False)
        return TauOverTime(
            begin, tau / np.where(count > 0, rows, np.nan), rows / some, waiting / some
        )

    def as_dict(self) -> dict[str, object]:
        """The columns as lists; what is not a number becomes None."""
        return {
            name: [None if math.isnan(x) else x for x in column.tolist()]
            for name, column in self._asdict().items()
        }


class Figures(NamedTuple):
    """What people compare, of all requests or of one class.

    Attributes:
      requests: how many; ``tokens``: emitted; ``passes``: verifier passes.
      latency_ms: from arrival to the last token; ``time_to_first_token_ms``;
        ``time_per_output_token_ms``.
      passes_per_request: with a 95 % interval, by bootstrap over recorded prompts.
      tokens_per_ms: from the first arrival to the last token; ``requests_per_ms``.
      goodput_per_ms: requests per ms that ended whole and within the target of latency; NaN
        without one.
      cut_short: requests that did not end whole.
    """

    requests: int
    tokens: int
    passes: int
    latency_ms: Percentiles
    time_to_first_token_ms: Percentiles
    time_per_output_token_ms: Percentiles
    passes_per_request: Interval
    tokens_per_ms: float
    requests_per_ms: float
    goodput_per_ms: float
    cut_short: int

    @staticmethod
    def of(
        requests: RequestLog,
        makespan_ms: float,
        *,
        target_ms: float | None = None,
        seed: int = 0,
    ) -> "Figures":
        """Of requests, at least one.

        Args:
          requests: all of a run, or those of a class.
          makespan_ms: of the whole run.
          target_ms: latency to be kept, for goodput.
          seed: of the bootstrap.
        """
        whole = requests.complete
        good = math.nan
        if target_ms is not None:
            good = float((whole & (requests.latency_ms <= target_ms)).sum()) / makespan_ms
        return Figures(
            requests.tokens.size,
            int(requests.tokens.sum()),
            int(requests.passes.sum()),
            Percentiles.of(requests.latency_ms),
            Percentiles.of(requests.time_to_first_token_ms),
            Percentiles.of(requests.time_per_output_token_ms),
            mean_interval(requests.passes, requests.prompt, np.random.default_rng(seed)),
            float(requests.tokens.sum()) / makespan_ms,
            requests.tokens.size / makespan_ms,
            good,
            int((~whole).sum()),
        )

    @staticmethod
    def of_all(served: Served, *, target_ms: float | None = None, seed: int = 0) -> "Figures":
        """Of a whole run."""
        return Figures.of(served.requests, served.makespan_ms, target_ms=target_ms, seed=seed)

    def as_dict(self) -> dict[str, Any]:
        """The figures under the names of the JSON output; what is not finite becomes None."""
        return {
            name: value.as_dict()
            if isinstance(value, Percentiles)
            else interval_dict(value)
            if isinstance(value, Interval)
            else None
            if isinstance(value, float) and not math.isfinite(value)
            else value
            for name, value in self._asdict().items()
        }


def interval_dict(interval: Interval) -> dict[str, float | None]:
    """An interval for JSON, which knows no infinities."""
    return {
        name: value if math.isfinite(value) else None for name, value in interval._asdict().items()
    }


def mean_interval(values: IntArray, prompt: IntArray, generator: np.random.Generator) -> Interval:
    """The mean of values ``[R]`` with its interval, prompts ``[R]`` being what is resampled.

    Requests of one recorded text are alike, so that many of them tell little more than one.
    """
    total, count = sums_by_prompt([values, np.ones_like(values)], prompt, generator)
    return Interval.of(total / count)


def sums_by_prompt(
    columns: Sequence[FloatArray | IntArray], prompt: IntArray, generator: np.random.Generator
) -> tuple[FloatArray, ...]:
    """Sums of columns ``[R]``, as they are and with prompts ``[R]`` resampled alike for all."""
    _, which = np.unique(prompt, return_inverse=True)
    by_prompt = np.stack([np.bincount(which, c) for c in columns], axis=1).astype(np.float64)
    drawn = resampled_sums(by_prompt, _RESAMPLES, generator)
    return tuple(np.concatenate([by_prompt.sum(axis=0)[None, :], drawn]).T)
