"""Compiled replay: what the controller gives, bit for bit; and only where it applies."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_spec import (
    ConfigError,
    ConstantCosts,
    Constraints,
    Controller,
    Cycle,
    Decision,
    MeasuredCosts,
    PassBudget,
    State,
    make_policy,
)
from adaptive_spec._rows import UNLIMITED_TOKENS
from adaptive_spec.hints import Certainty
from adaptive_spec.policies.ewma import Ewma
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.policies.marginal import Marginal
from adaptive_spec.policy import Policy
from adaptive_spec.simulations import compare, compiled, replay, replay_parts, simulator
from adaptive_spec.simulations.compiled import CompiledReplays, compiled_rule
from adaptive_spec.simulations.driven import DrivenReplay, Part
from adaptive_spec.simulations.evidence.judge import cells_of, judge
from adaptive_spec.simulations.evidence.results import Settings
from adaptive_spec.simulations.evidence.subjects import subjects_of
from adaptive_spec.simulations.results import Replay
from adaptive_spec.state import is_empty
from adaptive_spec.testing import strategies
from adaptive_spec.traces import Hazards, TraceSet
from adaptive_spec.traces.flat import FlatTrace
from adaptive_spec.traces.synthetic import synthetic_trace
from tests.benchmarks import replay_speed

pytest.importorskip("numba", reason="numba is not installed")

RULES = st.one_of(
    st.builds(Fixed, tau=st.integers(0, 40)),
    st.builds(
        Ewma,
        smoothing=st.sampled_from([0.01, 0.1, 0.37, 1.0]),
        margin=st.sampled_from([0, 1, 5, 1024]),
        initial=st.sampled_from([0.0, 0.4, 2.0, 1024.0]),
    ),
)
DRAFTERS = ("lookup", "draft-model", "early-exit")


@st.composite
def flats(draw: st.DrawFn, most_drafters: int = 3) -> FlatTrace:
    """Traces of one to three drafters; long quiet stretches and single tokens among them."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    drafters = min(draw(st.sampled_from([1, 1, 2, 3])), most_drafters)
    lengths = np.array(draw(st.lists(st.sampled_from([1, 2, 30, 90]), min_size=1, max_size=4)))
    tokens, sequences = int(lengths.sum()), lengths.size
    mean = draw(st.sampled_from([0.0, 0.3, 2.0, 9.0]))
    left = np.concatenate([np.arange(n, 0, -1) for n in lengths])
    runs = np.minimum(random.geometric(1 / (1 + mean), (tokens, drafters)) - 1, left[:, None])
    proposes = random.random((tokens, drafters)) < draw(st.sampled_from([0.1, 0.8, 1.0]))
    unknown = np.full((tokens, drafters), np.nan)
    reach = random.choice([0, 20, UNLIMITED_TOKENS], (sequences, drafters))
    return FlatTrace(
        DRAFTERS[:drafters],
        np.array([str(i) for i in range(sequences)], np.object_),
        random.random(drafters) < 0.5,
        np.cumsum(lengths) - lengths,
        lengths,
        random.integers(1, 700, sequences),
        np.where(random.random(sequences) < 0.5, lengths + 3, UNLIMITED_TOKENS),
        reach,
        runs * proposes,
        proposes,
        Certainty.unknown(tokens),
        unknown,
        unknown,
    )


def both(policy: Policy[Any, Any], part: Part, costs: Any, most: int) -> list[Replay]:
    """What compiled code gives, and what the controller gives."""

    def controller(lockstep: bool) -> Controller:
        return Controller(
            policy,
            costs=costs,
            max_draft_tokens=most,
            lockstep=lockstep,
            drafters=part.flat.drafters,
        )

    fast = CompiledReplays.of(controller(True), 1000)
    assert fast is not None
    lanes = is_empty(policy.init(1, 0).shared)
    slow = DrivenReplay(controller(not lanes), 3 if lanes else 1)
    return [replays.run(part, log_cycles=True) for replays in (fast, slow)]


