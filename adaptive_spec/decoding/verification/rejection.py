"""Rejection sampling: a drafted token x is accepted with probability min(1, p(x) / q(x)).

After the first rejection the next token is drawn from the residual max(p - q, 0), normalised;
after full acceptance from p itself (Leviathan et al. 2023; Chen et al. 2023). The output is
distributed as the verifier's own. A proposal that was not drawn has q = 1 at its token.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch

from adaptive_spec.decoding import transfer
from adaptive_spec.decoding.sampling import (
    Contexts,
    Distribution,
    Purpose,
    SamplingParameters,
    over_vocabulary,
    probabilities_of,
)
from adaptive_spec.decoding.verification.base import (
    Block,
    Choice,
    Verdict,
    VerificationRule,
    verdict,
)


def num_accepted(
    p: torch.Tensor, q: torch.Tensor, uniforms: torch.Tensor, num_drafted: torch.Tensor
) -> torch.Tensor:
    """Drafted tokens accepted in a row, ``[B]``.

    Args:
      p: ``[B, depth]`` the verifier's probability of each drafted token.
      q: ``[B, depth]`` that with which it was proposed.
      uniforms: ``[B, depth]`` in (0, 1).
      num_drafted: ``[B]``; what lies beyond is never accepted.
    """
    column = torch.arange(p.shape[1], device=p.device)
    accepted = (uniforms * q < p) & (column < num_drafted[:, None])
    return accepted.long().cumprod(1).sum(1)


def acceptance_probability(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Chance ``min(1, p / q)`` that a drafted token is accepted, if those before it are.

    What the uniforms decide by; ``p`` and ``q`` are as for ``num_accepted``. Its mean over drafted
    tokens is the rate of acceptance at that place, sum over x of ``min(p(x), q(x))``, as is that of
    the bit, which is noisier. The sum itself would be less so still, but takes both distributions
    over the whole vocabulary at every place, where this takes nothing that was not worked out.
    """
    return torch.where(p >= q, (p > 0).to(p.dtype), p / q)


