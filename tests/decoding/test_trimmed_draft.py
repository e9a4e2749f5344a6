"""Drafts that share the verifier's embedding, on disk and in memory."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from adaptive_spec.decoding.trimmed_draft import (
    SETTINGS,
    WEIGHTS,
    fingerprint,
    is_draft_folder,
    load_draft,
    new_draft,
    own_weights,
    save_draft,
)
from adaptive_spec.errors import ModelLoadError, VocabularyMismatchError
from tests.tiny_models import tiny_gpt2, tiny_llama, tiny_qwen2

KEPT = [0, 3, 4, 9, 17, 40]


@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen2, tiny_gpt2])
def test_a_draft_comes_back_as_it_was(make: Any, tmp_path: Path) -> None:
    verifier = make(1)
    draft = new_draft(verifier, 2, KEPT, torch.float32)
    with torch.no_grad():
        for value in own_weights(draft).values():
            value.copy_(value.bfloat16())  # what the file can hold
    save_draft(tmp_path, draft, verifier, {"note": "mine"})
    back = load_draft(tmp_path, verifier)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        ours, theirs = draft.model(input_ids=ids).logits, back.model(input_ids=ids).logits
    assert ours.shape == (1, 4, len(KEPT))
    torch.testing.assert_close(ours, theirs)
    assert back.token_ids.tolist() == KEPT
    assert is_draft_folder(tmp_path)
    assert json.loads((tmp_path / SETTINGS).read_text())["note"] == "mine"


def test_it_shares_the_embedding_and_leaves_the_verifier_alone() -> None:
    verifier = tiny_llama(1)
    before = {name: value.clone() for name, value in verifier.state_dict().items()}
    draft = new_draft(verifier, 1, KEPT)
    assert draft.model.get_input_embeddings() is verifier.get_input_embeddings()
    head = verifier.get_output_embeddings().weight
    assert torch.equal(draft.model.get_output_embeddings().weight, head[KEPT])
    for name, value in verifier.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all("embed" not in name and "lm_head" not in name for name in own_weights(draft))


def test_another_verifiers_draft_is_refused(tmp_path: Path) -> None:
    verifier, other = tiny_llama(1), tiny_llama(2)
    save_draft(tmp_path, new_draft(verifier, 1, KEPT), verifier)
    with pytest.raises(VocabularyMismatchError, match="another verifier"):
        load_draft(tmp_path, other)


def test_the_fingerprint_is_alike_in_other_precisions() -> None:
    verifier = tiny_llama(1)
    assert fingerprint(verifier) == fingerprint(tiny_llama(1).bfloat16())
    assert fingerprint(verifier) != fingerprint(tiny_llama(2))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / SETTINGS).write_text("{"),
        lambda folder: (folder / SETTINGS).write_text("{}"),
        lambda folder: (folder / SETTINGS).write_text('{"format": 99}'),
        lambda folder: (folder / WEIGHTS).write_bytes(b"nothing"),
        lambda folder: (folder / WEIGHTS).unlink(),
        lambda folder: (folder / SETTINGS).write_text(
            (folder / SETTINGS).read_text().replace('"num_layers": 1', '"num_layers": 2')
        ),
    ],
)
def test_damaged_drafts_are_refused(spoil: Any, tmp_path: Path) -> None:
    verifier = tiny_llama(1)
    save_draft(tmp_path, new_draft(verifier, 1, KEPT), verifier)
    spoil(tmp_path)
    with pytest.raises(ModelLoadError, match="draft"):
        load_draft(tmp_path, verifier)
