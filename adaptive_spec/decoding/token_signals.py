"""How sure a model is of its next token, by its logits."""

import torch

NAMES = ("top1_probability", "entropy", "margin")
"""Columns of ``token_signals``, as in ``DraftSignals``."""


def top1_probability(logits: torch.Tensor) -> torch.Tensor:
    """The first column of ``token_signals``, for a sixth of its time: ``[b, V] -> [b, 1]``."""
    return logits.float().softmax(-1).amax(-1, keepdim=True)


def token_signals(logits: torch.Tensor) -> torch.Tensor:
    """Top-1 probability, entropy (nats) and margin of a model's logits, ``[b, V] -> [b, 3]``.

    Sampling parameters and noise do not enter: signals say how sure the model itself is.
    """
    logits = logits.float()
    logs = logits.log_softmax(-1)
    largest, first = logits.max(-1, keepdim=True)
    # Neither topk nor torch.special.entr: each takes longer than all of this. 0 * -inf must be 0.
    entropy = -(logs.exp() * logs.clamp(min=-1e9)).sum(-1)
    second = logits.scatter(-1, first, -torch.inf).amax(-1)
    parts = (
        logs.gather(-1, first)[:, 0].exp(),
        entropy,
        largest[:, 0] - second,
    )
    return torch.stack(parts, dim=-1)
