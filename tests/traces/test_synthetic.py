"""Synthetic rejections follow the hazards prescribed; draws depend on their keys alone."""

from collections.abc import Callable

import numpy as np
import pytest

from adaptive_spec import ConstantCosts
from adaptive_spec.errors import DrafterSpecError, TraceError
from adaptive_spec.simulations import replay
from adaptive_spec.traces import Hazards, synthetic_trace
from adaptive_spec.traces.synthetic import sequence_number

KINDS = [
    Hazards(0.3),
    Hazards(hazards=(0.5, 0.3, 0.2)),
    Hazards(0.1, burst=0.8, enter=0.05, leave=0.2),
]


def within(found: int, trials: int, chance: float) -> None:
    """A binomial count lies within 5 standard deviations: a false alarm in 1.7 million tests."""
    spread = np.sqrt(trials * chance * (1 - chance))
    assert abs(found - trials * chance) <= 5 * spread + 1e-9


@pytest.mark.parametrize("hazard", [0.0, 0.05, 0.3, 1.0])
def test_a_constant_hazard_rejects_that_share_of_tokens(hazard: float) -> None:
    trace = synthetic_trace(Hazards(hazard, seed=3), num_sequences=200, num_tokens=100)
    wrong = sum(int((s.run_lengths == 0).sum()) for s in trace)
    within(wrong, trace.num_tokens, hazard)


def test_hazards_by_depth_hold_at_every_depth() -> None:
    hazards = (0.5, 0.3, 0.2)
    trace = synthetic_trace(Hazards(hazards=hazards), num_sequences=200, num_tokens=100)
    # Far from the end no run is cut short.
    runs = np.concatenate([s.run_lengths[:60] for s in trace])
    for depth in range(8):
        reached = int((runs >= depth).sum())
        within(int((runs == depth).sum()), reached, hazards[min(depth, 2)])


def test_bursts_come_go_and_reject_as_prescribed() -> None:
    calm, burst, enter, leave = 0.02, 0.9, 0.05, 0.25
    trace = synthetic_trace(
        Hazards(calm, burst=burst, enter=enter, leave=leave), num_sequences=400, num_tokens=100
    )
    wrong = np.stack([s.run_lengths == 0 for s in trace])
    # From sequence to sequence everything is independent, so one position of each is a sample.
    share = enter / (enter + leave)
    for position in (0, 10, 99):
        chance = share * burst + (1 - share) * calm
        within(int(wrong[:, position].sum()), 400, chance)
    # Given a rejection, the next token is rejected by way of the same burst going on, mostly.
    hit = wrong[:, 40]
    inside = share * burst / (share * burst + (1 - share) * calm)
    still = inside * (1 - leave) + (1 - inside) * enter
    within(int(wrong[hit, 41].sum()), int(hit.sum()), still * burst + (1 - still) * calm)


@pytest.mark.parametrize("hazards", KINDS, ids=str)
def test_run_lengths_are_those_of_the_drafts(hazards: Hazards) -> None:
    n = 40
    for sequence in range(5):
        runs = hazards.run_lengths(sequence, n)
        for position in range(n):
            right = hazards.accepts(sequence, position, n - position)
            first_wrong = int(np.append(~right, True).argmax())
            assert runs[position] == first_wrong
            # A shorter draft is the beginning of a longer one.
            assert (
                hazards.accepts(sequence, position, 3).tolist()
                == hazards.accepts(sequence, position, 9).tolist()[:3]
            )


@pytest.mark.parametrize("hazards", KINDS, ids=str)
def test_draws_depend_on_seed_and_sequence_alone(hazards: Hazards) -> None:
    other = Hazards(**{**vars(hazards), "seed": 1})
    again = Hazards(**vars(hazards)).run_lengths(7, 60)
    assert np.array_equal(hazards.run_lengths(7, 60), again)
    assert not np.array_equal(hazards.run_lengths(8, 60), again)
    assert not np.array_equal(other.run_lengths(7, 60), again)


def test_sequences_are_numbered_by_their_prompts() -> None:
    numbers = {sequence_number(prompt) for prompt in ([1], [2], [1, 2], [2, 1], [513])}
    assert len(numbers) == 5
    assert sequence_number([1, 2]) == sequence_number((1, 2))
    assert all(0 <= number < 1 << 63 for number in numbers)


@pytest.mark.parametrize("hazards", KINDS, ids=str)
def test_a_synthetic_trace_says_so_and_replays(hazards: Hazards) -> None:
    trace = synthetic_trace(hazards, num_sequences=3, num_tokens=20)
    assert trace.info.source == "synthetic"
    assert trace.info.drafter == hazards.spec
    assert trace.info.drafter_names == ("synthetic",)
    result = replay("ewma", trace, costs=ConstantCosts())
    assert result.tokens.tolist() == [20, 20, 20]
    assert result.shares.names == ("synthetic",)


@pytest.mark.parametrize(
    "make",
    [
        Hazards,
        lambda: Hazards(0.3, hazards=(0.3,)),
        lambda: Hazards(1.1),
        lambda: Hazards(float("nan")),
        lambda: Hazards(hazards=(0.2, -0.1)),
        lambda: Hazards(0.1, burst=2.0),
        lambda: Hazards(hazards=(0.1,), burst=0.5),
        lambda: Hazards(0.1, burst=0.5, enter=0.0),
        lambda: Hazards(0.1, burst=0.5, enter=0.7, leave=0.7),
        lambda: Hazards(0.1, seed=-1),
    ],
)
def test_hazards_that_cannot_be(make: Callable[[], Hazards]) -> None:
    with pytest.raises(DrafterSpecError, match="synthetic: "):
        make()


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(TraceError, match="at least 1"):
        synthetic_trace(Hazards(0.3), num_tokens=0)
