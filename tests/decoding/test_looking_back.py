"""Live decoding and replay tell a policy the same of every draft that could have been."""

import functools
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConstantCosts, Policy, make_policy
from adaptive_spec.decoding import (
    Completion,
    DecodingEngine,
    Drafter,
)
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.verification import (
    GREEDY,
    CoupledNoise,
    RejectionSampling,
    VerificationRule,
)
from adaptive_spec.policy import Outcome
from adaptive_spec.simulations import replay
from adaptive_spec.traces import TraceSet
from tests.decoding.looking_back import Watchful
from tests.decoding.replayed import SEED, drafter_of, live_engine, recorded, requests

COSTS = ConstantCosts(draft=0.2, verify=0.05, drafts=(("lookup", 0.01),))
MOST = 6
DRAFTERS = ("lookup", "early-exit", "short-context", "synthetic", "lookup+early-exit")
REQUESTS = requests(6, longest=30)
COUPLED = CoupledNoise(SamplingParameters(temperature=0.8, repetition_penalty=1.2), seed=3)


def engine(
    drafter: Drafter, policy: Policy[Any, Any], batch_size: int, rule: VerificationRule
) -> DecodingEngine:
    return live_engine(drafter, policy, batch_size, costs=COSTS, most=MOST, rule=rule)


@functools.cache
def trace_of(name: str, rule: VerificationRule) -> TraceSet:
    drafter = drafter_of(name, 1)
    done = engine(drafter, Watchful(), 1, rule).complete(REQUESTS)
    return recorded(drafter, REQUESTS, done, rule=rule)


def by_sequence(told: list[Outcome]) -> dict[int, list[Any]]:
    """What each sequence's policy was told, cycle by cycle."""
    found: dict[int, list[Any]] = {}
    for outcome in told:
        runs = outcome.runs
        assert runs is not None
        for i, sequence in enumerate(outcome.cycle.sequence_id.tolist()):
            said = (
                outcome.cycle.behind_tokens[i].tolist(),
                outcome.tau[i],
                outcome.drafter[i],
                runs.end[i],
                runs.known[i].tolist(),
                runs.length[i].tolist(),
                runs.proposes[i].tolist(),
            )
            found.setdefault(sequence, []).append(said)
    return found


@pytest.mark.parametrize("rule", [GREEDY, COUPLED], ids=["greedy", "coupled"])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("name", DRAFTERS)
def test_replay_tells_what_live_decoding_tells(
    name: str, batch_size: int, rule: VerificationRule
) -> None:
    if name == "synthetic" and rule is COUPLED:
        pytest.skip("synthetic hazards are exact where the verifier's choice is its argmax")
    live, again = Watchful(), Watchful()
    engine(drafter_of(name, batch_size), live, batch_size, rule).complete(REQUESTS)
    replay(
        again,
        trace_of(name, rule),
        costs=COSTS,
        max_draft_tokens=MOST,
        seed=SEED,
        concurrency=batch_size,
    )
    mine, theirs = by_sequence(live.told), by_sequence(again.told)
    assert mine == theirs
    told = [runs for outcome in live.told if (runs := outcome.runs) is not None]
    if (name, rule) != ("lookup", COUPLED):  # sampled text of a random model repeats nothing
        assert any(runs.length.any() for runs in told)
    behind = np.concatenate([outcome.cycle.behind_tokens for outcome in live.told])
    assert behind.any() == (name != "lookup")


@pytest.mark.parametrize("name", DRAFTERS)
def test_catching_up_changes_no_output(name: str) -> None:
    plain = engine(drafter_of(name, 3), make_policy("fixed:tau=0"), 3, GREEDY).complete(REQUESTS)
    done = engine(drafter_of(name, 3), Watchful(), 3, GREEDY).complete(REQUESTS)
    assert [c.token_ids for c in done] == [c.token_ids for c in plain]


def test_no_run_is_made_out_where_the_output_depends_on_tau() -> None:
    policy = Watchful()
    rule = RejectionSampling(SamplingParameters(temperature=0.8))
    engine(drafter_of("early-exit", 1), policy, 1, rule).complete(REQUESTS[:1])
    assert all(outcome.runs is None for outcome in policy.told)
    assert not any(outcome.cycle.behind_tokens.any() for outcome in policy.told)
    # What is told instead: the chance of each token that was tested, 1 where it was certain.
    chances, tested = [], []
    for outcome in policy.told:
        chance = outcome.acceptance_probability
        assert (chance is not None) == bool(outcome.num_draft_tokens.any())
        if chance is None:
            continue
        assert chance.shape == (1, MOST)
        bits = outcome.agreement()[:, :-1]
        told = ~np.isnan(chance)
        assert (told >= (bits >= 0)).all()
        assert told.sum() <= outcome.num_draft_tokens[0]
        assert (chance[bits == 1] > 0).all()
        assert (chance[bits == 0] < 1).all()
        chances += chance[bits >= 0].tolist()
        tested += bits[bits >= 0].tolist()
    assert 0 <= min(chances) < max(chances) <= 1
    assert len(set(tested)) == 2


def test_where_runs_are_told_chances_are_not() -> None:
    policy = Watchful()
    engine(drafter_of("early-exit", 1), policy, 1, GREEDY).complete(REQUESTS[:1])
    assert all(outcome.acceptance_probability is None for outcome in policy.told)


@functools.cache
def plain_with_signals(name: str) -> tuple[list[Completion], TraceSet]:
    done = engine(drafter_of(name, 1), make_policy("fixed:tau=0"), 1, GREEDY).complete(REQUESTS)
    return done, recorded(drafter_of(name, 1), REQUESTS, done, signal_depth=MOST)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("policy", ["marginal", "portfolio:confidence=0.5", "auto"])
@pytest.mark.parametrize("name", ["lookup", "draft-model", "lookup+early-exit"])
def test_policies_that_look_back_are_replayed(name: str, policy: str, batch_size: int) -> None:
    plain, trace = plain_with_signals(name)
    log = replay(
        policy,
        trace,
        costs=COSTS,
        max_draft_tokens=MOST,
        seed=SEED,
        concurrency=batch_size,
        log_cycles=True,
    ).log
    assert log is not None
    done = engine(drafter_of(name, batch_size), make_policy(policy), batch_size, GREEDY).complete(
        REQUESTS
    )
    assert [c.token_ids for c in done] == [c.token_ids for c in plain]
    for i, completion in enumerate(done):
        told = [
            (c.position, c.tau, c.num_draft_tokens, c.num_accepted_tokens)
            for c in completion.cycles
        ]
        rows = log.sequence == i
        columns = log.position, log.tau, log.num_draft_tokens, log.num_accepted_tokens
        assert told == list(zip(*(column[rows].tolist() for column in columns), strict=True))
    assert len({c.num_draft_tokens for completion in done for c in completion.cycles}) > 1
