"""Hypothesis strategies: costs, constraints, traces, request histories, cycles with their outcomes.

Write property-based tests of your own policy with them::

    @given(strategies.traces())
    def test_emits_what_the_trace_holds(trace):
        result = replay(MyPolicy(), trace, costs=ConstantCosts())
        assert result.tokens.sum() == trace.num_tokens
"""

import dataclasses
import functools
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adaptive_spec.constraints import Constraints, LatencyTarget, PassBudget
from adaptive_spec.costs import ConstantCosts, CostModel, MeasuredCosts
from adaptive_spec.policy import Cycle, Decision, Outcome, Policy, State
from adaptive_spec.testing.histories import Arrive, Event, History, Leave, Play, Run
from adaptive_spec.traces.records import TraceInfo, TraceSet
from adaptive_spec.traces.sequences import SequenceTrace, SignalTrace, run_lengths_of

_DRAFTERS = ("lookup", "draft-model", "early-exit")


@functools.cache
def constant_costs() -> st.SearchStrategy[ConstantCosts]:
    """Linear costs, free drafting and drafting that never pays among them."""
    share = st.sampled_from([0.0, 0.03, 0.125, 0.375, 1.0, 10.0])
    return st.builds(
        ConstantCosts,
        draft=share,
        verify=share,
        plain_ms=st.sampled_from([1.0, 0.01, 50.0]),
        drafts=st.sampled_from([(), (), ((_DRAFTERS[0], 0.0), (_DRAFTERS[1], 0.5))]),
    )


@functools.cache
def measured_costs() -> st.SearchStrategy[MeasuredCosts]:
    """Step-shaped curves over batch, context and width, monotone in the width."""
    return st.builds(
        _measured,
        batches=st.sampled_from([(1,), (1, 4), (1, 2, 8)]),
        contexts=st.sampled_from([(64,), (64, 512)]),
        widths=st.sampled_from([(1,), (1, 9), (1, 4, 16)]),
        verify_step=st.sampled_from([0.05, 1.0, 20.0]),
        draft_step=st.sampled_from([0.0, 0.3, 5.0]),
        seed=st.integers(0, 2**32),
    )


def _measured(
    batches: tuple[int, ...],
    contexts: tuple[int, ...],
    widths: tuple[int, ...],
    verify_step: float,
    draft_step: float,
    seed: int,
) -> MeasuredCosts:
    random = np.random.default_rng(seed)
    shape = (len(batches), len(contexts), len(widths))
    grid = random.uniform(0.5, 2.0, shape[:2])[..., None] + random.exponential(
        verify_step, shape
    ).cumsum(axis=-1)
    # Noise and all: a second context may measure cheaper than the first.
    start, step = random.exponential(draft_step, (2, *shape[:2]))
    return MeasuredCosts(batches, contexts, widths, grid, start, step, hardware="invented")


@functools.cache
def cost_models() -> st.SearchStrategy[CostModel]:
    """Any cost model."""
    return st.one_of(constant_costs(), measured_costs())


@functools.cache
def budgets() -> st.SearchStrategy[PassBudget]:
    """Soft and hard averages, per-request maxima, and both."""
    patience = st.sampled_from([1.0, 20.0])
    when_spent = st.sampled_from(["end", "carry-on"])
    most = st.none() | st.integers(50, 90)
    soft = st.builds(
        PassBudget, average_passes=st.floats(1, 50), max_passes=most, patience=patience
    )
    per_token = st.builds(
        PassBudget, average_passes=st.floats(0.05, 1), per=st.just("token"), patience=patience
    )
    hard = st.builds(
        PassBudget,
        average_passes=st.floats(1, 20),
        hard=st.just(True),
        burst_passes=st.floats(0, 40),
        when_spent=when_spent,
    )
    limit = st.builds(PassBudget, max_passes=st.integers(1, 40), when_spent=when_spent)
    return st.one_of(soft, per_token, hard, limit)


