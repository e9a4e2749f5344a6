"""The verifier's final states on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from adaptive_spec.distillation import states as module
from adaptive_spec.distillation.states import load_states, save_states
from adaptive_spec.distillation.texts import Text


def as_floats(bits: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(bits)).view(torch.bfloat16).float()


def test_states_are_those_of_a_pass_over_the_text_alone(
    tmp_path: Path, verifier: Any, texts: list[Text], monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "_TOKENS_AT_ONCE", 40)
    path = tmp_path / "states.npy"
    seen: list[int] = []
    save_states(path, verifier, texts, seen.append)
    found = load_states(path)
    sizes = [text.token_ids.size for text in texts]
    assert found.shape == (sum(sizes), 32)
    assert sum(seen) == sum(sizes)
    assert len(seen) > 3
    start = 0
    for text in texts:
        ids = torch.from_numpy(text.token_ids)[None]
        with torch.inference_mode():
            alone = verifier.base_model(input_ids=ids).last_hidden_state[0]
        part = as_floats(found[start : start + text.token_ids.size])
        torch.testing.assert_close(part, alone, rtol=0.01, atol=0.01)
        start += text.token_ids.size
