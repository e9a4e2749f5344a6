"""Compiled replay: what the controller gives, bit for bit; and only where it covers what is asked."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import (
    ConfigError,
    ConstantCosts,
    Constraints,
    Controller,
    Cycle,
    Decision,
    PassBudget,
    State,
    make_policy,
)
from adaptive_spec._rows import UNLIMITED_TOKENS
from adaptive_spec.hints import Certainty
from adaptive_spec.policies.ewma import Ewma
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.policy import Policy
from adaptive_spec.simulations import compiled, replay, simulator
from adaptive_spec.simulations.compiled import CompiledReplays, compiled_rule
from adaptive_spec.simulations.driven import DrivenReplay, Part
from adaptive_spec.simulations.results import Replay
from adaptive_spec.simulations.simulator import replay_parts
from adaptive_spec.state import is_empty
from adaptive_spec.testing import strategies
from adaptive_spec.traces import Hazards, TraceSet
from adaptive_spec.traces.flat import FlatTrace
from adaptive_spec.traces.synthetic import synthetic_trace

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
def flats(draw: st.DrawFn) -> FlatTrace:
    """Traces of one to three drafters; long quiet stretches and single tokens among them."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    drafters = draw(st.sampled_from([1, 1, 2, 3]))
    lengths = np.array(draw(st.lists(st.sampled_from([1, 2, 30, 300]), min_size=1, max_size=4)))
    tokens, sequences = int(lengths.sum()), lengths.size
    mean = draw(st.sampled_from([0.0, 0.3, 2.0, 9.0]))
    left = np.concatenate([np.arange(n, 0, -1) for n in lengths])
    runs = np.minimum(random.geometric(1 / (1 + mean), (tokens, drafters)) - 1, left[:, None])
    proposes = random.random((tokens, drafters)) < draw(st.sampled_from([0.1, 0.8, 1.0]))
    unknown = np.full((tokens, drafters), np.nan)
    reach = random.choice([0, 20, UNLIMITED_TOKENS], (sequences, drafters))
    return FlatTrace(
        DRAFTERS[:drafters],
        np.zeros(drafters, np.bool_),
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

    fast = CompiledReplays.of(controller(True))
    assert fast is not None
    lanes = is_empty(policy.init(1, 0).shared)
    slow = DrivenReplay(controller(not lanes), 3 if lanes else 1)
    return [replays.run(part, log_cycles=True) for replays in (fast, slow)]


def assert_same(ours: Replay, theirs: Replay) -> None:
    """Bit for bit."""
    for name, mine, yours in zip(ours._fields, ours, theirs, strict=True):
        columns = zip(mine, yours, strict=True) if name in ("shares", "log") else [(mine, yours)]
        for a, b in columns:
            np.testing.assert_array_equal(a, b, err_msg=name)


@given(RULES, flats(), strategies.cost_models(), st.sampled_from([0, 1, 4, 10, 33]), st.data())
def test_is_what_the_controller_does(
    policy: Policy[Any, Any], flat: FlatTrace, costs: Any, most: int, data: st.DataObject
) -> None:
    order = np.array(data.draw(st.permutations(range(flat.start.size))))
    some = order[: data.draw(st.integers(1, order.size))]
    assert_same(*both(policy, Part(flat, some), costs, most))
