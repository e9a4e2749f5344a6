"""Coupled noise: both models draw with the same Gumbel noise, and drafts are accepted where equal.

The verifier's token at a position is argmax(log p + G), with noise G that depends on the sequence
and the position alone; the drafter proposes argmax(log q + G) (Daliri et al. 2024; the coupling is
that of Gumbel-max sampling). The output is a draw from the verifier's distribution, and the same
one whatever was drafted. Acceptance is a little lower than that of rejection sampling: at least
(1 - d) / (1 + d), where d is the total variation distance of p and q, against 1 - d.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from adaptive_spec.decoding.sampling import Contexts, Purpose, SamplingParameters
from adaptive_spec.decoding.verification.base import (
    Block,
    Choice,
    Verdict,
    VerificationRule,
    match,
)


@dataclass(frozen=True)
class CoupledNoise(VerificationRule):
    """Sampling that replays exactly.

    Attributes:
      sampling: how distributions are made of logits.
      seed: of sequences that bring no seed of their own.
    """

    name = "coupled"
    tau_invariant = True
    purpose: ClassVar[Purpose] = Purpose.COUPLED
    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    seed: int = 0

    def choose(
        self, logits: torch.Tensor, contexts: Contexts, token_ids: torch.Tensor | None = None
    ) -> Choice:
        distribution = self.sampling.distribution(logits, contexts, token_ids)
        return Choice(distribution.draw(contexts.keys(self.purpose)))

    def verify(self, logits: torch.Tensor, block: Block) -> Verdict:
        own = self.choose(logits.flatten(0, 1), block.contexts(logits)).token_ids
        return match(own.view(logits.shape[:2]), logits, block)
