"""Distributions over the next token, kept on the device over the tokens that can be drawn."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from adaptive_spec._arrays import IntArray
from adaptive_spec.decoding import transfer
from adaptive_spec.decoding.sampling.noise import gumbel


class Distribution(NamedTuple):
    """``n`` distributions over ``C`` candidates each.

    Attributes:
      scores: ``[n, C]`` log-probabilities up to a constant, float32; -inf for what cannot be drawn.
        A row whose logits were no numbers has none either.
      token_ids: ``[n, C]`` or ``[C]`` the candidates' tokens; None where candidate i is token i.
    """

    scores: torch.Tensor
    token_ids: torch.Tensor | None = None

    @property
    def finite(self) -> torch.Tensor:
        """``[n]`` whether the scores are numbers, and leave something to draw."""
        return self.scores.amax(-1).isfinite()  # a NaN is taken for the largest

    def perturbed(self, keys: torch.Tensor) -> torch.Tensor:
        """Scores plus the Gumbel noise of these keys ``[n]``, ``[n, C]``."""
        return gumbel(keys, self.ids()).add_(self.scores)

    def draw(self, keys: torch.Tensor) -> torch.Tensor:
        """A token of each distribution ``[n]``, by these keys ``[n]``; -1 where not ``finite``."""
        perturbed = self.perturbed(keys)
        best = perturbed.argmax(-1, keepdim=True)
        drawn = self.tokens_at(best)
        return torch.where(perturbed.gather(-1, best).isfinite(), drawn, -1).squeeze(-1)

    def probabilities(self) -> torch.Tensor:
        """``[n, C]``."""
        return self.scores.softmax(-1)

    def ids(self) -> torch.Tensor:
        """The candidates' tokens, ``[n, C]`` or ``[C]``."""
        if self.token_ids is not None:
            return self.token_ids
        return torch.arange(self.scores.shape[-1], device=self.scores.device)

    def tokens_at(self, candidates: torch.Tensor) -> torch.Tensor:
        """The tokens of these candidates ``[n, k]``."""
        if self.token_ids is None:
            return candidates
        return self.token_ids.expand(self.scores.shape).gather(-1, candidates)

    def take(self, rows: torch.Tensor) -> "Distribution":
        """The distributions of these rows ``[m]``."""
        ids = self.token_ids
        if ids is not None and ids.ndim > 1:
            ids = ids.index_select(0, rows)
        return Distribution(self.scores.index_select(0, rows), ids)


def over_vocabulary(
    values: torch.Tensor, token_ids: torch.Tensor | None, vocab_size: int, fill: float
) -> torch.Tensor:
    """Values of some tokens, spread over the whole vocabulary; the one place that does it.

    Args:
      values: ``[n, C]``.
      token_ids: ``[n, C]`` or ``[C]``, distinct in a row; None for tokens 0 to C - 1.
      vocab_size: at least all tokens + 1; where values are more, the rest is dropped.
      fill: value of all other tokens.

    Returns:
      ``[n, vocab_size]``.
    """
    if token_ids is None and values.shape[-1] >= vocab_size:
        return values[:, :vocab_size]
    spread = values.new_full((values.shape[0], vocab_size), fill)
    if token_ids is None:
        spread[:, : values.shape[-1]] = values
        return spread
    return spread.scatter_(-1, token_ids.expand(values.shape), values)


def probabilities_of(
    probabilities: torch.Tensor, candidates: torch.Tensor | None, token_ids: torch.Tensor
) -> torch.Tensor:
    """Probability of one token in each distribution, 0 where it is no candidate.

    Args:
      probabilities: ``[..., C]``.
      candidates: their tokens, ``[..., C]`` or ``[C]``; None where candidate i is token i.
      token_ids: ``[...]``.
    """
    if candidates is None:
        inside = token_ids.clamp(max=probabilities.shape[-1] - 1)
        found = probabilities.gather(-1, inside[..., None])[..., 0]
        return found * (token_ids == inside)
    return (probabilities * (candidates == token_ids[..., None])).sum(-1)


@dataclass(frozen=True)
class DraftDistributions:
    """What proposals were drawn from. Rows that are not named proposed without a draw: one-hot.

    Attributes:
      rows: ``[S]`` rows of the batch.
      scores: ``[S, depth, C]`` as in ``Distribution``; meaningless beyond a row's proposals.
      token_ids: ``[S, depth, C]`` or ``[C]`` tokens of the candidates; None where i is token i.
    """

    rows: IntArray
    scores: torch.Tensor
    token_ids: torch.Tensor | None = None

    @staticmethod
    def of_steps(steps: list[tuple[IntArray, Distribution]]) -> "DraftDistributions":
        """Puts steps together: the rows of the batch that drew, ever fewer, and what from."""
        rows, first = steps[0]
        shape = (rows.size, len(steps), first.scores.shape[-1])
        scores, ids = first.scores.new_zeros(shape), first.token_ids
        if ids is not None and ids.ndim > 1:
            ids = ids.new_zeros(shape)
        for depth, (drew, step) in enumerate(steps):
            where = transfer.to_device(np.searchsorted(rows, drew).tolist(), scores.device)
            scores[where, depth] = step.scores
            if ids is not None and ids.ndim > 1:
                ids[where, depth] = step.ids()
        return DraftDistributions(rows, scores, ids)

    def at(self, depth: torch.Tensor) -> Distribution:
        """The distributions at one depth of each row, ``[S]``."""
        depth = depth.clamp(max=self.scores.shape[1] - 1)
        row = torch.arange(depth.shape[0], device=depth.device)
        ids = self.token_ids
        return Distribution(
            self.scores[row, depth], ids[row, depth] if ids is not None and ids.ndim > 2 else ids
        )

    def probabilities_of(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Probability of a token at each of the first depths, ``[S, d]``."""
        depth, ids = token_ids.shape[1], self.token_ids
        if ids is not None and ids.ndim > 2:
            ids = ids[:, :depth]
        return probabilities_of(self.scores[:, :depth].softmax(-1), ids, token_ids)