def residual(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """What is left of p ``[B, C]`` where a draw from q was refused; weights, not normalised.

    Where rounding leaves nothing, p itself: then p and q are equal up to rounding.
    """
    left = (p - q).clamp_(min=0)
    return torch.where(left.sum(-1, keepdim=True) > 0, left, p)


@dataclass(frozen=True)
class RejectionSampling(VerificationRule):
    """Sampling with the highest acceptance of single drafts.

    Attributes:
      sampling: how distributions are made of logits.
      seed: of sequences that bring no seed of their own.
    """

    name = "rejection"
    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    seed: int = 0

    def choose(
        self, logits: torch.Tensor, contexts: Contexts, token_ids: torch.Tensor | None = None
    ) -> Choice:
        distribution = self.sampling.distribution(logits, contexts, token_ids)
        return Choice(distribution.draw(contexts.keys(Purpose.DRAFT)), distribution)

    def verify(self, logits: torch.Tensor, block: Block) -> Verdict:
        place = Places.of(self.sampling, logits, block)
        if logits.shape[1] == 1:
            return place.finish(place.num_drafted, place.p)
        p_drafted, q_drafted = place.p_drafted(), _q_drafted(place, block)
        accepted = num_accepted(p_drafted, q_drafted, place.uniforms(), place.num_drafted)
        chance = acceptance_probability(p_drafted, q_drafted) if block.wants_acceptance else None
        stop = place.at(accepted)
        q = _q_at(place, block, accepted)
        if stop.token_ids is not None:
            q = q.gather(-1, stop.token_ids)
        left = residual(stop.probabilities(), q)
        return place.finish(accepted, Distribution(left.log(), stop.token_ids), chance)


class Places(NamedTuple):
    """The verifier's distributions along the blocks of a batch, and what was drafted there.

    Attributes:
      block: what the pass went over; ``logits``: ``[B, width, V]`` of the verifier.
      contexts: the ``B * width`` places.
      p: the verifier's distributions there.
      width: places of a row.
      drafted: ``[B, width - 1]`` on the device, 0 beyond a row's draft; ``num_drafted``: ``[B]``.
    """

    block: Block
    logits: torch.Tensor
    contexts: Contexts
    p: Distribution
    width: int
    drafted: torch.Tensor
    num_drafted: torch.Tensor

    @staticmethod
    def of(sampling: SamplingParameters, logits: torch.Tensor, block: Block) -> "Places":
        """The places of logits ``[B, width, V]``."""
        contexts = block.contexts(logits)
        p = sampling.distribution(logits.flatten(0, 1), contexts)
        assert contexts.drafted is not None
        num_drafted = transfer.to_device(block.draft.num_tokens.tolist(), logits.device)
        return Places(block, logits, contexts, p, logits.shape[1], contexts.drafted, num_drafted)

    def p_drafted(self) -> torch.Tensor:
        """Probability of each drafted token, ``[B, width - 1]``."""
        shape = (self.num_drafted.shape[0], self.width, -1)
        probabilities, ids = self.p.probabilities().view(shape)[:, :-1], self.p.token_ids
        if ids is not None:
            ids = ids.view(shape)[:, :-1]
        return probabilities_of(probabilities, ids, self.drafted)

    def uniforms(self) -> torch.Tensor:
        """Numbers that decide on each drafted token, ``[B, width - 1]``."""
        return self.contexts.uniforms(Purpose.ACCEPT).view(-1, self.width)[:, :-1]

    def at(self, accepted: torch.Tensor) -> Distribution:
        """The distributions after so many drafted tokens ``[B]`` of each row."""
        return self.p.take(self._index(accepted))

    def finish(
        self, accepted: torch.Tensor, stop: Distribution, chance: torch.Tensor | None = None
    ) -> Verdict:
        """Draws each row's next token from ``stop``, reads the device, and gives the verdict.

        ``chance`` is that of each drafted token, ``[B, width - 1]``, where it is to be told.
        """
        drawn = stop.draw(self.contexts.keys(Purpose.DRAW)[self._index(accepted)])
        column = torch.arange(self.width, device=accepted.device)
        broken = ~self.p.finite.view(-1, self.width) & (column <= self.num_drafted[:, None])
        drawn = torch.where(broken.any(1), -1, drawn)
        block, found, certainty = self.block, torch.cat([accepted, drawn]), None
        if chance is not None:
            found = torch.cat([found, transfer.as_integers(chance).reshape(-1)])
        if block.wants_certainty:
            flat, certainty = block.read(found, self.logits, accepted)
        else:
            flat = block.draft.read_with(found)
        count, final, numbers = np.split(flat, [accepted.numel(), 2 * accepted.numel()])
        judged = verdict(count, final, block.draft.token_ids, certainty)
        if chance is None:
            return judged
        told = transfer.from_integers(numbers).reshape(chance.shape)
        depth = np.arange(told.shape[1])
        tested = (depth <= count[:, None]) & (depth < block.draft.num_tokens[:, None])
        return replace(judged, acceptance_probability=np.where(tested, told, np.nan))

    def _index(self, accepted: torch.Tensor) -> torch.Tensor:
        return torch.arange(accepted.shape[0], device=accepted.device) * self.width + accepted


def _q_drafted(place: Places, block: Block) -> torch.Tensor:
    """Probability with which each drafted token was proposed, ``[B, width - 1]``."""
    q = torch.ones(place.drafted.shape, device=place.drafted.device)
    for drawn_from in block.draft.drawn_from:
        rows = transfer.to_device(drawn_from.rows.tolist(), q.device)
        drafted = place.drafted.index_select(0, rows)[:, : drawn_from.scores.shape[1]]
        q[rows, : drafted.shape[1]] = drawn_from.probabilities_of(drafted)
    return q


def _q_at(place: Places, block: Block, accepted: torch.Tensor) -> torch.Tensor:
    """What the token after so many accepted ones ``[B]`` was drawn from, ``[B, V]``.

    Nothing where all drafted tokens were accepted.
    """
    vocab_size = place.contexts.vocab_size
    refused = place.drafted.gather(1, accepted[:, None].clamp(max=place.width - 2))
    certain = torch.ones(refused.shape, device=refused.device)
    q = over_vocabulary(certain, refused, vocab_size, 0.0)
    for drawn_from in block.draft.drawn_from:
        rows = transfer.to_device(drawn_from.rows.tolist(), q.device)
        drawn = drawn_from.at(accepted.index_select(0, rows))
        q[rows] = over_vocabulary(drawn.probabilities(), drawn.token_ids, vocab_size, 0.0)
    return q * (accepted < place.num_drafted)[:, None]
