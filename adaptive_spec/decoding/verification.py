"""Verification: which drafted tokens the verifier would have written itself.

Greedy match: drafted tokens are accepted while they equal the verifier's argmax, and its argmax
after the last accepted one is emitted too (Stern et al. 2018; Leviathan et al. 2023 at
temperature 0).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adaptive_spec._arrays import IntArray
from adaptive_spec.decoding import transfer
from adaptive_spec.errors import NumericsError

# Margins between logits that rounding can turn over; logits are of the order of ten.
_TIE_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.5}


def greedy_tokens(logits: torch.Tensor) -> torch.Tensor:
    """Argmax over the last axis, -1 where the largest logit is not a finite number."""
    # max is faster than argmax, above all in bfloat16; it takes a NaN for the largest, too, so that
    # looking at the winner is enough.
    largest, tokens = logits.max(-1)
    return torch.where(largest.isfinite(), tokens, -1)


@dataclass(frozen=True)
class Verdict:
    """What a pass showed.

    Attributes:
      num_accepted_tokens: ``[B]`` drafted tokens that the verifier would have written.
      token_ids: for each row, the accepted tokens and the verifier's next one.
    """

    num_accepted_tokens: IntArray
    token_ids: list[list[int]]


def greedy_match(logits: torch.Tensor, drafts: Sequence[Sequence[int]]) -> Verdict:
    """Compares drafts with the verifier's own choices; one read from the device.

    Args:
      logits: ``[B, width, V]``; entry i follows the last verified token and i drafted ones.
      drafts: ``[B]`` drafted tokens, each fewer than ``width``.

    Raises:
      NumericsError: logits that are not numbers.
    """
    own = transfer.to_host(greedy_tokens(logits))  # [B, width]
    num_drafted = np.array([len(draft) for draft in drafts], np.int64)
    column = np.arange(own.shape[1])
    if (own[column <= num_drafted[:, None]] < 0).any():
        raise NumericsError(
            "the verifier's logits are not finite; a lower-precision dtype may have overflowed: "
            "load the model in float32 or bfloat16"
        )
    proposed = np.full(own.shape, -1, np.int64)
    for i, draft in enumerate(drafts):
        proposed[i, : len(draft)] = draft
    accepted = np.logical_and.accumulate(proposed == own, axis=1).sum(axis=1)
    tokens = [row[: n + 1].tolist() for row, n in zip(own, accepted, strict=True)]
    return Verdict(accepted.astype(np.int64), tokens)


@dataclass(frozen=True)
class Divergence:
    """The first place where two outputs of one prompt part.

    Attributes:
      position: output position, from 0.
      plain_id, other_id: the tokens there; None where that output had ended.
      margin: how far the lower of the two tokens' logits lies below the largest, in a pass without
        cache over the common text; infinite where one output had ended.
      tolerance: largest margin that rounding explains.
    """

    position: int
    plain_id: int | None
    other_id: int | None
    margin: float
    tolerance: float

    @property
    def is_tie(self) -> bool:
        """Whether both tokens are the argmax up to rounding: neither output is wrong."""
        return self.margin <= self.tolerance


@torch.inference_mode()
def explain_divergence(
    model: Any,
    prompt_ids: Sequence[int],
    plain_ids: Sequence[int],
    other_ids: Sequence[int],
    tolerance: float | None = None,
) -> Divergence | None:
    """Tells a tie within rounding from a real difference; None where the outputs are equal.

    Args:
      model: the verifier, a transformers causal language model.
      prompt_ids: the prompt's tokens.
      plain_ids: output of plain decoding.
      other_ids: the output in question.
      tolerance: logit margin taken for a tie; None for the model's dtype: float32 1e-3,
        float16 0.1, bfloat16 0.5.
    """
    plain, other = list(plain_ids), list(other_ids)
    if plain == other:
        return None
    if tolerance is None:
        tolerance = _TIE_TOLERANCE.get(model.dtype, 1e-3)
    common = min(len(plain), len(other))
    position = next((i for i in range(common) if plain[i] != other[i]), common)
    if position == common:
        return Divergence(
            position,
            plain[position] if position < len(plain) else None,
            other[position] if position < len(other) else None,
            float("inf"),
            tolerance,
        )
    device = model.get_input_embeddings().weight.device
    ids = transfer.to_device([[*prompt_ids, *plain[:position]]], device)
    logits = transfer.to_host(model(input_ids=ids, use_cache=False).logits[0, -1].float())
    pair = logits[[plain[position], other[position]]]
    margin = float(logits.max() - pair.min())
    return Divergence(position, plain[position], other[position], margin, tolerance)
