"""A draft model of a few layers that shares the verifier's embedding and part of its head.

Only the layers and the final norm are its own, so that its file is small. Its head is the
verifier's, cut down to the tokens that are used most (FR-Spec, Zhao et al. 2025: most of a small
draft's time goes into a full head). Its logits are ``[..., H]``; ``token_ids`` ``[H]`` names them.

A folder holds ``draft.json`` (what it was made for), ``draft.safetensors`` (its weights) and,
usually, a model card.
"""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adaptive_spec._files import atomic_write
from adaptive_spec.errors import ModelLoadError, VocabularyMismatchError

SETTINGS, WEIGHTS = "draft.json", "draft.safetensors"
_FORMAT = 1
_FINGERPRINT_ROWS = 256


@dataclass(frozen=True)
class TrimmedDraft:
    """A draft model over a part of the vocabulary.

    Attributes:
      model: a transformers causal language model with the verifier's embedding and ``H`` logits.
      token_ids: ``[H]`` the vocabulary's ids of its logits, ascending, on the model's device.
    """

    model: Any
    token_ids: torch.Tensor


def new_draft(
    verifier: Any, num_layers: int, token_ids: Sequence[int], dtype: torch.dtype | None = None
) -> TrimmedDraft:
    """A draft like the verifier with ``num_layers`` layers whose weights are still random.

    Args:
      verifier: a transformers causal language model; it shares its embedding and stays as it is.
      num_layers: layers of the draft, >= 1.
      token_ids: ``[H]`` ascending ids that the draft can propose.
      dtype: of the draft; None for the verifier's. In another one the embedding is a copy.
    """
    embedding = verifier.get_input_embeddings()
    if dtype not in (None, embedding.weight.dtype):
        embedding = copy.deepcopy(embedding).to(dtype)
    head = verifier.get_output_embeddings()
    ids = torch.as_tensor(np.asarray(token_ids, np.int64), device=embedding.weight.device)
    config = copy.deepcopy(verifier.config)
    config.num_hidden_layers = num_layers
    config.vocab_size = len(token_ids)
    config.tie_word_embeddings = False
    config.pad_token_id = config.bos_token_id = config.eos_token_id = None
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:num_layers]
    model = type(verifier)(config).to(dtype=embedding.weight.dtype, device=embedding.weight.device)
    model.set_input_embeddings(embedding)
    with torch.no_grad():
        model.get_output_embeddings().weight.copy_(head.weight[ids])
        if getattr(head, "bias", None) is not None:
            model.get_output_embeddings().bias.copy_(head.bias[ids])
    return TrimmedDraft(model.eval(), ids)


def own_weights(draft: TrimmedDraft) -> dict[str, torch.nn.Parameter]:
    """The draft's own parameters by name: all but the embedding and the head."""
    shared = {
        id(parameter)
        for module in (draft.model.get_input_embeddings(), draft.model.get_output_embeddings())
        for parameter in module.parameters()
    }
    return {
        name: parameter
        for name, parameter in draft.model.named_parameters()
        if id(parameter) not in shared
    }


def save_draft(
    folder: Path, draft: TrimmedDraft, verifier: Any, notes: Mapping[str, Any] | None = None
) -> None:
    """Writes a draft's own weights, in bfloat16, and what it was made for.

    Args:
      folder: made if it is not there.
      draft: the draft.
      verifier: the model that it drafts for.
      notes: plain values worth keeping in ``draft.json``.
    """
    from safetensors.torch import save_file

    tensors = {
        name: value.detach().to("cpu", torch.bfloat16).contiguous()
        for name, value in own_weights(draft).items()
    }
    tensors["token_ids"] = draft.token_ids.to("cpu", torch.int32)
    with atomic_write(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    settings = {
        "format": _FORMAT,
        "num_layers": draft.model.config.num_hidden_layers,
        "verifier_fingerprint": fingerprint(verifier),
        **(notes or {}),
    }
    with atomic_write(folder / SETTINGS) as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def load_draft(folder: Path, verifier: Any) -> TrimmedDraft:
    """Reads a draft made for this verifier.

    Raises:
      ModelLoadError: no draft there, or a damaged one.
      VocabularyMismatchError: it was made for another verifier.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if settings["format"] != _FORMAT:
            raise ValueError(f"format {settings['format']}, this version reads {_FORMAT}")
        tensors = load_file(folder / WEIGHTS)
        num_layers, made_for = settings["num_layers"], settings["verifier_fingerprint"]
        ids = tensors.pop("token_ids").tolist()
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ModelLoadError(f"draft {str(folder)!r}: cannot be read ({error})") from error
    if made_for != fingerprint(verifier):
        raise VocabularyMismatchError(
            f"draft {str(folder)!r}: it was made for another verifier, whose embedding it shares; "
            "use the verifier named in its model card, or make one with adaptive-spec distill"
        )
    draft = new_draft(verifier, num_layers, ids)
    own = own_weights(draft)
    if {name: value.shape for name, value in tensors.items()} != {
        name: value.shape for name, value in own.items()
    }:
        raise ModelLoadError(f"draft {str(folder)!r}: its weights do not fit the verifier's layers")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(tensors[name])
    return draft


def is_draft_folder(path: str | Path) -> bool:
    """Whether a folder holds a draft of this kind."""
    return (Path(path) / SETTINGS).is_file()


def fingerprint(verifier: Any) -> str:
    """Tells verifiers apart by their first embedding rows, alike in float32 and bfloat16."""
    rows = verifier.get_input_embeddings().weight[:_FINGERPRINT_ROWS].detach()
    bits = rows.to("cpu", torch.bfloat16).contiguous().view(torch.uint16).numpy()
    return hashlib.sha256(bits.tobytes()).hexdigest()[:16]
