import numpy as np
import torch

from adaptive_spec.decoding.sampling import (
    Distribution,
    DraftDistributions,
    over_vocabulary,
    probabilities_of,
)

NAN, INF = float("nan"), float("inf")


def test_values_are_spread_over_the_vocabulary() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert over_vocabulary(values, None, 2, 0.0) is not None
    assert over_vocabulary(values, None, 1, 0.0).tolist() == [[1], [3]]
    assert over_vocabulary(values, None, 3, -1.0).tolist() == [[1, 2, -1], [3, 4, -1]]
    shared = over_vocabulary(values, torch.tensor([3, 1]), 4, 0.0)
    assert shared.tolist() == [[0, 2, 0, 1], [0, 4, 0, 3]]
    own = over_vocabulary(values, torch.tensor([[3, 1], [0, 1]]), 4, 0.0)
    assert own.tolist() == [[0, 2, 0, 1], [3, 4, 0, 0]]


def test_probabilities_of_tokens() -> None:
    p = torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.5, 0.5]])
    tokens = torch.tensor([1, 0, 5])
    assert probabilities_of(p, None, tokens).tolist() == [0.75, 0.5, 0]
    candidates = torch.tensor([[9, 1], [1, 0], [4, 5]])
    assert probabilities_of(p, candidates, tokens).tolist() == [0.75, 0.5, 0.5]


def test_certain_distributions_give_their_token_under_any_noise() -> None:
    keys = torch.randint(-(2**62), 2**62, (500,))
    one = Distribution(torch.zeros(500, 1), torch.full((500, 1), 7))
    assert (one.draw(keys) == 7).all()
    masked = torch.full((500, 4), -INF)
    masked[:, 2] = -50.0
    assert (Distribution(masked).draw(keys) == 2).all()


def test_scores_that_are_no_numbers_give_no_token() -> None:
    scores = torch.tensor([[0.0, NAN], [INF, 0.0], [-INF, -INF], [0.0, -INF]])
    distribution = Distribution(scores)
    assert distribution.draw(torch.arange(4)).tolist() == [-1, -1, -1, 0]
    assert distribution.finite.tolist() == [False, False, False, True]


def test_steps_of_a_draft_whose_rows_drop_out() -> None:
    def step(*values: float) -> Distribution:
        scores = torch.tensor(values, dtype=torch.float32)[:, None].expand(-1, 2)
        return Distribution(scores, (scores * 10).long())

    rows = [np.array([1, 4, 6]), np.array([1, 6]), np.array([6])]
    steps = [step(1, 2, 3), step(4, 5), step(6)]
    drafted = DraftDistributions.of_steps(list(zip(rows, steps, strict=True)))
    assert drafted.rows.tolist() == [1, 4, 6]
    assert drafted.scores[..., 0].tolist() == [[1, 4, 0], [2, 0, 0], [3, 5, 6]]
    assert drafted.token_ids is not None
    early = drafted.probabilities_of(torch.tensor([[10], [20], [7]]))  # fewer than were drawn
    assert early.tolist() == [[1.0], [1.0], [0.0]]
    at = drafted.at(torch.tensor([1, 0, 5]))  # beyond the last: whatever is there
    assert at.scores[:, 0].tolist() == [4, 2, 6]
    assert at.ids()[:, 1].tolist() == [40, 20, 60]
