"""Live decoding and replay show a policy the same before a draft starts, up to rounding."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from adaptive_spec import ConstantCosts, Controller
from adaptive_spec._arrays import BoolArray
from adaptive_spec.decoding import (
    DecodingEngine,
    Drafter,
    ModelRunner,
)
from adaptive_spec.decoding.recorder import Recorder
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.verification import (
    GREEDY,
    RULES,
    CoupledNoise,
    VerificationRule,
    make_rule,
)
from adaptive_spec.hints import Hints
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Empty, State
from adaptive_spec.simulations import replay
from adaptive_spec.traces import TraceSet
from tests.decoding.looking_back import Watchful
from tests.decoding.replayed import SEED, drafter_of, live_engine, model, recorded, requests

COSTS = ConstantCosts(draft=0.2, verify=0.05, drafts=(("lookup", 0.01),))
MOST = 6
TOLERANCE = 1e-4
REQUESTS = requests(4, longest=24)
COUPLED = CoupledNoise(SamplingParameters(temperature=0.8, repetition_penalty=1.2), seed=3)


@dataclass(frozen=True)
class Hinted(Watchful):
    """Random drafts by random drafters, and none where any hint speaks against it."""

    takes_hints = True
    looks_back = False

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        hints, drafts = cycle.hints, super().decide(state, cycle)
        assert hints is not None
        assert drafts.drafter is not None
        own = np.arange(drafts.drafter.size), np.maximum(drafts.drafter, 0)
        against = (
            (hints.verifier_entropy > 2.5).astype(np.int64)
            + (hints.verifier_margin < 0.1)
            + (hints.match_length[own] < 2)
            + (hints.draft_probability[own] < 0.2)
        )
        return drafts._replace(tau=cycle.clip(drafts.tau - 3 * against))


@dataclass(frozen=True)
class HintedBack(Hinted):
    """Likewise, where drafters are asked what they would have said."""

    looks_back = True


@dataclass(frozen=True)
class HintedInside(Hinted):
    """Likewise, and stops where the drafter is unsure."""

    def keep_drafting(
        self,
        state: State[Empty, Empty],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        return ~(signals.margin[:, -1] < 0.2)


def engine(
    drafter: Drafter, policy: Any, batch_size: int, rule: VerificationRule
) -> DecodingEngine:
    return live_engine(drafter, policy, batch_size, costs=COSTS, most=MOST, rule=rule)


@functools.cache
def trace_of(name: str, rule: VerificationRule) -> TraceSet:
    drafter = drafter_of(name, 1)
    done = engine(drafter, Watchful(), 1, rule).complete(REQUESTS)
    return recorded(drafter, REQUESTS, done, signal_depth=MOST, rule=rule, certainty=True)


def by_sequence(policy: Hinted) -> dict[int, tuple[list[Any], list[list[float]]]]:
    """Each sequence's cycles, and the hints that its policy was given in them."""
    found: dict[int, tuple[list[Any], list[list[float]]]] = {}
    for outcome in policy.told:
        hints = outcome.cycle.hints
        assert hints is not None
        for i, sequence in enumerate(outcome.cycle.sequence_id.tolist()):
            cycles, shown = found.setdefault(sequence, ([], []))
            emitted = int(outcome.cycle.emitted_tokens[i])
            cycles.append((emitted, int(outcome.tau[i]), int(outcome.drafter[i])))
            shown.append(np.concatenate([np.atleast_1d(part[i]) for part in hints]).tolist())
    return found


CASES = [
    *((name, Hinted) for name in ("lookup", "early-exit", "short-context", "synthetic")),
    *(("lookup+early-exit", kind) for kind in (Hinted, HintedBack, HintedInside)),
    *(("short-context", kind) for kind in (HintedBack, HintedInside)),
]


