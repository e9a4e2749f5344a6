"""The frontier of a scenario: what every price of a pass would have come to, on the same requests.

A policy serves all requests at a ladder of constant prices. That gives the whole frontier of passes
per request, p95 latency and speed, and with it the best that a constant price could have done: for
every class the mixture of prices of least time that keeps its promises, chosen in hindsight. What
the controller reached, which had to find its prices while requests came, is held against that.

Speed is emitted tokens by the time of the cycles that brought them. Times of reading prompts and of
waiting, which hardly depend on prices, would only make everything look alike.

Classes are priced apart in hindsight, from runs in which all had the same price: that a class's own
time and passes do not depend on what others pay holds as far as passes take the same time for more
tokens (below the knee).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.constraints import Constraints, PassBudget
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.policy import Policy
from adaptive_spec.simulations.bootstrap import Interval
from adaptive_spec.simulations.hindsight import optimum
from adaptive_spec.simulations.scenarios.mixtures import best_mixture
from adaptive_spec.simulations.scenarios.running import ScenarioResult, ScenarioRun
from adaptive_spec.simulations.scenarios.scenario import QUANTILE
from adaptive_spec.simulations.serving import Served, quantile_interval
from adaptive_spec.simulations.serving.figures import interval_dict, mean_interval, sums_by_prompt
from adaptive_spec.simulations.serving.server import prefill_times

PRICES = (0.0, *(0.25 * 2.0**step for step in range(9)))
"""Of a pass, in plain passes, up to the highest that there is."""


class Way(NamedTuple):
    """One way to serve all requests; ``[R]`` in the order of arrival.

    Attributes:
      setting: its price of a pass, or its static tau.
      passes: ``[R]``; ``cycles_ms``: ``[R]`` time of its cycles.
      latency_ms: ``[R]`` from arrival to the last token.
    """

    setting: float
    passes: IntArray
    cycles_ms: FloatArray
    latency_ms: FloatArray

    @staticmethod
    def of(setting: float, served: Served) -> "Way":
        """Of a run whose cycles were logged."""
        log, requests = served.log, served.requests
        assert log is not None
        count = requests.tokens.size
        cycles_ms: FloatArray = np.bincount(log.sequence, log.cycle_ms, count).astype(np.float64)
        return Way(setting, requests.passes, cycles_ms, requests.latency_ms)


class Point(NamedTuple):
    """The figures of a way, of all requests or of a class.

    Attributes:
      passes: mean per request; ``tokens_per_time``: of its cycles; ``p95``: of the latency.
    """

    passes: Interval
    tokens_per_time: Interval
    p95: Interval

    def as_dict(self) -> dict[str, Any]:
        """The figures under the names of the JSON output; what is not finite becomes None."""
        return {name: interval_dict(value) for name, value in self._asdict().items()}


class Mark(NamedTuple):
    """A mixture of ways, chosen in hindsight for each class.

    Attributes:
      shares: by class, the share of each setting that is in the mixture.
      passes: mean per request; ``tokens_per_time``.
      cycles_ms: ``[R]`` expected time of its cycles.
      out_of_reach: promises that no mixture keeps, and that it was not held to.
    """

    shares: dict[str, dict[float, float]]
    passes: float
    tokens_per_time: float
    cycles_ms: FloatArray
    out_of_reach: tuple[str, ...]

    @property
    def keeps_passes(self) -> bool:
        """Whether every average of passes is within reach."""
        return not any(promise.endswith("average passes") for promise in self.out_of_reach)

    def as_dict(self) -> dict[str, Any]:
        """The mark as a JSON object."""
        shares = {
            name: [{"setting": setting, "share": share} for setting, share in own.items()]
            for name, own in self.shares.items()
        }
        return {
            "passes": self.passes,
            "tokens_per_time": self.tokens_per_time,
            "shares": shares,
            "out_of_reach": list(self.out_of_reach),
        }


class PolicyFrontier(NamedTuple):
    """What prices come to under one policy.

    Attributes:
      online: what the controller made of it, its promises judged; ``online_points``: its figures,
        by class, "all" first.
      points: the same at each price.
      best: the best constant prices in hindsight.
      share_of_best: speed of ``online`` over that of ``best``; None where no price keeps what was
        promised.
    """

    online: ScenarioResult
    online_points: dict[str, Point]
    points: dict[float, dict[str, Point]]
    best: Mark
    share_of_best: Interval | None

    def as_dict(self) -> dict[str, Any]:
        """The frontier as a JSON object."""
        share = self.share_of_best
        return {
            "policy": self.online.policy,
            "online": _points_dict(self.online_points),
            "prices": [
                {"price": price, **_points_dict(points)} for price, points in self.points.items()
            ],
            "best_price_in_hindsight": self.best.as_dict(),
            "online_over_best": None if share is None else interval_dict(share),
        }


class FrontierRun:
    """Works out the frontier of one policy after the other.

    Attributes:
      run: of the scenario.
      static: the best mixture of static tau in hindsight.
      clairvoyant: the least time of any policy, decoding each request alone, at the best prices.
    """

    def __init__(self, run: ScenarioRun, prices: Sequence[float] = PRICES) -> None:
        """Serves static tau, for the mark; ``prices`` in plain passes, at least one."""
        self.run = run
        self._prices = prices
        self._tokens = run.workload.traces.flat().num_tokens
        self._classes: dict[str, BoolArray] = {}
        of_class = run.workload.requests.request_class
        for number, kind in enumerate(run.scenario.classes):
            own = np.asarray(of_class == number)
            if own.any():
                self._classes[kind.name] = own
        taus = range(run.scenario.max_draft_tokens + 1)
        self.static = self._best(
            [Way.of(tau, run.serve(Fixed(tau), None, log_cycles=True)) for tau in taus]
        )
        self.clairvoyant = self._best([self._foreseen(price) for price in prices])

    @staticmethod
    def runs(max_draft_tokens: int, policies: int) -> int:
        """How often all requests are served, for so many policies."""
        return max_draft_tokens + 1 + policies * (1 + len(PRICES))

    def of(self, policy: str | Policy[Any, Any]) -> PolicyFrontier:
        """Serves all requests with a policy: as promised, and at every price."""
        run = self.run
        served = run.serve(policy, run.scenario.constraints(run.costs), log_cycles=True)
        online, ways = Way.of(math.nan, served), []
        for price in self._prices:
            priced = {k.name: Constraints(PassBudget(price=price)) for k in run.scenario.classes}
            ways.append(Way.of(price, run.serve(policy, priced, log_cycles=True)))
        best = self._best(ways)
        return PolicyFrontier(
            run.judged(policy, served),
            self._points(online),
            {way.setting: self._points(way) for way in ways},
            best,
            self._share(online, best) if best.keeps_passes else None,
        )

    def _foreseen(self, price: float) -> Way:
        """The clairvoyant optimum at a price, nobody waiting for anybody."""
        run, flat = self.run, self.run.workload.traces.flat()
        most = run.scenario.max_draft_tokens
        priced_ms = price * run.costs.plain_ms
        plan = optimum(flat, costs=run.costs, max_draft_tokens=most, pass_price_ms=priced_ms)
        latency_ms = plan.time_ms + prefill_times(flat.prompt_tokens, run.costs)
        return Way(price, plan.cycles, plan.time_ms, latency_ms)

    def _best(self, ways: Sequence[Way]) -> Mark:
        """The mixtures of least time that keep the promises, as far as any mixture does."""
        passes, cycles_ms = (np.stack([way[i] for way in ways]).astype(float) for i in (1, 2))
        latency_ms = np.stack([way.latency_ms for way in ways])
        mixed_passes, mixed_ms = np.zeros((2, self._tokens.size))
        shares: dict[str, dict[float, float]] = {}
        missed: list[str] = []
        kinds = {kind.name: kind for kind in self.run.scenario.classes}
        for name, own in self._classes.items():
            promises: list[tuple[str, FloatArray, float]] = []
            average, target_ms = kinds[name].average_passes, kinds[name].target_ms(self.run.costs)
            if average is not None:
                promises.append(("average passes", passes[:, own].mean(axis=1), average))
            if target_ms is not None:
                late = (latency_ms[:, own] > target_ms).mean(axis=1)
                promises.append(("p95 latency", late, 1 - QUANTILE))
            time = cycles_ms[:, own].mean(axis=1)
            chosen, dropped = _within_reach(time, promises)
            missed += [f"{name}: {promise}" for promise in dropped]
            shares[name] = {w.setting: float(s) for w, s in zip(ways, chosen, strict=True) if s > 0}
            mixed_passes[own] = chosen @ passes[:, own]
            mixed_ms[own] = chosen @ cycles_ms[:, own]
        speed = float(self._tokens.sum() / mixed_ms.sum())
        return Mark(shares, float(mixed_passes.mean()), speed, mixed_ms, tuple(missed))

    def _points(self, way: Way) -> dict[str, Point]:
        everybody = np.ones(self._tokens.size, np.bool_)
        return {
            name: self._point(way, own) for name, own in {"all": everybody, **self._classes}.items()
        }

    def _point(self, way: Way, own: BoolArray) -> Point:
        prompt, generator = self._prompt[own], np.random.default_rng(self.run.seed)
        tokens, time = sums_by_prompt([self._tokens[own], way.cycles_ms[own]], prompt, generator)
        return Point(
            mean_interval(way.passes[own], prompt, np.random.default_rng(self.run.seed)),
            Interval.of(tokens / time),
            quantile_interval(way.latency_ms[own], QUANTILE),
        )

    def _share(self, online: Way, best: Mark) -> Interval:
        generator = np.random.default_rng(self.run.seed)
        columns = [best.cycles_ms, online.cycles_ms]
        least, taken = sums_by_prompt(columns, self._prompt, generator)
        return Interval.of(least / taken)

    @property
    def _prompt(self) -> IntArray:
        """``[R]`` recorded text that each request comes from."""
        return self.run.workload.traces.windows.sequence


def _within_reach(
    time: FloatArray, promises: list[tuple[str, FloatArray, float]]
) -> tuple[FloatArray, list[str]]:
    """The best mixture, and the promises given up for it: of latency first, then of passes."""
    for kept in range(len(promises), -1, -1):
        held = promises[:kept]
        spent = np.array([spent for _, spent, _ in held])
        shares = best_mixture(time, spent, np.array([allowed for *_, allowed in held]))
        if shares is not None:
            return shares, [name for name, *_ in promises[kept:]]
    raise AssertionError("without promises every mixture will do")


def _points_dict(points: dict[str, Point]) -> dict[str, Any]:
    return {name: point.as_dict() for name, point in points.items()}
