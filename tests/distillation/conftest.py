"""A tiny verifier and texts of its own for the tests of distillation."""

from typing import Any

import numpy as np
import pytest
import torch

from adaptive_spec.distillation.texts import Text
from tests.threads import one_thread
from tests.tiny_models import VOCABULARY, tiny_llama

__all__ = ["one_thread", "texts", "verifier"]


@pytest.fixture(scope="session")
def verifier() -> Any:
    return tiny_llama(11, layers=3)


@pytest.fixture(scope="session")
def texts(verifier: Any) -> list[Text]:
    """Twenty-four greedy answers of different lengths."""
    generator = np.random.default_rng(3)
    found = []
    for i in range(24):
        prompt = generator.integers(0, VOCABULARY, 3 + i % 5).tolist()
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            for _ in range(8 + i % 7):
                choice = verifier(input_ids=ids).logits[:, -1].argmax(-1)
                ids = torch.cat([ids, choice[:, None]], dim=1)
        found.append(Text(ids[0].numpy(), len(prompt), True))
    return found
