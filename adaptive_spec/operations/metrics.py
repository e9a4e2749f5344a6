"""What is exported of a controller: names, kinds, labels, and where the values come from.

Names after the prefix are those of vLLM and llama.cpp where they have them
(``spec_decode_num_drafts`` and so on), so that a query for one of them needs another prefix and no
more; what no engine exports is named in the same style. Times are in seconds, as is the custom. All
labels have a bound: ``engine`` (256, mostly 1), and
``drafter`` (8), ``position`` (32), ``request_class`` (64), ``step`` (3).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

from adaptive_spec._version import __version__
from adaptive_spec.operations.tallies import Histogram, Tallies, Times
from adaptive_spec.operations.wrapped import failure_of, spec_of

PREFIX = "adaptive_spec:"

_TAU_BOUNDS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 64)

Sample: TypeAlias = tuple[tuple[str, ...], "float | Histogram"]
"""Values of a metric's labels, and its value."""


class Metric(NamedTuple):
    """One metric.

    Attributes:
      name: without prefix, and without the ``_total`` that counters get.
      kind: as Prometheus has it.
      labels: their names.
      help: one line.
      samples: reads its values.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    samples: Callable[[Tallies], Iterable[Sample]]

    @property
    def exported(self) -> tuple[str, ...]:
        """Names of its series, as they are queried."""
        endings = {
            "counter": ("_total",),
            "gauge": ("",),
            "histogram": ("_bucket", "_sum", "_count"),
        }
        return tuple(f"{PREFIX}{self.name}{ending}" for ending in endings[self.kind])


def _one(value: Callable[[Tallies], float]) -> Callable[[Tallies], Iterable[Sample]]:
    """A metric without labels."""
    return lambda tallies: [((), float(value(tallies)))]


def _seconds(ms: Callable[[Times], float]) -> Callable[[Tallies], Iterable[Sample]]:
    return _one(lambda tallies: ms(tallies.times) / 1000.0)


def _recent(
    top: Callable[[Times], float], bottom: Callable[[Times], float]
) -> Callable[..., float]:
    """A ratio of recent times; NaN before the first."""
    return lambda tallies: _ratio(top(tallies.recent), bottom(tallies.recent))


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else float("nan")


def _by_drafter(name: str) -> Callable[[Tallies], Iterable[Sample]]:
    def samples(tallies: Tallies) -> Iterator[Sample]:
        # One name for every drafter; the array has room for more.
        counts = getattr(tallies, name).tolist()
        for drafter, count in zip(tallies.controller.drafters, counts, strict=False):
            yield (drafter,), float(count)

    return samples


def _by_position(tallies: Tallies) -> Iterator[Sample]:
    most = tallies.controller.max_draft_tokens
    for position, count in enumerate(tallies.accepted_at.tolist()[:most]):
        yield (str(position),), float(count)


def _of_ledgers(value: str) -> Callable[[Tallies], Iterable[Sample]]:
    def samples(tallies: Tallies) -> Iterator[Sample]:
        for name, ledger in tallies.controller.ledgers.items():
            yield (name,), float(getattr(ledger, value))

    return samples


def _of_feasibility(value: str) -> Callable[[Tallies], Iterable[Sample]]:
    def samples(tallies: Tallies) -> Iterator[Sample]:
        for name, known in tallies.controller.feasibility.items():
            yield (name,), float(getattr(known, value))

    return samples


def _prices(tallies: Tallies) -> Iterator[Sample]:
    controller = tallies.controller
    by_class = zip(controller.ledgers.items(), controller.constraints.constraints, strict=True)
    for (name, ledger), constraints in by_class:
        yield (name,), ledger.pass_price(constraints)


def _credit(tallies: Tallies) -> Iterator[Sample]:
    for name, passes in tallies.controller.credit_passes.items():
        yield (name,), passes


def _tau(tallies: Tallies) -> Iterator[Sample]:
    histogram = Histogram(tuple(float(bound) for bound in _TAU_BOUNDS))
    for tau, count in enumerate(tallies.tau.tolist()):
        histogram.add(float(tau), count)
    yield (), histogram


def _policy_seconds(tallies: Tallies) -> Iterator[Sample]:
    for step, histogram in tallies.policy_seconds.items():
        yield (step,), histogram


def _info(tallies: Tallies) -> Iterator[Sample]:
    yield (spec_of(tallies.controller.policy), __version__), 1.0


_DRAFTER, _CLASS = ("drafter",), ("request_class",)

METRICS = (
    Metric("spec_decode_num_drafts", "counter", _DRAFTER, "Drafts.", _by_drafter("drafts")),
    Metric(
        *("spec_decode_num_draft_tokens", "counter", _DRAFTER, "Tokens drafted and verified."),
        _by_drafter("draft_tokens"),
    ),
    Metric(
        *("spec_decode_num_accepted_tokens", "counter", _DRAFTER, "Drafted tokens accepted."),
        _by_drafter("accepted_tokens"),
    ),
    Metric(
        *("spec_decode_num_accepted_tokens_per_pos", "counter", ("position",)),
        *("Drafted tokens accepted, by position in the draft (the first 32).", _by_position),
    ),
    Metric(
        *("spec_decode_num_emitted_tokens", "counter", (), "Tokens emitted."),
        _one(lambda tallies: tallies.emitted_tokens),
    ),
    Metric(
        *("spec_decode_num_passes", "counter", (), "Verifier passes, one a cycle and sequence."),
        _one(lambda tallies: tallies.passes),
    ),
    Metric(
        *("spec_decode_num_fallback_passes", "counter", ()),
        "Passes in which nothing was drafted though something could have been.",
        _one(lambda tallies: tallies.fallback_passes),
    ),
    Metric("tau", "histogram", (), "Tokens to draft, as planned, by cycle and sequence.", _tau),
    Metric(
        *("recent_tau", "gauge", (), "Mean tau of recent passes."),
        _one(lambda tallies: _ratio(tallies.recent_tau, tallies.recent_passes)),
    ),
    Metric(
        *("recent_fallback_share", "gauge", (), "Share of recent passes that were fallback."),
        _one(lambda tallies: _ratio(tallies.recent_fallback, tallies.recent_passes)),
    ),
    Metric("draft_seconds", "counter", (), "Time of drafting.", _seconds(lambda t: t.draft)),
    Metric("verify_seconds", "counter", (), "Time of verifying.", _seconds(lambda t: t.verify)),
    Metric(
        *("predicted_draft_seconds", "counter", (), "Time of drafting by the cost model."),
        _seconds(lambda t: t.modelled_draft),
    ),
    Metric(
        *("predicted_verify_seconds", "counter", (), "Time of verifying by the cost model."),
        _seconds(lambda t: t.modelled_verify),
    ),
    Metric(
        *("plain_seconds", "counter", ()),
        "Time that plain decoding would have taken for the same tokens, as estimated.",
        _seconds(lambda t: t.plain),
    ),
    Metric(
        *("recent_speedup", "gauge", (), "Speedup over plain decoding, as estimated, recently."),
        _one(_recent(lambda t: t.plain, lambda t: t.measured)),
    ),
    Metric(
        *("recent_cycle_time_ratio", "gauge", (), "Measured over predicted cycle time, recently."),
        _one(_recent(lambda t: t.measured, lambda t: t.modelled)),
    ),
    Metric(
        *("recent_draft_time_share", "gauge", (), "Drafting's share of the time, recently."),
        _one(_recent(lambda t: t.draft, lambda t: t.measured)),
    ),
    Metric(
        *("policy_seconds", "histogram", ("step",), "Time that the policy took to answer."),
        _policy_seconds,
    ),
    Metric(
        *("policy_failed", "gauge", (), "1 where the policy failed and drafts are static now."),
        _one(lambda tallies: failure_of(tallies.controller.policy) is not None),
    ),
    Metric(
        *("requests_running", "gauge", (), "Requests that run."),
        _one(lambda tallies: tallies.controller.running.size),
    ),
    Metric(
        *("requests_cancelled", "counter", (), "Requests that were cancelled."),
        _one(lambda tallies: tallies.cancelled),
    ),
    Metric("pass_price", "gauge", _CLASS, "Price of a verifier pass, in plain passes.", _prices),
    Metric(
        *("ledger_requests", "counter", _CLASS, "Finished requests in the books."),
        _of_ledgers("requests"),
    ),
    Metric(
        *("ledger_passes", "counter", _CLASS, "Verifier passes that they took."),
        _of_ledgers("passes"),
    ),
    Metric(
        *("ledger_tokens", "counter", _CLASS, "Tokens that they emitted."), _of_ledgers("tokens")
    ),
    Metric(
        *("ledger_late", "counter", _CLASS, "Those later than the latency target."),
        _of_ledgers("late"),
    ),
    Metric(
        *("ledger_over_passes", "gauge", _CLASS, "Passes beyond what was promised."),
        _of_ledgers("over_passes"),
    ),
    Metric(
        *(
            "ledger_credit_passes",
            "gauge",
            _CLASS,
            "Passes in the pool of a hard budget; infinite where none was promised.",
        ),
        _credit,
    ),
    Metric(
        *("infeasible", "gauge", _CLASS, "1 where what was promised cannot be kept."),
        _of_feasibility("infeasible"),
    ),
    Metric(
        *("least_passes", "gauge", _CLASS, "Least average of passes that seems possible."),
        _of_feasibility("least_passes"),
    ),
    Metric("info", "gauge", ("policy", "version"), "Which policy decides.", _info),
)
