"""What transformers' loop asks for candidates while a policy decides how many there are."""

from typing import Any

import torch
from transformers import StoppingCriteria
from transformers.generation.candidate_generator import CandidateGenerator

from adaptive_spec.integrations.transformers.generation import Generation


class PolicyCandidates(CandidateGenerator):
    """Stands in the place of transformers' own generator, which drafts on its behalf."""

    def __init__(self, generation: Generation) -> None:
        """Takes part in one loop, and says so to ``generation``."""
        self._generation = generation

    def get_candidates(self, input_ids: torch.Tensor, **kwargs: Any) -> Any:
        """The text with a draft behind it, ``[1, length + n]``, and its logits, if it has any."""
        return self._generation.draft(input_ids)

    def update_candidate_strategy(
        self, input_ids: torch.Tensor, scores: torch.Tensor, num_matches: int
    ) -> None:
        """Told what became of the draft: ``input_ids`` is the text as verified now."""
        self._generation.verified(input_ids, scores)


class PromisesEnd(StoppingCriteria):
    """Ends a text by what was promised, and marks the end of each cycle; the last criterion."""

    def __init__(self) -> None:
        """Ends nothing until a generation is set."""
        self.generation: Generation | None = None

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Whether to end, ``[batch]``."""
        end = self.generation is not None and self.generation.ends(input_ids)
        return torch.full((input_ids.shape[0],), end, device=input_ids.device)
