"""What the verifier knew at each token: its final hidden states, computed once and kept on disk.

The head turns them into the soft targets of training; keeping states (``[T, hidden]``, bfloat16)
instead of the targets (``[T, V]``) is some eighty times smaller.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adaptive_spec._files import atomic_write
from adaptive_spec.decoding.transfer import to_device
from adaptive_spec.distillation.texts import Text

_TOKENS_AT_ONCE = 4096


@torch.inference_mode()
def save_states(
    path: Path,
    model: Any,
    texts: Sequence[Text],
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Writes the states of one part of texts, in its order, ``[sum of lengths, hidden]``.

    Args:
      path: a .npy file; bfloat16 is stored as the unsigned integers of its bits.
      model: the verifier, a transformers causal language model.
      texts: one part.
      on_progress: called with the number of tokens just read.
    """
    ends = np.cumsum([text.token_ids.size for text in texts])
    hidden = model.get_input_embeddings().weight.shape[1]
    device = model.get_input_embeddings().weight.device
    states = np.zeros((int(ends[-1]), hidden), np.uint16)
    # Texts of like length share a pass: padding on the right changes nothing before it.
    order = np.argsort([text.token_ids.size for text in texts], kind="stable")
    for batch in _batches([texts[i].token_ids.size for i in order]):
        rows = order[batch]
        width = max(texts[i].token_ids.size for i in rows)
        ids = np.zeros((len(rows), width), np.int64)
        for row, i in zip(ids, rows, strict=True):
            row[: texts[i].token_ids.size] = texts[i].token_ids
        output = model.base_model(input_ids=to_device(ids.tolist(), device), use_cache=False)
        bits = output.last_hidden_state.to(torch.bfloat16).cpu().view(torch.uint16).numpy()
        for row, i in zip(bits, rows, strict=True):
            size = texts[i].token_ids.size
            states[ends[i] - size : ends[i]] = row[:size]
        if on_progress is not None:
            on_progress(sum(texts[i].token_ids.size for i in rows))
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, states)


def load_states(path: Path) -> npt.NDArray[np.uint16]:
    """The states of one part, mapped from disk."""
    states: npt.NDArray[np.uint16] = np.load(path, mmap_mode="r", allow_pickle=False)
    return states


def _batches(lengths: list[int]) -> list[slice]:
    """Slices of ascending lengths whose padded size stays within ``_TOKENS_AT_ONCE``."""
    batches, start = [], 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or lengths[end] * (end + 1 - start) > _TOKENS_AT_ONCE:
            batches.append(slice(start, end))
            start = end
    return batches
