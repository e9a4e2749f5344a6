"""Where two outputs of one prompt part, and whether rounding explains it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from adaptive_spec.decoding import transfer

# Margins between logits that rounding can turn over; logits are of the order of ten.
_TIE_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.5}


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