@pytest.mark.parametrize("rule", [GREEDY, COUPLED], ids=["greedy", "coupled"])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_replay_shows_what_live_decoding_shows(
    name: str, kind: type[Hinted], batch_size: int, rule: VerificationRule
) -> None:
    if name == "synthetic" and rule is COUPLED:
        pytest.skip("synthetic hazards are exact where the verifier's choice is its argmax")
    live, again = kind(), kind()
    engine(drafter_of(name, batch_size), live, batch_size, rule).complete(REQUESTS)
    replay(
        again,
        trace_of(name, rule),
        costs=COSTS,
        max_draft_tokens=MOST,
        seed=SEED,
        concurrency=batch_size,
    )
    mine, theirs = by_sequence(live), by_sequence(again)
    assert mine.keys() == theirs.keys()
    for sequence, (cycles, shown) in mine.items():
        assert cycles == theirs[sequence][0]
        np.testing.assert_allclose(shown, theirs[sequence][1], atol=TOLERANCE)
    told = [hints for o in live.told if (hints := o.cycle.hints) is not None]
    known = {
        field: any(np.isfinite(getattr(hints, field)).any() for hints in told)
        for field in Hints._fields
    }
    assert known["verifier_entropy"]
    assert known["verifier_margin"]
    assert known["draft_probability"] == ("early-exit" in name or "short-context" in name)
    if "lookup" not in name or rule is GREEDY:  # sampled text of a random model repeats nothing
        assert known["match_length"] == ("lookup" in name)


@pytest.mark.parametrize("rule", RULES)
def test_certainty_is_of_the_newest_token_whatever_the_rule(rule: str) -> None:
    policy = Hinted()
    chosen = make_rule(rule)
    done = engine(drafter_of("early-exit", 3), policy, 3, chosen).complete(REQUESTS)
    texts = [[*r.prompt_ids, *c.token_ids] for r, c in zip(REQUESTS, done, strict=True)]
    compared = 0
    for outcome in policy.told:
        cycle = outcome.cycle
        assert cycle.hints is not None
        for i, sequence in enumerate(cycle.sequence_id.tolist()):
            shown = cycle.hints.verifier_entropy[i], cycle.hints.verifier_margin[i]
            if cycle.emitted_tokens[i] == 0:
                assert np.isnan(shown).all()
                continue
            before = int(cycle.prompt_tokens[i] + cycle.emitted_tokens[i]) - 1
            with torch.inference_mode():
                logits = model()(torch.tensor([texts[sequence][:before]])).logits[0, -1].double()
            p, top = logits.softmax(-1), logits.topk(2).values
            wanted = float(-(p * p.log()).sum()), float(top[0] - top[1])
            np.testing.assert_allclose(shown, wanted, atol=TOLERANCE)
            compared += 1
    assert compared > 20


def test_plain_decoding_gives_hints_of_the_verifier_alone() -> None:
    policy = Hinted()
    DecodingEngine(ModelRunner(model()), None, Controller(policy, costs=COSTS)).complete(
        REQUESTS[:1]
    )
    first, second = (o.cycle.hints for o in policy.told[:2])
    assert first is not None
    assert second is not None
    assert np.isnan(np.concatenate([part.ravel() for part in first])).all()
    assert np.isfinite([second.verifier_entropy, second.verifier_margin]).all()
    assert np.isnan([second.match_length, second.draft_probability]).all()


def test_a_policy_that_takes_none_is_given_none() -> None:
    policy = Watchful()
    engine(drafter_of("lookup", 1), policy, 1, GREEDY).complete(REQUESTS[:1])
    replay(policy, trace_of("lookup", GREEDY), costs=COSTS, max_draft_tokens=MOST)
    assert policy.told
    assert all(outcome.cycle.hints is None for outcome in policy.told)


def test_a_trace_without_them_gives_unknown_hints() -> None:
    drafter = drafter_of("lookup+early-exit", 1)
    done = engine(drafter, Watchful(), 1, GREEDY).complete(REQUESTS)
    bare = Recorder(drafter, 256, signal_depth=0)
    traces = trace_of("lookup+early-exit", GREEDY)
    sequences = tuple(map(bare.record, REQUESTS, done))
    assert all(sequence.certainty is None for sequence in sequences)
    policy = Hinted()
    replay(policy, TraceSet(traces.info, sequences), costs=COSTS, max_draft_tokens=MOST)
    for outcome in policy.told:
        assert outcome.cycle.hints is not None
        assert all(np.isnan(part).all() for part in outcome.cycle.hints)