@functools.cache
def latency_targets() -> st.SearchStrategy[LatencyTarget]:
    """Targets, deadlines, and both."""
    target = st.floats(0.5, 1e3)
    return st.one_of(
        st.builds(LatencyTarget, target_ms=target, quantile=st.floats(0.5, 0.99)),
        st.builds(LatencyTarget, deadline_ms=target),
        target.map(lambda ms: LatencyTarget(target_ms=ms, deadline_ms=2 * ms)),
    )


@functools.cache
def constraints() -> st.SearchStrategy[Constraints]:
    """A budget, a latency target, both, or often nothing."""
    bound = st.builds(Constraints, st.none() | budgets(), st.none() | latency_targets())
    return st.just(Constraints()) | bound


@st.composite
def sequences(draw: st.DrawFn, drafting: str = "token", signals: bool = False) -> SequenceTrace:
    """One sequence of 1 to 60 tokens; its id is to be replaced where several are put together."""
    n = draw(st.integers(1, 60))
    if drafting == "token":
        bits = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        runs, proposes = run_lengths_of(bits), np.ones(n, np.bool_)
    else:
        raw = np.array(draw(st.lists(st.integers(0, 12), min_size=n, max_size=n)))
        runs = np.minimum(raw, n - np.arange(n))
        idle = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        proposes = (runs > 0) | idle
    limit = draw(st.none() | st.integers(n, n + 20))
    return SequenceTrace(
        id="0",
        category=draw(st.sampled_from(["", "writing", "code"])),
        prompt_tokens=draw(st.integers(1, 500)),
        run_lengths=runs,
        proposes=proposes,
        limit_tokens=limit,
        draftable_tokens=draw(st.none() | st.integers(0, 80)),
        finish_reason="length" if limit == n else "eos",
        signals=_signals(draw, runs, drafting) if signals else {},
    )


def _signals(draw: st.DrawFn, runs: Any, drafting: str) -> dict[str, SignalTrace]:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = runs.size
    later = random.random((n + 1, 12))
    if drafting == "token":
        later[:-1][runs > 0] = np.nan
    return {"top1_probability": SignalTrace(random.random(n + 1), later)}


@st.composite
def traces(
    draw: st.DrawFn, *, max_sequences: int = 6, drafting: str | None = None, signals: bool = False
) -> TraceSet:
    """A trace of up to ``max_sequences`` sequences, of a "token" or "block" drafter (None: any)."""
    kind = drafting or draw(st.sampled_from(["token", "block"]))
    drawn = draw(st.lists(sequences(kind, signals), min_size=1, max_size=max_sequences))
    named = (dataclasses.replace(sequence, id=str(i)) for i, sequence in enumerate(drawn))
    info = TraceInfo("verifier", "drafter", kind)  # type: ignore[arg-type]
    return TraceSet(info, tuple(named))


@functools.cache
def _arrivals_of(count: int) -> st.SearchStrategy[Arrive]:
    lengths = st.one_of(st.integers(1, 5), st.integers(6, 300), st.just(1 << 30))
    return st.builds(
        Arrive,
        st.tuples(*[st.integers(1, 10_000)] * count),
        st.tuples(*[lengths] * count),
        st.none() | st.tuples(*[st.integers(0, 300)] * count),
    )


@functools.cache
def arrivals() -> st.SearchStrategy[Arrive]:
    """One to four sequences, single-token requests and drafters without room among them."""
    return st.integers(1, 4).flatmap(_arrivals_of)


@functools.cache
def runs() -> st.SearchStrategy[Run]:
    """Cycles: any acceptance, prompt or late outcomes, times from nothing to absurd."""
    times = st.sampled_from([None, None, (1.0, 20.0), (0.0, 0.0), (1e-9, 1e12)])
    return st.builds(
        Run,
        run_lengths=st.lists(st.integers(0, 20), min_size=1, max_size=4).map(tuple),
        proposes=st.sampled_from([(True,), (True,), (True, False), (False, False, True), (False,)]),
        skip=st.sampled_from([0, 0, 2, 3]),
        delay=st.integers(0, 2),
        times_ms=times,
    )


