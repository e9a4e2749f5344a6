"""Replay is exact for composed drafters: cycle for cycle, and drafter for drafter.

With policies that leave the choice to the default order, that make it themselves, and that look
inside the draft; in batches whose rows are drafted for by different drafters, admitted one by one.
"""

import functools
import re
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Policy, make_policy
from adaptive_spec._arrays import BoolArray
from adaptive_spec.decoding import (
    Completion,
)
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Empty, State
from adaptive_spec.randomness import uniform
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.simulations.validation import ShownCycle, validate_cycles
from adaptive_spec.testing import check_policy
from adaptive_spec.traces import TraceSet
from tests.decoding.replayed import SEED, drafter_of, live_engine, recorded, requests
from tests.decoding.scripted import Scripted, Stopping

COSTS = ConstantCosts(draft=0.2, verify=0.05, plain_ms=7.0, drafts=(("lookup", 0.01),))
MOST = 8
REQUESTS = requests(8, longest=24)
COMPOSITIONS = ("lookup+early-exit", "lookup+short-context", "early-exit+lookup+synthetic-blocks")


@dataclass(frozen=True)
class Whimsical(Scripted):
    """Random drafts, each by a random one of the drafters that propose something."""

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        key = np.zeros(1, np.int64), cycle.sequence_id, cycle.cycle_index
        draws = uniform(*key, len(cycle.drafters)) * cycle.available
        drafter = np.where(cycle.available.any(axis=1), draws.argmax(axis=1), cycle.drafter)
        return super().decide(state, cycle)._replace(drafter=drafter)


@dataclass(frozen=True)
class WhimsicalStopping(Whimsical):
    """Likewise, and stops where a drafter is unsure; one that gives no signal goes on."""

    def keep_drafting(
        self,
        state: State[Empty, Empty],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        margin, match = signals.margin[:, -1], signals.match_length[:, -1]
        return ~((margin < 0.2) | (match + depth < 3))


def live(name: str, policy: Policy[Any, Any], batch_size: int = 1) -> list[Completion]:
    drafter = drafter_of(name, batch_size)
    engine = live_engine(drafter, policy, batch_size, costs=COSTS, most=MOST)
    return engine.complete(REQUESTS)


@functools.cache
def trace_of(name: str) -> TraceSet:
    plain = live(name, make_policy("fixed:tau=0"))
    return recorded(drafter_of(name, 1), REQUESTS, plain, signal_depth=MOST)


def second_opinion() -> Policy[Any, Any]:
    """The policy of the guide that chooses its drafter."""
    guide = Path(__file__).parents[2] / "docs" / "writing-a-policy.md"
    fence = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    blocks = fence.findall(guide.read_text(encoding="utf-8"))
    module = types.ModuleType("guide")
    sys.modules["guide"] = module
    for block in (blocks[0], next(b for b in blocks if "class SecondOpinion" in b)):
        exec(block, vars(module))  # noqa: S102 - our own document
    policy: Policy[Any, Any] = module.SecondOpinion()
    return policy


POLICIES: list[str | Policy[Any, Any]] = [
    "fixed:tau=3",
    "ewma",
    "bandit:algorithm=thompson",
    "metasd",
    "tapout",
    Stopping(tau=8, signal="match_length", threshold=1.5),
    Whimsical(),
    WhimsicalStopping(),
    second_opinion(),
]


CASES = [
    *((name, policy, 3) for name in COMPOSITIONS[:2] for policy in POLICIES),
    *((COMPOSITIONS[2], policy, 3) for policy in POLICIES[-3:]),
    *((COMPOSITIONS[1], policy, 1) for policy in POLICIES[-3:]),
]


@pytest.mark.parametrize(("name", "policy", "batch_size"), CASES, ids=str)
def test_every_cycle_and_its_drafter_is_replayed(
    name: str, policy: str | Policy[Any, Any], batch_size: int
) -> None:
    built, traces = make_policy(policy), trace_of(name)
    completions = live(name, built, batch_size)
    for completion, sequence in zip(completions, traces, strict=True):
        assert sequence.output_ids is not None
        assert list(completion.token_ids) == sequence.output_ids.tolist()
    options: dict[str, Any] = {"costs": COSTS, "max_draft_tokens": MOST, "seed": SEED}
    result = replay(built, traces, concurrency=batch_size, log_cycles=True, **options)
    assert result.log is not None
    shown = {
        c.id: [ShownCycle(y.tau, y.num_accepted_tokens, y.drafter) for y in c.cycles]
        for c in completions
    }
    assert validate_cycles(shown, traces, result.log).differences == ()
    drafted = [cycle.num_draft_tokens for c in completions for cycle in c.cycles]
    assert result.num_draft_tokens.sum() == sum(drafted)
    for i, drafter in enumerate(traces.info.drafter_names):
        own = [share for c in completions for share in c.drafters if share.name == drafter]
        assert result.shares.cycles[:, i].sum() == sum(share.cycles for share in own)
        assert result.shares.num_accepted_tokens[:, i].sum() == sum(
            share.num_accepted_tokens for share in own
        )


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_every_drafter_has_its_turn_within_one_batch(name: str) -> None:
    completions = live(name, Whimsical(), 3)
    by_drafter = {share.name for c in completions for share in c.drafters}
    assert by_drafter == set(drafter_of(name, 1).names)
    reasons = {c.finish_reason for c in completions}
    assert reasons == {"eos", "length"}


def test_the_guide_s_policy_takes_both_drafters_and_passes_the_checks() -> None:
    policy = second_opinion()
    check_policy(policy, max_examples=10)
    cycles = [cycle for c in live("lookup+early-exit", policy) for cycle in c.cycles]
    assert {cycle.drafter for cycle in cycles} >= {"lookup", "early-exit"}
    result = replay(policy, trace_of("lookup+early-exit"), costs=COSTS, log_cycles=True)
    default = replay("fixed:tau=3", trace_of("lookup+early-exit"), costs=COSTS)
    assert result.shares.cycles[:, 0].sum() < default.shares.cycles[:, 0].sum()
