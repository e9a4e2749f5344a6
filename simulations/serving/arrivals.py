"""When requests come: in an open loop whatever the engine does, in a closed one as it answers."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from adaptive_spec._arrays import FloatArray
from adaptive_spec.errors import ConfigError


class Arrivals(Protocol):
    """Says, as the clock goes on, how many requests have come."""

    def due(self, clock_ms: float, finished: int) -> int:
        """Requests that have come by now, in all, when so many have finished."""

    def next_ms(self, arrived: int) -> float:
        """When the next one comes, so many having come; asked only while nothing runs."""

    def came_ms(self, first: int, end: int, clock_ms: float) -> FloatArray:
        """When the requests of these numbers came, ``[end - first]``, seen to be due just now."""


@dataclass(frozen=True, eq=False)
class OpenLoop:
    """Requests come at given times, whatever the engine does.

    Attributes:
      times_ms: ``[R]`` finite, ascending, >= 0.
    """

    times_ms: FloatArray

    def __post_init__(self) -> None:
        times = self.times_ms
        if times.size and not (np.isfinite(times).all() and times[0] >= 0):
            raise ConfigError("arrivals: times_ms must be finite numbers from 0 on")
        if (np.diff(times) < 0).any():
            i = int((np.diff(times) < 0).argmax()) + 1
            raise ConfigError(
                f"arrivals: times_ms falls from {times[i - 1]:g} to {times[i]:g} at request {i}; "
                "give them in order"
            )

    def due(self, clock_ms: float, finished: int) -> int:
        del finished
        return int(self.times_ms.searchsorted(clock_ms, side="right"))

    def next_ms(self, arrived: int) -> float:
        return float(self.times_ms[arrived])

    def came_ms(self, first: int, end: int, clock_ms: float) -> FloatArray:
        del clock_ms
        return self.times_ms[first:end]


@dataclass(frozen=True)
class ClosedLoop:
    """So many clients, each of which asks again as soon as it is answered.

    Attributes:
      concurrency: clients, >= 1.
    """

    concurrency: int

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ConfigError(f"arrivals: concurrency = {self.concurrency}; it must be at least 1")

    def due(self, clock_ms: float, finished: int) -> int:
        del clock_ms
        return self.concurrency + finished

    def next_ms(self, arrived: int) -> float:
        raise AssertionError(f"a client waits while nothing runs, after {arrived} requests")

    def came_ms(self, first: int, end: int, clock_ms: float) -> FloatArray:
        return np.full(end - first, clock_ms)


@dataclass(frozen=True)
class RequestStream:
    """A renewal process of gamma-distributed gaps whose rate follows a profile, as over a day.

    Gaps are drawn at the mean rate, and time is then stretched so that the rate follows the profile
    (inversion of the cumulative rate: Cinlar, Introduction to Stochastic Processes, 1975, ch. 4.7).
    With ``variation`` 1 the gaps are exponential: a Poisson process, homogeneous or not.

    Attributes:
      mean_gap_ms: mean time from one request to the next, > 0.
      variation: coefficient of variation of the gaps, 0 to 10: 0 is a clock's tick, above 1
        requests come in bursts.
      profile: rate over one period in equal parts, relative to each other: >= 0, not all 0.
      period_ms: length of the profile, > 0, after which it starts again; None: the whole stream.
    """

    mean_gap_ms: float
    variation: float = 1.0
    profile: tuple[float, ...] = (1.0,)
    period_ms: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("mean_gap_ms", self.mean_gap_ms), ("period_ms", self.period_ms)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"arrivals: {name} = {value}; it must be above 0")
        if not 0 <= self.variation <= 10:
            raise ConfigError(f"arrivals: variation = {self.variation}; allowed are 0 to 10")
        weights = self.profile
        if not all(math.isfinite(w) and w >= 0 for w in weights) or not sum(weights) > 0:
            raise ConfigError(
                f"arrivals: profile = {list(weights)}; give rates of at least 0, not all of them 0"
            )

    def draw(self, count: int, generator: np.random.Generator) -> OpenLoop:
        """Times of so many requests, >= 1."""
        gaps = np.ones(count)
        if self.variation > 1e-6:  # below, gamma's shape grows beyond what numbers hold
            shape = self.variation**-2.0
            gaps = generator.gamma(shape, 1.0 / shape, count)
        even = np.cumsum(gaps) * self.mean_gap_ms
        period = self.period_ms or count * self.mean_gap_ms
        edges = np.linspace(0.0, period, len(self.profile) + 1)
        weights = np.asarray(self.profile) / np.mean(self.profile)
        reached = np.concatenate(([0.0], np.cumsum(weights))) * (period / weights.size)
        whole, rest = np.divmod(even, period)
        times = whole * period + np.interp(rest, reached, edges)
        return OpenLoop(np.maximum.accumulate(times))  # rounding may not turn two around
