"""What a change costs `auto`, against the best static tau of each stretch, known in hindsight.

Bounds leave room above what was measured (docs/policies.md): half as much again, or more. What is
lost is lost at the change; it does not grow with the length of the stretch.
"""

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Controller, CostModel, make_policy
from adaptive_spec._arrays import BoolArray, FloatArray
from adaptive_spec.simulations import replay
from adaptive_spec.simulations.looking_back import runs_of
from adaptive_spec.traces import SequenceTrace, TraceInfo, TraceSet
from adaptive_spec.traces.sequences import run_lengths_of

COSTS = [
    ConstantCosts(0.125),
    pytest.param(ConstantCosts(0.03, 0.03), marks=pytest.mark.slow),
    pytest.param(ConstantCosts(0.375), marks=pytest.mark.slow),
]
STRETCH = 500
SEQUENCES = 4
STATIC = tuple(range(11))


def traced(bits: list[BoolArray], proposes: BoolArray | None = None) -> TraceSet:
    """A trace of a drafter that has each token right or not; asked, where it may be silent."""
    sequences = []
    for i, right in enumerate(bits):
        there = np.ones(right.size, np.bool_) if proposes is None else proposes
        runs = np.where(there, run_lengths_of(right), 0)
        sequences.append(SequenceTrace(str(i), "", 10, runs, there, limit_tokens=right.size))
    info = TraceInfo("verifier", "drafter", "token" if proposes is None else "block")
    return TraceSet(info, tuple(sequences))


def shares(*chances: float) -> list[BoolArray]:
    """Sequences in which these shares of the tokens are right, stretch by stretch."""
    random = np.random.default_rng(0)
    stretches = [[random.random(STRETCH) < p for p in chances] for _ in range(SEQUENCES)]
    return [np.concatenate(parts) for parts in stretches]


def times(policy: str, trace: TraceSet, costs: CostModel) -> FloatArray:
    """Time of the cycles that began in each stretch, all sequences together."""
    log = replay(policy, trace, costs=costs, log_cycles=True).log
    assert log is not None
    spent = np.bincount(log.position // STRETCH, weights=log.cycle_ms)
    return spent.astype(np.float64)


def against_static(trace: TraceSet, costs: CostModel) -> tuple[FloatArray, FloatArray]:
    """Time of each stretch: of `auto` ``[n]``, and of every static tau ``[11, n]``."""
    static = np.array([times(f"fixed:tau={tau}", trace, costs) for tau in STATIC])
    return times("auto", trace, costs), static


@pytest.mark.parametrize("costs", COSTS, ids=str)
def test_acceptance_falls_and_rises_again(costs: ConstantCosts) -> None:
    auto, static = against_static(traced(shares(0.9, 0.1, 0.9)), costs)
    lost = auto / static.min(axis=0)
    assert (lost < [1.06, 1.04, 1.17]).all()
    assert auto.sum() < 1.06 * static.min(axis=0).sum()
    assert auto.sum() < 0.92 * static.sum(axis=1).min(), "no static tau suits both"


@pytest.mark.parametrize("costs", COSTS, ids=str)
def test_a_drafter_that_falls_silent(costs: ConstantCosts) -> None:
    silent = np.arange(2 * STRETCH) < STRETCH
    auto, static = against_static(traced(shares(0.9, 0.0), silent), costs)
    assert (auto / static.min(axis=0) < [1.07, 1.003]).all()


@pytest.mark.parametrize("costs", COSTS, ids=str)
def test_a_drafter_that_is_always_wrong_from_now_on(costs: ConstantCosts) -> None:
    auto, static = against_static(traced(shares(0.9, 0.0)), costs)
    assert (auto / static.min(axis=0) < [1.15, 1.04]).all()


def each_in_turn(
    policy: str, trace: TraceSet, told: list[CostModel], real: list[CostModel]
) -> FloatArray:
    """Time of each sequence in turn, where costs differ from what the policy is told of them."""
    flat = trace.flat()
    controller = Controller(make_policy(policy), costs=told[0])
    spent = np.zeros(len(real))
    for i, costs in enumerate(real):
        controller.costs = told[i]
        rows = controller.admit(flat.prompt_tokens[[i]], flat.num_tokens[[i]])
        runs, end, sequence = trace.sequences[i].run_lengths, 0, np.array([i])
        while end < runs.size:
            plan = controller.decide(rows)
            accepted = np.minimum(plan.tau, runs[end])
            time = plan.tau, 1, plan.cycle.prompt_tokens
            draft, verify = costs.draft_ms(*time), costs.verify_ms(*time)
            end += int(accepted[0]) + 1
            known = np.array([end])
            controller.observe(
                plan,
                plan.tau,
                accepted,
                accepted + 1,
                draft_ms=draft,
                verify_ms=verify,
                runs=runs_of(flat, sequence, known, known[:, None], 10),
            )
            spent[i] += draft[0] + verify[0]
        controller.release(rows)
    return spent


CHEAP, DEAR, VERY_DEAR = (ConstantCosts(draft) for draft in (0.1, 0.3, 1.0))
SLOW = ConstantCosts(0.1, plain_ms=3.0)


@pytest.mark.parametrize(
    ("told", "real", "bound"),
    [
        ([CHEAP, DEAR, CHEAP], [CHEAP, DEAR, CHEAP], 1.05),
        ([CHEAP] * 3, [CHEAP, SLOW, CHEAP], 1.05),
        ([CHEAP] * 3, [CHEAP, DEAR, CHEAP], 1.05),
        ([CHEAP] * 3, [CHEAP, VERY_DEAR, CHEAP], 1.35),
    ],
    ids=["told threefold", "all slower threefold", "drafter threefold", "drafter tenfold"],
)
def test_costs_change_between_sequences(
    told: list[CostModel], real: list[CostModel], bound: float
) -> None:
    trace = traced(shares(0.75, 0.75)[:3], np.ones(2 * STRETCH, np.bool_))
    auto = each_in_turn("auto", trace, told, real)
    static = np.array([each_in_turn(f"fixed:tau={tau}", trace, told, real) for tau in STATIC])
    assert (auto / static.min(axis=0) < bound).all()
