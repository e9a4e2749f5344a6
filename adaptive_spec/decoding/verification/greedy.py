"""Greedy match: drafted tokens are accepted while they equal the verifier's argmax.

Its argmax after the last accepted one is emitted too (Stern et al. 2018; Leviathan et al. 2023 at
temperature 0). The output is that of greedy decoding, token for token.
"""

from dataclasses import dataclass, field

import torch

from adaptive_spec.decoding.sampling import Contexts, SamplingParameters, over_vocabulary
from adaptive_spec.decoding.verification.base import (
    Block,
    Choice,
    Verdict,
    VerificationRule,
    match,
)
from adaptive_spec.errors import ConfigError


def greedy_tokens(logits: torch.Tensor) -> torch.Tensor:
    """Argmax over the last axis, -1 where the largest logit is not a finite number."""
    # max is faster than argmax, above all in bfloat16; it takes a NaN for the largest, too, so that
    # looking at the winner is enough.
    largest, tokens = logits.max(-1)
    return torch.where(largest.isfinite(), tokens, -1)


@dataclass(frozen=True)
class GreedyMatch(VerificationRule):
    """Greedy decoding.

    Attributes:
      sampling: repetition penalty and processors alone; the others would change nothing.
      seed: without effect.
    """

    name = "greedy"
    tau_invariant = True
    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    seed: int = 0

    def __post_init__(self) -> None:
        given = self.sampling
        if given.temperature not in (0, 1) or given.top_k or given.top_p < 1 or given.min_p:
            raise ConfigError(
                f"greedy match takes the likeliest token, so that {given.fields} would change "
                "nothing; choose rejection sampling or coupled noise, or leave them out"
            )

    def choose(
        self, logits: torch.Tensor, contexts: Contexts, token_ids: torch.Tensor | None = None
    ) -> Choice:
        if self.sampling.reads_text:
            spread = over_vocabulary(logits.float(), token_ids, contexts.vocab_size, -float("inf"))
            return Choice(greedy_tokens(self.sampling.processed(spread, contexts)))
        tokens = greedy_tokens(logits)
        if token_ids is not None:
            tokens = torch.where(tokens < 0, tokens, token_ids[tokens.clamp(min=0)])
        return Choice(tokens)

    def verify(self, logits: torch.Tensor, block: Block) -> Verdict:
        scores = logits
        if self.sampling.reads_text:
            flat = logits.flatten(0, 1).float()
            scores = self.sampling.processed(flat, block.contexts(logits)).view(logits.shape)
        return match(greedy_tokens(scores), logits, block)


GREEDY = GreedyMatch()