def assert_same(ours: Replay, theirs: Replay) -> None:
    """Bit for bit."""
    for name in ours._fields:
        mine: Any = getattr(ours, name)
        yours: Any = getattr(theirs, name)
        columns = zip(mine, yours, strict=True) if name in ("shares", "log") else [(mine, yours)]
        for a, b in columns:
            np.testing.assert_array_equal(a, b, err_msg=name)


@settings(max_examples=60)
@given(RULES, flats(), strategies.cost_models(), st.sampled_from([0, 1, 4, 10, 33]), st.data())
def test_is_what_the_controller_does(
    policy: Policy[Any, Any], flat: FlatTrace, costs: Any, most: int, data: st.DataObject
) -> None:
    order = np.array(data.draw(st.permutations(range(flat.start.size))))
    some = order[: data.draw(st.integers(1, order.size))]
    assert_same(*both(policy, Part(flat, some), costs, most))


MARGINAL = st.builds(
    Marginal,
    memory=st.sampled_from([1.0, 300.0, 1e4]),
    upkeep=st.sampled_from([0.01, 0.3]),
    inside=st.booleans(),
)


@settings(max_examples=12)
@given(MARGINAL, flats(1), strategies.cost_models(), st.sampled_from([0, 1, 4, 10, 33]))
def test_and_what_is_learned_across_sequences(
    policy: Policy[Any, Any], flat: FlatTrace, costs: Any, most: int
) -> None:
    assert_same(*both(policy, Part(flat, np.arange(flat.start.size)), costs, most))


def test_looks_at_a_drafter_that_is_idle_are_the_same() -> None:
    flat = synthetic_trace(Hazards(0.3, burst=0.95), num_sequences=3, num_tokens=200).flat()
    ours, theirs = both(Marginal(upkeep=0.1), Part(flat, np.arange(3)), ConstantCosts(0.7), 6)
    assert ours.log is not None
    looked = (ours.log.tau == 0) & (ours.log.cycle_ms > 1.0)
    assert looked.sum() > 10
    assert_same(ours, theirs)


def test_marginal_is_compiled_for_one_drafter() -> None:
    assert compiled_rule(Marginal(), 1) is not None
    assert compiled_rule(Marginal(), 2) is None


def trace(sequences: int = 3) -> TraceSet:
    return synthetic_trace(Hazards(0.3), num_sequences=sequences, num_tokens=40)


COSTS = ConstantCosts(draft=0.2)


class DrivenError(AssertionError):
    """The controller was asked."""


@pytest.fixture
def only_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: DrivenReplay, part: Part, **options: Any) -> Replay:
        raise DrivenError

    monkeypatch.setattr(DrivenReplay, "run", refuse)


@pytest.mark.usefixtures("only_compiled")
@pytest.mark.parametrize("spec", ["fixed:tau=2", "ewma", "marginal"])
def test_replay_takes_it_where_it_applies(spec: str) -> None:
    finished: list[int] = []
    result = replay(spec, trace(), costs=COSTS, order=[2, 0], on_finished=finished.append)
    assert result.tokens.tolist() == [40, 0, 40]
    assert sum(finished) == 2
    assert result.ledgers["all"].passes == result.cycles.sum()
    promised = Constraints()  # nothing
    again = replay(spec, trace(), costs=COSTS, order=[2, 0], constraints={"a": promised})
    assert again.ledgers == {"a": result.ledgers["all"]}


@pytest.mark.usefixtures("only_compiled")
def test_tables_of_prices_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = np.array([[[1.0], [2.0]]])
    measured = MeasuredCosts((1,), (10, 90), (1,), grid, 0 * grid[..., 0], 0 * grid[..., 0])
    replay("ewma", trace(), costs=measured)
    monkeypatch.setattr(compiled, "_MOST_PRICES", 100)
    replay("ewma", trace(), costs=COSTS)  # one row
    with pytest.raises(DrivenError):
        replay("ewma", trace(), costs=measured)


