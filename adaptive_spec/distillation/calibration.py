"""A draft's confidence made the chance with which it is right: one temperature.

Guo, Pleiss, Sun and Weinberger 2017, section 4.2, of the first choice alone, which is what rules
that stop on confidence look at. Dividing logits by a temperature changes no choice.
"""

from collections.abc import Sequence

import numpy as np
import torch

from adaptive_spec.decoding.transfer import to_device, to_host
from adaptive_spec.decoding.trimmed_draft import TrimmedDraft, own_weights
from adaptive_spec.distillation.texts import Text

_TEMPERATURES = np.geomspace(0.5, 2.0, 61)


@torch.no_grad()
def calibrate(draft: TrimmedDraft, texts: Sequence[Text]) -> float:
    """Scales the draft's logits, in place: its final norm is divided by a temperature.

    Args:
      draft: the draft.
      texts: that it has not learned from; those with greedy answers count, at least one.

    Returns:
      The temperature, 0.5 to 2, at which the first choice's probability has the least log-loss
      against whether that was right.
    """
    loss = np.zeros(_TEMPERATURES.size)
    device = draft.token_ids.device
    for text in texts:
        if not text.is_greedy:
            continue
        logits = draft.model(
            input_ids=to_device([text.token_ids[:-1].tolist()], device), use_cache=False
        ).logits[0, text.answer_start - 1 :]
        right = to_host(draft.token_ids[logits.argmax(-1)]) == text.token_ids[text.answer_start :]
        for i, temperature in enumerate(_TEMPERATURES.tolist()):
            chance = to_host((logits.float() / temperature).softmax(-1).amax(-1).double())
            chance = np.clip(chance, 1e-6, 1 - 1e-6)
            loss[i] -= np.log(np.where(right, chance, 1.0 - chance)).sum()
    best = float(_TEMPERATURES[loss.argmin()])
    for name, value in own_weights(draft).items():
        if not any(part.isdigit() for part in name.split(".")):  # of no layer: the final norm's
            value.div_(best)
    return best
