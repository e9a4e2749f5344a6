"""Results for the tests of this folder: small, and of every kind."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptive_spec import ConstantCosts, MeasuredCosts
from adaptive_spec.reports import Replayed, Report, Settings, make_report, read_results, replayed
from adaptive_spec.reports.intake import Results
from adaptive_spec.simulations.comparison import compare
from adaptive_spec.simulations.evidence import Evidence, gather
from adaptive_spec.traces import (
    SequenceTrace,
    SignalTrace,
    TraceInfo,
    TraceSet,
    run_lengths_of,
)
from tests.simulations.evidence.examples import POINT, SETTINGS, easy_and_hard

POLICIES = ("fixed:tau=3", "ewma", "confidence:threshold=0.4")
COSTS = ConstantCosts(draft=0.1, verify=0.02)
INERT = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>\u2028]]>-->{{SCRIPT}}"
"""Text that would run, or end its element, if it were taken for markup."""


def example_trace(requests: int = 12, tokens: int = 40, signals: bool = True) -> TraceSet:
    """A trace of a draft model that is more often right in one category than in the other."""
    rng = np.random.default_rng(0)
    info = TraceInfo("verifier", "draft", "token", signal_depth=10)
    return TraceSet(info, tuple(_sequence(rng, i, tokens, signals) for i in range(requests)))


def _sequence(rng: np.random.Generator, i: int, tokens: int, signals: bool) -> SequenceTrace:
    category = "code" if i % 3 else "chat"
    sure = rng.beta(4, 1 if category == "code" else 3, (tokens + 1, 11))
    agreement = rng.random(tokens) < sure[:-1, 0]
    later = sure[:, 1:].copy()
    later[:-1][agreement] = np.nan
    return SequenceTrace(
        f"{category}/{i}",
        category,
        5,
        run_lengths_of(agreement),
        np.ones(tokens, np.bool_),
        limit_tokens=tokens + 8,
        signals={
            name: SignalTrace(sign * sure[:, 0], sign * later)
            for name, sign in (("top1_probability", 1.0), ("entropy", 2.0), ("margin", 3.0))
        }
        if signals
        else {},
        prompt_ids=np.arange(5),
        output_ids=np.arange(tokens),
    )


def pieces(token_ids: Sequence[int]) -> list[str]:
    """Words by number; the first is hostile."""
    return [INERT if token == 0 else f" word{token}" for token in token_ids]


def example_replay(traces: TraceSet | None = None, policies: Sequence[str] = POLICIES) -> Replayed:
    """Policies on the example trace."""
    traces = traces or example_trace()
    settings = Settings(compared=False)
    return replayed("trace", traces, policies, costs=COSTS, settings=settings)


@functools.cache
def example_replays() -> Replayed:
    """The same, made once."""
    return example_replay()


@functools.cache
def comparison() -> dict[str, Any]:
    """What ``compare`` writes."""
    return compare(POLICIES, example_trace(), costs=COSTS, resamples=50).as_dict()


def measured() -> MeasuredCosts:
    """A profile of two drafters at two batch sizes."""
    grid = np.array([[[10.0, 11.0, 14.0]], [[12.0, 15.0, 22.0]]])
    ones = np.ones((2, 1))
    return MeasuredCosts((1, 8), (256,), (1, 4, 12), grid, ones, ones)


@functools.cache
def example_evidence() -> Evidence:
    """What ``evidence`` finds on a small trace."""
    return gather([easy_and_hard()], costs=POINT, policies=["ewma"], settings=SETTINGS, jobs=1)


def scenario(policies: Sequence[str] = ("auto", "ewma"), prices: bool = True) -> dict[str, Any]:
    """The form of what ``simulate --scenario --frontier`` writes."""

    def figure(value: float) -> dict[str, float | None]:
        return {"value": value, "low": value * 0.9, "high": None}

    def point(value: float) -> dict[str, Any]:
        point = {"passes": figure(value), "p95": figure(9.0), "tokens_per_time": figure(1.5)}
        return {"all": point, "only": point}

    def result(policy: str) -> dict[str, Any]:
        figures = {"passes_per_request": figure(2.0), "latency_ms": {"p95": figure(11.0)}}
        promise = {"request_class": "only", "promise": "p95 latency", "target": 12.0}
        return {
            "policy": policy,
            "speedup_over_plain": figure(2.5),
            "promises": [{**promise, "value": figure(11.0), "verdict": "kept"}],
            "all": figures,
            "classes": {"only": figures},
            "over_time": {
                "begin_ms": [0.0, 5.0],
                "tau": [3.0, None],
                "batch_size": [1.0, 2.0],
                "waiting": [0.0, 0.0],
            },
        }

    given: dict[str, Any] = {
        "scenario": "chat",
        "requests": 10,
        "costs": "draft=0.1",
        "time_unit": "ms",
        "policies": [result(policy) for policy in policies],
    }
    if prices:
        ladder = [{"price": price, **point(3.0 - price)} for price in (0.0, 1.0)]
        given["frontiers"] = [
            {"policy": policy, "online": point(2.0), "prices": ladder} for policy in policies
        ]
    return given


def write(path: Path, data: object) -> Path:
    """Writes JSON."""
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def example_report(replays: Sequence[Replayed] | None = None, folder: Path | None = None) -> Report:
    """A report of the example trace, and of the results in a folder."""
    replays = [example_replays()] if replays is None else replays
    results = Results() if folder is None else read_results([folder])
    results.traces.update({one.name: one.traces for one in replays})
    return make_report("A <report>", results, replays, pieces=[pieces] * len(replays))