@pytest.mark.usefixtures("only_compiled")
@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("fixed:fallback=true", {}),
        ("marginal:evidence=drafts", {}),
        ("ewma", {"concurrency": 1}),
        ("ewma", {"constraints": Constraints(PassBudget(average_passes=9.0))}),
        ("bandit:scope=sequence", {}),
    ],
)
def test_and_leaves_the_rest_to_the_controller(spec: str, options: Any) -> None:
    with pytest.raises(DrivenError):
        replay(spec, trace(), costs=COSTS, **options)


def test_judgements_are_the_same_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = synthetic_trace(Hazards(0.3, burst=0.9), num_sequences=6, num_tokens=30)
    [subject] = subjects_of([traces])
    judging = Settings(resamples=20, shuffles=2, max_draft_tokens=3)

    def judged() -> list[Any]:
        place, cells = cells_of(subject, "c", COSTS, "", judging)
        verdicts = [judge(place, spec, judging) for spec in ("ewma", "marginal")]
        compared = compare(["ewma", "marginal"], traces, costs=COSTS, resamples=20)
        return [cells, verdicts, compared.as_dict()]

    with_it = judged()
    monkeypatch.setattr(
        CompiledReplays, "of", staticmethod(lambda controller, context_tokens: None)
    )
    assert judged() == with_it


@dataclasses.dataclass(frozen=True)
class Shorter(Ewma):
    """Inherits a loop that is not its own."""

    def decide(self, state: State[Any, Any], cycle: Cycle) -> Decision:
        return Decision(super().decide(state, cycle).tau // 2)


@dataclasses.dataclass(frozen=True)
class Renamed(Ewma):
    """Changes nothing."""


def test_a_rule_that_was_changed_loses_its_loop() -> None:
    assert compiled_rule(Renamed()) is not None
    assert compiled_rule(Shorter()) is None
    assert compiled_rule(make_policy("bandit")) is None


def test_calls_into_compiled_code_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = replay("ewma", trace(7), costs=COSTS, log_cycles=True)
    monkeypatch.setattr(compiled, "_TOKENS_AT_ONCE", 100)
    finished: list[int] = []
    parts = replay("ewma", trace(7), costs=COSTS, log_cycles=True, on_finished=finished.append)
    assert finished == [2, 2, 3]
    assert_same(parts, whole)


@pytest.mark.parametrize("spec", ["ewma", "bandit", "gammatune", "marginal"])
def test_parts_are_replayed_as_if_they_were_one_trace(
    spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator, "LANES", 2)
    whole = replay(spec, trace(7), costs=COSTS)
    parts = [trace(7).select(some) for some in ([0, 1], [2], [3, 4, 5, 6])]
    found = list(replay_parts(spec, parts, costs=COSTS))
    for name in ("cycles", "time_ms", "num_draft_tokens", "num_accepted_tokens", "tokens"):
        joined = np.concatenate([getattr(result, name) for result in found])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    assert found[-1].ledgers == whole.ledgers


def test_the_benchmark_does_the_same_work_in_every_way() -> None:
    flat = next(replay_speed.parts(replay_speed.recorded().flat(), 5))
    for spec in ("fixed:tau=2", "ewma", "marginal"):
        cycles = {name: run(5) for name, run in replay_speed.ways(make_policy(spec), flat).items()}
        assert {"event by event", "compiled"} <= set(cycles)
        if spec != "marginal":  # has learned of the first request, to be compiled
            assert len(set(cycles.values())) == 1


def test_parts_must_be_alike() -> None:
    flat = trace().flat()
    parts = replay_parts("ewma", [flat, flat._replace(drafters=("other",))], costs=COSTS)
    next(parts)
    with pytest.raises(ConfigError, match="drafters other"):
        next(parts)
