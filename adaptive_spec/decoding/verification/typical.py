"""Typical acceptance: a drafted token is accepted where the verifier finds it likely enough. Lossy.

Likely enough is p(x) > min(epsilon, delta * exp(-H(p))), H the entropy of p (Medusa, Cai et al.
2024, after Hewitt et al. 2022). What follows is drawn from p. The output is *not* distributed as
the verifier's: the tokens that the drafter likes best come out more often.
"""

from dataclasses import dataclass, field

import torch

from adaptive_spec.decoding.sampling import Contexts, SamplingParameters
from adaptive_spec.decoding.verification.base import Block, Choice, Verdict, VerificationRule
from adaptive_spec.decoding.verification.greedy import GreedyMatch
from adaptive_spec.decoding.verification.rejection import Places
from adaptive_spec.errors import ConfigError


def typical_threshold(p: torch.Tensor, epsilon: float, delta: float) -> torch.Tensor:
    """Probability above which a token is typical of p ``[..., C]``, ``[...]``."""
    entropy = torch.special.entr(p).sum(-1)
    return (delta * torch.exp(-entropy)).clamp(max=epsilon)


@dataclass(frozen=True)
class TypicalAcceptance(VerificationRule):
    """Lossy sampling, for those who accept another distribution for longer drafts.

    Attributes:
      sampling: how distributions are made of logits.
      seed: of sequences that bring no seed of their own.
      epsilon: probability that is always enough, in (0, 1).
      delta: share of exp(-entropy) that is enough, in (0, 1).
    """

    name = "typical"
    lossless = False
    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    seed: int = 0
    epsilon: float = 0.09
    delta: float = 0.3

    def __post_init__(self) -> None:
        for name in ("epsilon", "delta"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(
                    f"{name} = {getattr(self, name)}; it must be greater than 0 and less than 1"
                )

    def choose(
        self, logits: torch.Tensor, contexts: Contexts, token_ids: torch.Tensor | None = None
    ) -> Choice:
        given = self.sampling
        alone = SamplingParameters(
            repetition_penalty=given.repetition_penalty, processors=given.processors
        )
        return GreedyMatch(alone).choose(logits, contexts, token_ids)

    def verify(self, logits: torch.Tensor, block: Block) -> Verdict:
        place = Places.of(self.sampling, logits, block)
        enough = typical_threshold(place.p.probabilities(), self.epsilon, self.delta)
        typical = place.p_drafted() > enough.view(-1, place.width)[:, :-1]
        column = torch.arange(place.width - 1, device=logits.device)
        typical &= column < place.num_drafted[:, None]
        accepted = typical.long().cumprod(1).sum(1)
        return place.finish(accepted, place.at(accepted))

    def _own_fields(self) -> tuple[str, ...]:
        return f"epsilon={self.epsilon}", f"delta={self.delta}"
