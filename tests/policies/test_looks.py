"""When to look at an idle drafter: pauses worked by hand, and what they cost on long texts."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import ConstantCosts
from adaptive_spec.policies._looks import Looks, Stakes
from adaptive_spec.policies.marginal import Marginal
from adaptive_spec.policy import Outcome, State
from adaptive_spec.simulations import replay
from tests.simulations.test_regimes import traced

UPKEEP, ENDLESS = 0.01, 10**9


def stakes(gain: float = -0.05, step: float = 0.4) -> Stakes:
    return Stakes(np.array([gain]), np.array([step]), np.ones(1))


def looked(looks: Looks, tokens: int, found: float, at: Stakes, memory: float = 1e12) -> Looks:
    return looks.after(0, at, np.array([found]), np.array([tokens]), memory)


def pause(looks: Looks, at: Stakes, drafter: int = 0, left: int = ENDLESS) -> int:
    """Tokens after which a look pays; -1 if none does."""
    unread = np.arange(5000)
    every = Stakes(*(np.repeat(part, unread.size) for part in at))
    pays = looks.pay(drafter, every, unread, np.full_like(unread, left), UPKEEP)
    return int(pays.argmax()) if pays.any() else -1


def test_at_first_looks_take_up_the_upkeep() -> None:
    assert pause(Looks.fresh(), stakes(step=0.4)) == 40
    assert pause(Looks.fresh(), stakes(step=0.125)) == 13
    assert pause(Looks.fresh(), stakes(step=0.001)) == 1
    assert pause(Looks.fresh(), stakes(step=0.0)) == 1


def test_pauses_grow_as_the_root_of_text_in_which_nothing_was_found() -> None:
    # 2 * 0.4 / 40^2 = 0.0005 a token is imagined, on 1000 tokens; 3000 more without any leave a
    # quarter of it, 8000 more a ninth.
    assert pause(looked(Looks.fresh(), 3000, -0.2, stakes()), stakes()) == 80
    assert pause(looked(Looks.fresh(), 8000, -0.2, stakes()), stakes()) == 120


def test_what_is_found_shortens_them_but_not_beyond_the_upkeep() -> None:
    # 1.5 tokens found on 3000 make up for them: 0.0005 a token.
    quiet = looked(Looks.fresh(), 8000, 0.0, stakes())
    assert pause(looked(Looks.fresh(), 3000, 1.5, stakes()), stakes()) == 40
    # sqrt(2 * 0.4 / (2.5 / 10000)) = 56.6
    assert pause(looked(quiet, 1000, 2.0, stakes()), stakes()) == 57
    assert pause(looked(quiet, 1000, 100.0, stakes()), stakes()) == 40


def test_near_and_far_and_drafters_are_told_apart() -> None:
    far = stakes(gain=-0.39)
    looks = looked(Looks.fresh(), 3000, 0.0, far)
    assert pause(looks, far) == 80
    assert pause(looks, stakes(gain=-0.25)) == 40
    assert pause(looks, far, drafter=1) == 40
    assert stakes(gain=0.3).farness == stakes(gain=-0.09).farness == 0
    assert stakes(gain=-0.11).farness == 1
    assert far.farness == stakes(gain=-np.inf).farness == 3


def test_pauses_are_bounded() -> None:
    looks = Looks.fresh()
    for _ in range(5000):
        looks = looked(looks, 40, 0.0, stakes(), memory=10_000.0)
    assert 3 * 40 < pause(looks, stakes()) <= np.ceil(40 * np.sqrt(1 + 10_000 / 1000))


def test_no_look_where_too_little_is_left() -> None:
    # A look at 40 unread tokens is worth 0.0005 * 40 a token: its cost, 0.4, on 20 tokens.
    assert pause(Looks.fresh(), stakes(), left=20) == 40
    assert pause(Looks.fresh(), stakes(), left=19) == 43  # 0.0005 * 43 * 19 = 0.4085
    assert pause(Looks.fresh(), stakes(), left=0) == -1


@given(st.floats(0.01, 1.0), st.floats(0.0, 3.0), st.integers(1, 20_000))
def test_no_other_period_costs_less(step: float, found: float, tokens: int) -> None:
    at = stakes(step=step)
    looks = looked(Looks.fresh(), tokens, found, at)
    shortest = max(step / UPKEEP, 1.0)
    v = (found + 2000.0 * step / shortest**2) / (1000.0 + tokens)
    periods = np.arange(np.ceil(shortest), 4000.0)
    cheapest = periods[(step / periods + v * periods / 2.0).argmin()]
    assert abs(pause(looks, at) - cheapest) <= 1


class Watched(Marginal):
    """Shows its last state."""

    def update(self, state: State[Any, Any], outcome: Outcome) -> State[Any, Any]:
        object.__setattr__(self, "last", super().update(state, outcome))
        return self.last  # type: ignore[attr-defined, no-any-return]


def test_where_drafting_never_pays_ever_less_goes_into_looking() -> None:
    random, change = np.random.default_rng(0), 2500
    text = np.concatenate([random.random(change) < 0.1, random.random(300) < 0.9])
    policy = Watched(inside=False)
    log = replay(policy, traced([text]), costs=ConstantCosts(draft=0.375), log_cycles=True).log
    assert log is not None
    late = (log.position >= 1000) & (log.position < change)
    assert 1.001 < log.cycle_ms[late].sum() / log.num_emitted_tokens[late].sum() < 1.0075
    drafting = log.position[(log.position >= change) & (log.num_draft_tokens > 0)]
    assert drafting[0] < change + 37.5 * np.sqrt(1 + change / 1000) + 20
    looks = policy.last.shared.looks  # type: ignore[attr-defined]
    assert 0.9 * change < looks.read[0].sum() <= change + 300
    assert looks.worth[0].sum() > 0, "what was found after the change"
    assert not looks.read[1:].any()


def test_looks_at_a_batch_are_learned_from_together() -> None:
    policy, random = Watched(inside=False), np.random.default_rng(0)
    texts = traced([random.random(150) < 0.1 for _ in range(3)])
    replay(policy, texts, costs=ConstantCosts(draft=0.375), concurrency=3)
    assert 200 < policy.last.shared.looks.read[0].sum() < 450  # type: ignore[attr-defined]
