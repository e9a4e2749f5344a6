"""How often a draft would have proposed the verifier's own token, on texts kept aside."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from adaptive_spec.decoding.transfer import to_device, to_host
from adaptive_spec.decoding.trimmed_draft import TrimmedDraft
from adaptive_spec.distillation.texts import Text
from adaptive_spec.traces.sequences import run_lengths_of

_BINS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 0.95, 1.0)


@dataclass(frozen=True)
class Agreement:
    """What a draft agrees on.

    Attributes:
      num_tokens: answer tokens looked at.
      top1: share of them that the draft's first choice hits.
      by_depth: for depths 0, 1, 2 and 3, the share of first choices that hit once the draft was
        right at all depths before (the rest is the hazard of rejection).
      calibration: bins of the draft's top-1 probability as (upper end, tokens, share that hit).
    """

    num_tokens: int
    top1: float
    by_depth: tuple[float, ...]
    calibration: tuple[tuple[float, int, float], ...]


@torch.inference_mode()
def agreement(draft: TrimmedDraft, texts: Sequence[Text]) -> Agreement:
    """Compares the draft's first choices with the answers of greedy texts.

    Args:
      draft: the draft.
      texts: texts with greedy answers; others are left out, at least one must be left.
    """
    hits, sure, runs, rooms = [], [], [], []
    for text in texts:
        if not text.is_greedy:
            continue
        device = draft.token_ids.device
        logits = draft.model(
            input_ids=to_device([text.token_ids[:-1].tolist()], device), use_cache=False
        ).logits[0, text.answer_start - 1 :]
        top = logits.float().softmax(-1).max(-1)
        right = to_host(draft.token_ids[top.indices]) == text.token_ids[text.answer_start :]
        hits.append(right)
        sure.append(to_host(top.values))
        runs.append(run_lengths_of(right))
        rooms.append(np.arange(right.size, 0, -1))
    hit, probability, run, room = (np.concatenate(parts) for parts in (hits, sure, runs, rooms))
    depths = tuple(
        float((run > depth).sum() / max(((run >= depth) & (room > depth)).sum(), 1))
        for depth in range(4)
    )
    bins = np.clip(np.digitize(probability, _BINS) - 1, 0, len(_BINS) - 2)
    calibration = tuple(
        (_BINS[b + 1], int((bins == b).sum()), float(hit[bins == b].mean()))
        for b in range(len(_BINS) - 1)
        if (bins == b).any()
    )
    return Agreement(hit.size, float(hit.mean()), depths, calibration)
