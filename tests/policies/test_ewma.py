import numpy as np
import pytest

from adaptive_spec import ConstantCosts, PolicySpecError, make_policy
from adaptive_spec.policies.ewma import Ewma
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces import SequenceTrace, TraceInfo, TraceSet, run_lengths_of
from tests.policies.driving import drive


def test_decisions_worked_by_hand() -> None:
    # Costs 1 + 0.1 k. After each outcome a, r by averages of weight 0.5; rate = a / (a + r);
    # tau = argmax of (1 + rate + ... + rate**k) / (1 + 0.1 k) over k <= round(a / r) + 1.
    #   start      a 2.000  r 1.000  rate 0.667  k <= 3   1.667/1.1, 2.111/1.2, 2.407/1.3 -> 3
    #   run 0      a 1.000  r 1.000  rate 0.5    k <= 2   1.500/1.1, 1.750/1.2            -> 2
    #   run 0      a 0.500  r 1.000  rate 0.333  k <= 2   1.333/1.1, 1.444/1.2            -> 1
    #   run 10     a 0.750  r 0.500  rate 0.6    k <= 3   1.600/1.1, 1.960/1.2, 2.176/1.3 -> 3
    assert drive(Ewma(smoothing=0.5), [0, 0, 10, 0]) == [3, 2, 1, 3]


def test_it_reaches_beyond_its_own_tau() -> None:
    taus = drive(Ewma(smoothing=0.3), [50] * 40)
    assert taus[-1] == 10
    assert taus == sorted(taus), "nothing but full acceptance: tau never falls"


def test_margin_bounds_how_far_it_drafts_beyond_the_run_length() -> None:
    free = ConstantCosts(draft=0.0)
    assert drive(Ewma(smoothing=1.0, margin=0), [0, 4, 4, 4], free)[1:] == [0, 0, 0]
    assert drive(Ewma(initial=3.0, margin=0), [0], free) == [3]
    assert drive(Ewma(initial=3.0, margin=2), [0], free) == [5]


def test_fallback_and_the_way_back() -> None:
    taus = drive(Ewma(), [0] * 150 + [8] * 200)
    off = taus[60:150]
    assert off.count(0) > 80, "drafting does not pay, so it stops"
    assert set(off) <= {0, 1, 2}, "but for short probes"
    assert min(taus[-20:]) >= 5, "and it finds its way back"


def test_a_drafter_that_proposes_nothing_teaches_nothing() -> None:
    assert drive(Ewma(), [5] * 30, proposes=False) == [3] * 30


def test_a_price_on_passes_raises_tau() -> None:
    from adaptive_spec import Constraints, PassBudget

    rng = np.random.default_rng(1)
    sequences = []
    for i in range(40):
        bits = rng.random(60) < 0.5
        runs = run_lengths_of(bits)
        sequences.append(SequenceTrace(str(i), "", 10, runs, np.ones(60, np.bool_)))
    traces = TraceSet(TraceInfo("v", "d", "token"), tuple(sequences))
    costs = ConstantCosts(draft=0.3)
    free = replay("ewma", traces, costs=costs, concurrency=1)
    priced = replay(
        "ewma",
        traces,
        costs=costs,
        constraints=Constraints(PassBudget(average_passes=32)),
        concurrency=1,
    )
    assert free.cycles.mean() > 36
    assert priced.cycles[10:].mean() < free.cycles[10:].mean() - 2


@pytest.mark.parametrize(
    "spec", ["ewma:smoothing=0", "ewma:smoothing=1.5", "ewma:margin=-1", "ewma:initial=nan"]
)
def test_values_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(PolicySpecError, match=r"ewma: \w+ = .*must be"):
        make_policy(spec)