@functools.cache
def _events(most: int) -> st.SearchStrategy[list[Event]]:
    event = st.one_of(arrivals(), runs(), runs(), runs(), st.builds(Leave, st.integers(0, 10)))
    # Half of them are long, for rules that wait before they act.
    return st.lists(event, max_size=most) | st.lists(event, min_size=most // 3, max_size=most)


@functools.cache
def _settings() -> st.SearchStrategy[dict[str, Any]]:
    """Of the controller and its drafters."""
    model = ("top1_probability", "entropy", "margin")
    return st.fixed_dictionaries(
        {
            "costs": cost_models(),
            "max_draft_tokens": st.sampled_from([0, 1, 4, 10, 33]),
            "constraints": constraints(),
            "seed": st.integers(0, 2**31),
            "lockstep": st.booleans(),
            "signals": st.sampled_from([model, ("match_length",), (*model, "match_length")]),
            "drafters": st.sampled_from([1, 1, 2, 3]).map(lambda count: _DRAFTERS[:count]),
        }
    )


@functools.cache
def _widths(most: int) -> st.SearchStrategy[tuple[int, ...] | None]:
    return st.sampled_from([None, None, (0,), (0, most), tuple(range(0, most + 1, 2))])


@st.composite
def histories(draw: st.DrawFn, *, max_events: int = 40) -> History:
    """Whole request histories: arrivals, cycles, late outcomes and cancellations in any order.

    They begin with an arrival and a cycle; ``max_events`` more may follow.
    """
    events = (draw(arrivals()), draw(runs()), *draw(_events(max_events)))
    settings = draw(_settings())
    widths = draw(_widths(settings["max_draft_tokens"]))
    return History(events, uniform_widths=widths, **settings)


@st.composite
def cycles(draw: st.DrawFn, policy: Policy[Any, Any]) -> tuple[State[Any, Any], Cycle]:
    """A cycle that ``policy`` might be shown, with its state at that moment."""
    decided, _ = _overheard(policy, draw(_histories_that_run()))
    state, cycle = decided[-1]
    return state, cycle


@st.composite
def outcomes(draw: st.DrawFn, policy: Policy[Any, Any]) -> tuple[State[Any, Any], Outcome]:
    """An outcome that ``policy`` might be told of, with its state at that moment."""
    _, observed = _overheard(policy, draw(_histories_that_run()))
    state, outcome = observed[-1]
    return state, outcome


@st.composite
def _histories_that_run(draw: st.DrawFn) -> History:
    """Histories with at least one cycle, whose outcome comes before anyone leaves."""
    history = draw(histories(max_events=10))
    if history.constraints is not None and history.constraints.can_end_requests:
        history = dataclasses.replace(history, constraints=None)
    last = (draw(arrivals()), draw(runs()))
    return dataclasses.replace(history, events=(*history.events, *last))


def _overheard(policy: Policy[Any, Any], history: History) -> tuple[list[Any], list[Any]]:
    """What a policy is shown in a history: states with cycles, and states with outcomes."""
    decided: list[Any] = []
    observed: list[Any] = []
    play = Play(policy, history)

    class Listener(Policy[Any, Any]):
        looks_inside_draft = policy.looks_inside_draft
        looks_back = policy.looks_back
        takes_hints = policy.takes_hints
        heeds_prices = policy.heeds_prices
        init = staticmethod(policy.init)
        keep_drafting = staticmethod(policy.keep_drafting)

        def decide(self, state: State[Any, Any], cycle: Cycle) -> Decision:
            decided.append((state, cycle))
            return policy.decide(state, cycle)

        def update(self, state: State[Any, Any], outcome: Outcome) -> State[Any, Any]:
            observed.append((state, outcome))
            return policy.update(state, outcome)

    play.controller.policy = Listener()
    list(play)
    return decided, observed
